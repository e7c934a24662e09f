# SPDX-License-Identifier: GPL-2.0-or-later
"""Synthetic histories: a healthy scenario, and changes that make it fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from results.history import Event, History
from results.judge import judge
from results.ladder import Ladder
from results.target_facts import TargetFacts
from results.verdict import Check, Figure, Verdict

SCENARIO = "lio-iscsi-close-write4"

FIRED = 14.0
"""Time of the fault in the healthy history, in seconds; the teardown ends 1.5 s later."""

END = 24.0


@dataclass
class Story:
    """A list of events that can be extended, filtered and changed, then made a history."""

    events: list[Event] = field(default_factory=list)

    def at(self, time: float, source: str, kind: str, **data: Any) -> Self:
        """Add an event."""
        self.events.append(Event(time, source, kind, data))
        return self

    def without(self, source: str, *kinds: str, after: float = 0.0, **match: Any) -> Self:
        """Remove the events of a source: of these kinds, from a time on, with matching data."""
        self.events = [
            event for event in self.events
            if not (event.source == source and (not kinds or event.kind in kinds)
                    and event.time >= after and matches(event, match))
        ]
        return self

    def changed(self, source: str, kind: str, where: Mapping[str, Any], **data: Any) -> Self:
        """Change the data of the matching events."""
        self.events = [
            replace(event, data={**event.data, **data})
            if event.source == source and event.kind == kind and matches(event, where) else event
            for event in self.events
        ]
        return self

    def until(self, time: float) -> Self:
        """Remove all events after a time."""
        self.events = [event for event in self.events if event.time <= time]
        return self

    def history(self) -> History:
        """Return the events as a history."""
        return History.of(self.events)

    def check(self, name: str) -> Check:
        """Judge the history and return the check of that name."""
        return next(check for check in judge(self.history()).checks if check.name == name)

    def verdict(self, name: str) -> Verdict:
        """Return the verdict of one checker."""
        return self.check(name).verdict


FACTS = TargetFacts(
    "scst_usr_cleanupd", ("scst_usr_cleanupd", "scst_usr_released"),
    ("target_core_mod", "target_core_user", "iscsi_target_mod", "tcm_loop"))
"""The target's names in the histories, for every target."""

STATED = frozenset({
    "allocations", "expectations", "leaks", "order", "outcome", "partition", "pdus", "protocol",
    "task_management"})
"""Checks of optional statements in a history; the healthy history has none of them."""

OPTIONAL = STATED | {"integrity", "resources"}
"""Checks that a scenario may leave out."""


def matches(event: Event, data: Mapping[str, Any]) -> bool:
    """Return whether an event's data contains all of these items."""
    return all(event.data.get(key) == value for key, value in data.items())


def io(  # noqa: PLR0917
    story: Story, serial: int, issued: float, seconds: float | None, op: str = "write",
    error: str | None = None, disk: str = "sda",
) -> None:
    """Add one I/O of 4096 bytes; ``seconds`` None leaves it open."""
    where = {"io": serial, "disk": disk, "op": op, "sector": serial * 8}
    story.at(issued, "block", "issue", **where, bytes=4096)
    if seconds is not None:
        story.at(issued + seconds, "block", "complete", **where, error=error, seconds=seconds)


def stamp(  # noqa: PLR0917
    story: Story, time: float, block: int, version: int, seconds: float = 0.01,
    error: str | None = None,
) -> None:
    """Add one stamped write on sda."""
    where = {"job": "stamps", "disk": "sda", "block": block, "version": version}
    story.at(time, "workload", "writing", **where)
    story.at(time + seconds, "workload", "wrote", **where, error=error)


def seen(block: int, version: int | None, disk: str = "sda", **other: Any) -> dict[str, Any]:
    """Return the recorded fields of a correct block that was read."""
    return {"disk": disk, "block": block, "version": version, "torn": False, "foreign": None,
            **other}


def resources(story: Story, time: float, when: str, **other: Any) -> None:
    """Add a sample of the target's resources. Taint 12288: out of tree and unsigned."""
    data = {"slabs": {"scst_user_cmd": 0, "scst_tgt_dev": 2}, "modules": {"scst": 3},
            "free_kib": 700_000, "taint": 12288}
    story.at(time, "sampler", "resources", when=when, **{**data, **other})


def sample(
    story: Story, time: float, threads: Mapping[str, float] | None = None,
    blocked: Mapping[str, list[str]] | None = None, interval: float = 0.5,
) -> None:
    """Add a sample of threads (comm to s of CPU) and of blocked tasks (comm to stack)."""
    story.at(time, "sampler", "threads", interval=interval, threads=[
        {"pid": 100 + number, "comm": comm, "state": "S", "cpu": cpu}
        for number, (comm, cpu) in enumerate((threads or {"scst_usr_cleanu": 0.01}).items())
    ])
    story.at(time, "sampler", "blocked", tasks=[
        {"pid": 200 + number, "comm": comm, "state": "D", "wchan": "", "stack": stack}
        for number, (comm, stack) in enumerate((blocked or {}).items())
    ])


