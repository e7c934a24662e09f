# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on the machine that a target runs on, which take memory, CPUs and clock from it.

Every target has them, by the same names. Each is undone by ``Begun.heal``; an operation that needs
a missing resource (a second CPU) is refused.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from inject.contract import Backend
from results.errors import MachineLostError
from results.history import Recorder
from targets import allocation
from targets.allocation import Failing
from targets.machine import Machine
from targets.operation import Begun, Program, Step, Work, succeeded

HUGE_PAGES = "/proc/sys/vm/nr_hugepages"
HUGE_PAGE_KIB = 2048
PRESSURE_LEAVES_KIB = 96 << 10
"""KiB of available memory that the pressure leaves for the agent, the initiator and the backend."""

HOGS_PER_CPU = 6
"""Busy loops of ordinary priority per CPU: any other thread has a seventh of a CPU. (With the
highest priority they would starve the program that ends them.)"""

CGROUPS = "/sys/fs/cgroup"
STARVED = f"{CGROUPS}/stf-starved"
QUOTA = "5000 100000"
"""Microseconds of CPU time that a starved backend has in each 100 ms (cpu.max of cgroup v2). An
scst_user backend needs about as much for a command and its events, under TCG: with less, eight
commands and an order of the test took longer than the order's deadline."""

CPUS = "/sys/devices/system/cpu"

FIRST_FAILURE = 1.0
"""Seconds to wait for the first failed allocation. A target that allocates for I/O does so within
this time. Shorter than the timers of the initiator (4 s) and TCMU (2 s, targets.lio.target)."""

STEP_SECONDS = 3600
"""Seconds by which the clock jumps: more than any timer of target or initiator."""


@dataclass(frozen=True)
class OperationContext:
    """The context of operations on a machine.

    ``deadline``: seconds that one of their steps may take. ``threads``: the target's, as prefixes
    of their comm; ``caches``: its slab caches, by name.
    """

    machine: Machine
    recorder: Recorder
    deadline: float
    backend: Backend
    threads: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()

    def run(self, script: str, deadline: float | None = None) -> str:
        """Run a shell script to its end. Raises TargetFailedError."""
        return self.machine.run(["sh", "-ec", script], deadline=deadline or self.deadline).stdout

    def program(self, script: str) -> Work:
        """Begin a shell script."""
        return Program(self.machine, self.machine.begin("run", ["sh", "-ec", script]), succeeded)

    def running(
        self, name: str, work: Work, undo: Callable[[float], None] | None = None
    ) -> Begun:
        """Return the operation that was begun."""
        return Begun(name, self.machine, self.recorder, work, undo)


def memory_pressure(context: OperationContext, name: str) -> Begun:
    """Use up the machine's memory except a little, so that caches are shrunk.

    SCST's buffer pools have registered a shrinker (sgv_shrink, scst_mem.c); its own limits cannot
    be set once it is loaded (mode 0444 in scst_main.c): see ``Scst.parameters`` for these.
    """
    # Huge pages are allocated at once, without being written to.
    script = ("free=$(awk '/^MemAvailable/ {print $2}' /proc/meminfo); "
              f"echo $(( (free - {PRESSURE_LEAVES_KIB}) / {HUGE_PAGE_KIB} )) > {HUGE_PAGES}; "
              "echo 2 > /proc/sys/vm/drop_caches")
    return context.running(
        name, context.program(script),
        lambda deadline: context.machine.write(HUGE_PAGES, "0", deadline=deadline))


def cpu_hog(context: OperationContext, name: str) -> Begun:
    """Keep every CPU busy."""
    script = (f"for each in $(seq $(( $(nproc) * {HOGS_PER_CPU} ))); do "
              "sh -c 'while :; do :; done' > /dev/null 2>&1 & echo $!; done")
    hogs = context.run(script).split()
    return context.running(name, Done(), partial(_kill, context, hogs))


def _kill(context: OperationContext, pids: list[str], deadline: float) -> None:
    context.machine.run(["kill", "-9", *pids], deadline=deadline)


