# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel defects as faults of an ordinary scenario, with the check that must detect each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from fixtures.guest_pool import GuestPool
from fixtures.machine.connection import Request
from fixtures.machine.remote import RemoteMachine
from inject.contract import FaultContext
from inject.fault import ANYTHING, Expected, Held, Needs
from inject.point import State
from inject.release import Release
from inject.traits import TargetTraits
from results.checkers import kernel_health, resources, threads
from results.history import History
from results.judge import CHECKERS
from results.kernel_log import Kind
from results.ladder import Ladder
from results.verdict import Verdict
from suites.selftest.detectors.build import NAME
from targets.target import Deployment

PARAMETERS = f"/sys/module/{NAME}/parameters"
STALL_TIMEOUT = "/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout"

STALL_SECONDS = 5
"""RCU stall timeout in seconds. The kernel's default is 21 (CONFIG_RCU_CPU_STALL_TIMEOUT); no other
bound is near 5."""

FLOOD_LINE = "a line that nobody needs, " + 20 * "again and "

LOOK_EVERY = 0.1
"""Seconds between two reads of the console."""


@dataclass(frozen=True)
class Defect:
    """One defect: its name in stf_test.c, and the expected verdict.

    ``seconds``: duration of the defect unless stopped, from the ladder. ``text``: the scenario
    waits for this text on the console, then stops the defect; None: the scenario continues at once.
    ``kind``: of the kernel's report, if there is one. ``words``: substrings of the check's reason.
    ``bound``: seconds within which the check must be able to detect it, from the ladder.
    """

    name: str
    word: str
    check: str
    words: tuple[str, ...]
    seconds: Callable[[Ladder], float]
    bound: Callable[[Ladder], float]
    kind: Kind | None = None
    text: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def reported(
    word: str, kind: Kind, *titles: str, text: str | None = None,
    seconds: Callable[[Ladder], float] = lambda ladder: ladder.step,
    bound: Callable[[Ladder], float] = lambda ladder: ladder.spin_window, name: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Defect:
    """Return a defect that the kernel itself reports."""
    return Defect(name or word, word, kernel_health.NAME, titles or (f"{kind} in {NAME}_{word}",),
                  seconds, bound, kind, text, settings or {})


def watchdog_period(ladder: Ladder) -> float:
    """Return the period of the soft lockup detector in seconds (kernel/watchdog.c)."""
    return 2.0 * ladder.watchdog_thresh / 5


DEFECTS = (
    Defect("spin", "spin", threads.NAME, (f"{NAME}_spin", "burnt"),
           seconds=lambda ladder: ladder.scenario, bound=lambda _: 3.0),
    reported("lock", Kind.SOFT_LOCKUP, text="BUG: soft lockup",
             seconds=lambda ladder: 2 * ladder.soft_lockup,
             bound=lambda ladder: ladder.soft_lockup + 2 * watchdog_period(ladder)),
    reported("stall", Kind.RCU_STALL, text="INFO: rcu_",
             settings={STALL_TIMEOUT: str(STALL_SECONDS)},
             seconds=lambda ladder: 4 * STALL_SECONDS, bound=lambda _: 2 * STALL_SECONDS),
    Defect("park", "park", threads.NAME, (f"{NAME}_park", "D state"),
           seconds=lambda ladder: ladder.scenario, bound=lambda ladder: ladder.teardown),
    reported("park", Kind.HUNG_TASK, f"task hung in {NAME}_park", name="park-long",
             text="blocked for more than", seconds=lambda ladder: 2 * ladder.hung_task,
             bound=lambda ladder: ladder.hung_task + 3),  # khungtaskd checks every second
    reported("warn", Kind.WARNING),
    reported("oops", Kind.NULL_DEREFERENCE),
    reported("bug", Kind.BUG, f"kernel BUG in {NAME}_bug"),
    Defect("leak", "leak", resources.NAME, (f"slab cache {NAME} has 8 objects, 0 before",),
           seconds=lambda ladder: ladder.step, bound=lambda ladder: ladder.scenario),
    Defect("hold", "hold", resources.NAME, (f"module {NAME} has 1 references, 0 before",),
           seconds=lambda ladder: ladder.step, bound=lambda ladder: ladder.scenario),
)


@dataclass
class PlantedDefect:
    """The fault: the held commands are released, and the kernel's defect begins.

    ``pool``: the guests' pool. ``settings``: kernel settings, by path. ``talk``: lines that a
    program writes to /dev/kmsg. ``flood``: bytes that a program writes to the console during the
    defect. ``began``: time of the write to the trigger, in seconds of the guest's clock.
    """

    pool: GuestPool
    word: str
    seconds: float
    text: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    talk: tuple[str, ...] = ()
    flood: int = 0
    name: str = "sick"
    """Part of the scenarios' ids."""
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.ANSWERED
    needs: Needs = ANYTHING
    began: float | None = field(default=None, init=False)

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return the control's expectation for held commands; other I/O may fail."""
        return replace(Release().expected(state, traits, direction), errors=None)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Release the commands, trigger the defect; with ``text``, wait for the kernel's report."""
        machine = cast(RemoteMachine, cast(Deployment, context.deployment).machine)
        context.deployment.backend.release(deadline)
        for path, value in self.settings.items():
            machine.write(path, value)
        for line in self.talk:
            machine.write("/dev/kmsg", line + "\n")
        (console,) = (guest.console for guest in self.pool.guests() if guest.machine is machine)
        offset = console.stat().st_size
        pending = self._flood(machine, console, offset)
        order = machine.begin("write", f"{PARAMETERS}/trigger", f"{self.word} {self.seconds:.0f}")
        order.result(deadline)
        self.began = order.span[0]
        if self.text is not None:
            wait_text(console, offset, self.text, self.seconds)
            machine.write(f"{PARAMETERS}/stop", "1")
        if pending is not None:
            pending.result(self.seconds)

    def _flood(self, machine: RemoteMachine, console: Path, offset: int) -> Request | None:
        """Start flooding the console; return when half of the bytes have arrived."""
        if not self.flood:
            return None
        pending = machine.begin("run", [
            "sh", "-c", f"yes '{FLOOD_LINE}' | head -c {self.flood} > /dev/ttyS0"])
        end = time.monotonic() + self.seconds
        while console.stat().st_size < offset + self.flood // 2 and time.monotonic() < end:
            time.sleep(LOOK_EVERY)
        return pending

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Do nothing: most defects are undone only by restoring the snapshot."""


def wait_text(console: Path, offset: int, text: str, deadline: float) -> None:
    """Wait until the console contains the text after an offset, or the deadline passes."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        with console.open("rb") as file:
            file.seek(offset)
            if text.encode() in file.read():
                return
        time.sleep(LOOK_EVERY)


def first_word(history: History, name: str) -> float | None:
    """Return the time of the first event with which a check can report FAIL, or None.

    Assumes that a check that fails on a prefix of the history fails on every longer one. Kernel
    messages carry printk's clock, up to 20 ms off (seen on 6.1 and 6.12 under TCG).
    """
    def fails(count: int) -> bool:
        found = CHECKERS[name](History(history.events[:count]))
        return found is not None and found.verdict is Verdict.FAIL

    low, high = 0, len(history.events)
    if not high or not fails(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return history.events[high - 1].time