def healthy(fault: str = "close") -> Story:
    """Return the history of a scenario without errors, from 10 s to 24 s of guest time.

    20 I/Os before the fault at 14.0; 4 held at it, which end within 1.2 s; the teardown from 14.1
    to 15.6, the control's from 16.6 to 18.1; from 18.2 on redeployment and 10 I/Os of verification
    on sdb. Four stamped blocks, of which two are being written at the fault.
    """
    story = Story()
    story.at(10.0, "harness", "scenario", id=SCENARIO, seed=1, ladder=asdict(Ladder()),
             facts=asdict(FACTS), kernel="6.1", target="scst", fault=fault)
    story.at(10.01, "console", "line", text=f"[   10.010000] stf: scenario {SCENARIO} begins")
    for number, name in enumerate(("restore", "deploy", "login", "baseline", "hold")):
        story.at(10.0 + 0.5 * number, "harness", "phase", name=name)
    resources(story, 10.5, "baseline")
    story.at(10.6, "target", "begin", operation="deploy")
    story.at(10.9, "target", "end", operation="deploy", seconds=0.3, error=None)
    story.at(11.2, "target", "disk", name="sda", device="8:0", identity="stf0")
    story.at(11.5, "workload", "begin", job="load", disk="sda", options={})
    for serial in range(20):
        io(story, serial, 11.6 + serial * 0.1, 0.01 + serial * 0.001)
    error = None if fault == "release" else "EIO"
    for serial in range(20, 24):
        io(story, serial, 13.8, 1.2 + serial * 0.01, error=error)
        command = {"host": "0:0:0:0", "tag": serial, "scheduler_tag": -1, "opcode": 0x2A,
                   "cdb": "2a 00 00 00 00 00 00 00 08 00"}
        story.at(13.8, "scsi", "start", **command)
        story.at(15.2, "scsi", "done", **command, result="")
    for block in range(4):  # two blocks acknowledged, two with an old version and a failed one
        stamp(story, 12.0 + block * 0.1, block, 1)
    stamp(story, 13.7, 0, 2)
    for block in (2, 3):
        stamp(story, 13.8, block, 2, error=error, seconds=1.3)
    story.at(13.75, "workload", "read", **seen(0, 2), job="stamps", error=None, issued_after=2)
    story.at(13.9, "fault", "armed", fault=fault, point="exec", count=4, opcodes=None,
             direction="write")
    story.at(FIRED - 0.01, "backend", "held", point="exec", count=4, handles=[20, 21, 22, 23])
    story.at(FIRED, "fault", "fired", fault=fault, point="exec", held=4)
    begin = 16.6 if fault == "release" else 14.1  # the control ends the device after the drain
    story.at(begin, "target", "begin", operation="teardown")
    story.at(begin + 1.5, "target", "end", operation="teardown", seconds=1.5, error=None)
    story.at(16.0, "harness", "phase", name="drain")
    story.at(16.5, "workload", "end", job="load", ios=24, errors=4, bytes=98304, seconds=4.0,
             exit=1, error=None)
    story.at(16.55, "harness", "phase", name="cleanup")
    story.at(18.2, "harness", "phase", name="recover")
    story.at(18.2, "target", "begin", operation="redeploy")
    story.at(18.5, "target", "end", operation="redeploy", seconds=0.4, error=None)
    story.at(18.9, "target", "disk", name="sdb", device="8:16", identity="stf0")
    story.at(19.0, "workload", "begin", job="verify", disk="sdb", options={})
    for serial in range(10):
        io(story, serial, 19.1 + serial * 0.1, 0.02, disk="sdb")
    story.at(20.5, "workload", "end", job="verify", ios=10, errors=0, bytes=40960, seconds=1.4,
             exit=0, error=None)
    for block, version in enumerate((2, 1, 1 if error else 2, 2)):
        story.at(21.0, "workload", "found", **seen(block, version, disk="sdb"))
    for tick in range(2 * 10, 2 * 24):
        sample(story, tick / 2)
    resources(story, 23.0, "after")
    story.at(END - 0.01, "console", "line", text=f"[   23.991000] stf: scenario {SCENARIO} ends")
    return story.at(END, "harness", "phase", name="end")


Change = Callable[[Story], object]


def figure(check: Check, name: str) -> Figure:
    """Return a figure of a check."""
    return check.figures[name]
