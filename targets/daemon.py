"""A target's daemon: a process of the snapshot's or a later one, found by its pid file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inject.waiting import wait_until
from results.errors import TargetFailedError
from targets.machine import Machine


@dataclass(frozen=True)
class Daemon:
    """``name``: its program's. ``pid_file``: has the process id of the one that ran last.
    ``meant_file``: is written before it is killed, where its end by itself is told of."""

    name: str
    pid_file: str
    meant_file: str | None = None

    def pid(self, machine: Machine) -> int:
        """Return its process id."""
        return int(machine.read(self.pid_file))

    def running(self, machine: Machine) -> bool:
        """Whether it is there, in whatever state."""
        return machine.exists(self.pid_file) and machine.exists(f"/proc/{self.pid(machine)}")

    def send(self, machine: Machine, signal: str) -> None:
        """Send it a signal, by its name without SIG; fine if it has gone."""
        if signal == "KILL" and self.meant_file:
            machine.write(self.meant_file, signal)
        machine.run(["kill", f"-{signal}", str(self.pid(machine))], check=False)

    def wait_gone(self, machine: Machine, deadline: float) -> None:
        """Wait until it has gone, with all its threads. Raises TargetFailedError."""
        if not wait_until(lambda: not self.running(machine), deadline):
            raise TargetFailedError(f"{self.name} has not gone after {deadline:g} s")


@dataclass(frozen=True)
class Signalled:
    """A signal that was sent to a daemon (a targets.operation.Work). ``ends``: whether it has to
    end of it. ``responds``: whether it still responds, where it has to."""

    machine: Machine
    daemon: Daemon
    signal: str
    ends: bool = False
    responds: Callable[[Machine], bool] | None = None

    def __post_init__(self) -> None:
        self.daemon.send(self.machine, self.signal)

    @property
    def done(self) -> bool:
        """Whether it has had its effect, as far as can be seen."""
        return not self.ends or not self.daemon.running(self.machine)

    def waits(self) -> bool:
        """Whether the daemon is still there: its end waits for commands."""
        return not self.done

    def finish(self, deadline: float) -> None:
        """See the effect. Raises TargetFailedError when it is another."""
        if self.ends:
            self.daemon.wait_gone(self.machine, deadline)
        elif self.responds is not None and not self.responds(self.machine):
            raise TargetFailedError(f"{self.daemon.name} does not respond after SIG{self.signal}")