def backend_starved(context: OperationContext, name: str) -> Begun:
    """Leave the backend a twentieth of a CPU (Documentation/admin-guide/cgroup-v2.rst, cpu.max)."""
    pid = context.backend.process.pid
    context.run(f"mountpoint -q {CGROUPS} || mount -t cgroup2 none {CGROUPS}; "
                f"echo +cpu > {CGROUPS}/cgroup.subtree_control; mkdir -p {STARVED}; "
                f"echo {shlex.quote(QUOTA)} > {STARVED}/cpu.max; echo {pid} > "
                f"{STARVED}/cgroup.procs")
    return context.running(name, Done(), partial(_feed, context))


def _feed(context: OperationContext, deadline: float) -> None:
    """Restore the CPU time of the backend, if it still exists."""
    context.run(f"for pid in $(cat {STARVED}/cgroup.procs); do "
                f"echo $pid > {CGROUPS}/cgroup.procs || :; done; "
                f"echo max > {STARVED}/cpu.max; rmdir {STARVED} || :", deadline)


def cpu_offline(context: OperationContext, name: str) -> Begun:
    """Take the last CPU offline (Documentation/core-api/cpu_hotplug.rst)."""
    cpus = [each for each in context.machine.listdir(CPUS)
            if context.machine.exists(f"{CPUS}/{each}/online")]
    if not cpus:
        raise MachineLostError(f"{name}: the machine has no CPU that can be taken offline")
    path = f"{CPUS}/{cpus[-1]}/online"
    work = Step(context.machine, context.machine.begin("write", path, "0"), "write", f"{path}: 0")
    return context.running(
        name, work, lambda deadline: context.machine.write(path, "1", deadline=deadline))


def clock_step(context: OperationContext, name: str) -> Begun:
    """Set the time of day an hour forward; CLOCK_MONOTONIC is not changed (clock_settime(2))."""
    context.run(step(STEP_SECONDS))
    return context.running(
        name, Done(), lambda deadline: _run(context, step(-STEP_SECONDS), deadline))


def allocations_fail(way: Failing, context: OperationContext, name: str) -> Begun:
    """Make some of the target's allocations fail (targets.allocation)."""
    def run_script(script: str, deadline: float) -> str:
        done = context.machine.run(["sh", "-ec", script], deadline=deadline, check=False)
        if done.status:
            raise MachineLostError(f"{name}: the kernel does not take it: {done.stderr.strip()}")
        return done.stdout

    def undo(deadline: float) -> None:
        printed = run_script(way.disarm(), deadline)
        allocation.record(context.recorder, context.machine.now(), name, printed)

    run_script(way.arm(context.threads, context.caches), context.deadline)
    return context.running(name, FirstFailure(context.machine, way), undo)


@dataclass(frozen=True)
class FirstFailure:
    """Wait for the first failed allocation (a targets.operation.Work); a timeout is no error."""

    machine: Machine
    way: Failing
    began: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> bool:
        """Whether an allocation has failed."""
        return self.way.count(self.machine) > 0

    def waits(self) -> bool:
        """Return whether the time for the first failure has passed."""
        return time.monotonic() > self.began + FIRST_FAILURE

    def finish(self, deadline: float) -> None:
        """Do nothing: the undo counts the failed allocations."""


def _run(context: OperationContext, script: str, deadline: float) -> None:
    context.run(script, deadline)


def step(seconds: int) -> str:
    """Return a shell command that sets the clock forward by ``seconds``."""
    return f"date -s @$(( $(date +%s) + {seconds} ))"


class Done:
    """A change that was made at once (a targets.operation.Work)."""

    done = True

    def waits(self) -> bool:
        """Return False: the change has ended."""
        return False

    def finish(self, deadline: float) -> None:
        """Do nothing: the change has ended."""


OPERATIONS: Mapping[str, Callable[[OperationContext, str], Begun]] = {
    "memory-pressure": memory_pressure, "cpu-hog": cpu_hog, "backend-starved": backend_starved,
    "cpu-offline": cpu_offline, "clock-step": clock_step,
    **{name: partial(allocations_fail, way) for name, way in allocation.WAYS.items()},
}


def table(context: OperationContext) -> Mapping[str, Callable[[], Begun]]:
    """Return the functions that begin each operation, by name."""
    return {name: partial(begin, context, name) for name, begin in OPERATIONS.items()}
