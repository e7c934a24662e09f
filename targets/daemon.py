# SPDX-License-Identifier: GPL-2.0-or-later
"""A target's daemon: a process of the snapshot or a later one, found by its pid file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inject.waiting import wait_until
from results.errors import TargetFailedError
from targets.machine import Machine


@dataclass(frozen=True)
class Daemon:
    """A daemon.

    ``name``: of its program. ``pid_file``: holds the process id of the last one started.
    ``meant_file``: created before SIGKILL is sent, so that this end is not reported as the daemon's
    own; None: its own end is not reported.
    """

    name: str
    pid_file: str
    meant_file: str | None = None

    def pid(self, machine: Machine) -> int:
        """Return its process id."""
        return int(machine.read(self.pid_file))

    def running(self, machine: Machine) -> bool:
        """Return whether the daemon exists, in any state."""
        return machine.exists(self.pid_file) and machine.exists(f"/proc/{self.pid(machine)}")

    def send(self, machine: Machine, signal: str) -> None:
        """Send a signal, by its name without SIG; do nothing if the daemon has gone."""
        if signal == "KILL" and self.meant_file:
            machine.write(self.meant_file, signal)
        machine.run(["kill", f"-{signal}", str(self.pid(machine))], check=False)

    def wait_gone(self, machine: Machine, deadline: float) -> None:
        """Wait until the daemon has gone, with all its threads. Raises TargetFailedError."""
        if not wait_until(lambda: not self.running(machine), deadline):
            raise TargetFailedError(f"{self.name} has not gone after {deadline:g} s")


@dataclass(frozen=True)
class Signalled:
    """A signal that was sent to a daemon (a targets.operation.Work).

    ``ends``: whether the signal must end the daemon. ``responds``: returns whether the daemon still
    responds, where it must.
    """

    machine: Machine
    daemon: Daemon
    signal: str
    ends: bool = False
    responds: Callable[[Machine], bool] | None = None

    def __post_init__(self) -> None:
        self.daemon.send(self.machine, self.signal)

    @property
    def done(self) -> bool:
        """Whether the signal has had its observable effect."""
        return not self.ends or not self.daemon.running(self.machine)

    def waits(self) -> bool:
        """Return whether the daemon still exists: its end waits for commands."""
        return not self.done

    def finish(self, deadline: float) -> None:
        """Check the effect. Raises TargetFailedError when it is a different one."""
        if self.ends:
            self.daemon.wait_gone(self.machine, deadline)
        elif self.responds is not None and not self.responds(self.machine):
            raise TargetFailedError(f"{self.daemon.name} does not respond after SIG{self.signal}")
