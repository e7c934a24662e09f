# SPDX-License-Identifier: GPL-2.0-or-later
"""Contract between faults and their subjects: targets, initiators and the network implement it.

Deadlines are seconds. ``targets`` provides ``DeployedDevice`` (targets.target.Deployment), and the
backends with their processes (targets.backend).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from threading import Event
from typing import Any, Protocol

from inject.traits import TargetTraits


class Process(Protocol):
    """The backend's process."""

    @property
    def pid(self) -> int:
        """Process id on the machine."""

    @property
    def status(self) -> int | None:
        """Exit status (negative: signal number), or None while it runs."""

    def signal(self, number: int) -> None:
        """Send a signal to the process."""

    def wait(self, deadline: float) -> int:
        """Wait for its end and return its exit status. Raises MachineLostError when it is late."""


class Backend(Protocol):
    """The program that serves a device, or its stand-in."""

    @property
    def process(self) -> Process:
        """The backend's process."""

    def call(self, do: str, *, deadline: float, **arguments: Any) -> Any:
        """Send a command of the backend's protocol and return the result.

        Raises TargetFailedError when the backend refuses, MachineLostError when it does not answer.
        """

    def seen(self, kind: str, **data: Any) -> list[Mapping[str, Any]]:
        """Return the backend's events of a kind that contain these data."""

    def wait_seen(self, kind: str, deadline: float, count: int = 1, **data: Any) -> bool:
        """Wait until ``seen`` would return ``count`` events, or the backend has gone.

        Returns whether there are ``count``.
        """

    def hold(
        self, point: str, count: int, *, deadline: float, opcodes: Sequence[int] | None = None,
        direction: str | None = None, device: str | None = None, lbas: Sequence[int] | None = None,
    ) -> None:
        """Hold the next ``count`` matching commands at ``point``.

        ``device``: name of one of the backend's devices; None: any. ``lbas``: the first LBA that a
        matching command may begin at, and one past the last; None: any.
        """

    def wait_held(self, count: int, deadline: float) -> bool:
        """Wait until ``count`` commands have been held in all; return whether they have.

        Commands that were released count, too; not so at a gate, which sees present ones only.
        """

    def release(self, deadline: float) -> None:
        """Let every held command continue."""

    def misbehave(
        self, how: str, count: int, *, deadline: float, direction: str | None = None,
        medium: str | None = None,
    ) -> None:
        """Carry the next ``count`` matching READs and WRITEs out wrongly.

        ``how``: a kind of targets.backend.misbehaviour_guest.
        """

    def wait_misbehaved(self, count: int, deadline: float) -> bool:
        """Wait until ``count`` commands were carried out wrongly; return whether they were."""

    def behave(self, deadline: float) -> None:
        """Carry commands out correctly again."""

    def serving(self, deadline: float) -> bool:
        """Return whether the backend answers and its devices are open."""

    def close(self, deadline: float) -> None:
        """Close the devices; the process continues."""

    def kill(self) -> None:
        """Send SIGKILL."""

    def end(self, deadline: float) -> None:
        """Wait until the process has gone; send SIGKILL if it is still there.

        Raises MachineLostError.
        """


class Running(Protocol):
    """An operation on the target that was begun."""

    @property
    def name(self) -> str:
        """The operation's name."""

    @property
    def done(self) -> bool:
        """Whether it has ended, with or without an error."""

    def waits(self) -> bool:
        """Return whether the operation waits in the kernel for commands in progress."""

    def finish(self, deadline: float) -> None:
        """Wait for its end. Raises TargetFailedError when it fails or is late."""


class DeployedDevice(Protocol):
    """A deployed device, as a fault uses it."""

    @property
    def backend(self) -> Backend:
        """The device's backend."""

    def begin(self, operation: str) -> Running:
        """Begin an administrator's operation, by name."""

    def heal(self, operation: str, deadline: float) -> None:
        """Undo an operation that was begun."""

    def present(self) -> bool:
        """Return whether the kernel lists the device."""

    def reachable(self) -> bool:
        """Return whether the target lists the LUN under test."""

    def end_process(self, pid: int) -> None:
        """Send SIGKILL to a process on the machine other than the backend's own."""

    def remove_lun(self) -> None:
        """Remove the LUN while the initiator uses it. Returns when it has gone."""

    def removal_waits(self) -> bool:
        """Return whether the removal has begun and waits in the kernel."""

    def take_device_away(self) -> None:
        """Remove the device, whatever its state."""


class How(StrEnum):
    """The kind of a network partition."""

    UNPLUGGED = "unplugged"  # both ends lose the carrier
    SILENT = "silent"  # all packets are lost, and neither end is notified
    ONE_WAY = "one-way"  # the target's packets are lost; it still receives


class Cut(Protocol):
    """A partition of the network (inject.partition.Partition)."""

    @property
    def name(self) -> str:
        """The name in scenario ids."""

    @property
    def how(self) -> How:
        """The kind of the partition."""

    @property
    def seconds(self) -> float:
        """Least duration in seconds."""

    @property
    def grace(self) -> float:
        """Seconds beyond the ladder's that a command may take."""

    @property
    def keeps_session(self) -> bool:
        """Whether the session outlives the partition."""

    @property
    def reported_after(self) -> float | None:
        """Seconds after which the initiator reports an error; None: the partition heals before."""


class BrokenSession(Protocol):
    """The way in which sessions of a raw initiator break (inject.wire.Wire)."""

    @property
    def moment(self) -> str:
        """The moment at which the sessions break, by a name of inject.wire.BREAKS."""

    @property
    def end_of_session(self) -> str:
        """The way in which they end at that moment."""


class Network(Protocol):
    """The network between initiator and target.

    The scenario loads the kernel modules in advance.
    """

    def impair(self, how: str, deadline: float) -> None:
        """Impair the packets of every machine of the scenario; ``how``: arguments of tc-netem(8).

        Raises MachineLostError when that fails on a machine.
        """

    def restore(self, deadline: float) -> None:
        """Remove the impairment; do nothing if there is none."""

    def cut(self, partition: Cut, deadline: float) -> None:
        """Cut the network, and record that."""

    def mend(self, deadline: float) -> None:
        """Wait until the partition has lasted its time, then join the network.

        Do nothing if the network is joined already.

        Waits for a ``mend_when``, and raises its error.
        """

    def mend_when(self, begun: Callable[[], bool], deadline: float) -> None:
        """Join the network in the background once the partition has lasted and ``begun`` holds.

        ``begun`` has to hold within ``deadline`` seconds. Returns at once.
        """


class Initiators(Protocol):
    """Actions of initiators other than the one with the load.

    ``session``: a session by its name in the scenario ("a"). The scenario defines the names, and
    has logged the sessions in.
    """

    def begin_login(self, session: str, instead_of: str, deadline: float) -> None:
        """Begin a login with the initiator port of another session.

        That is session reinstatement (RFC 7143 6.3.5).

        Returns when the login has begun.
        """

    def begin_logout(self, session: str, deadline: float) -> None:
        """Begin a logout (RFC 7143 11.14). Returns when the Logout Request has been sent."""

    def drop(self, session: str, deadline: float) -> None:
        """Close a session's connection without a logout. Returns when it is closed."""

    def request(self, session: str, functions: Sequence[str], deadline: float) -> None:
        """Request task management functions at once (RFC 7143 11.5.1).

        ABORT TASK is for the session's first command. Returns when all requests have been sent.
        """

    def end_loads(self) -> None:
        """End the programs that use the disk, each within a command's bound."""

    def reach(self, breaks: BrokenSession, deadline: float) -> None:
        """Bring raw sessions to the moment at which they break; return at once if they are there.

        Raises TargetFailedError when they do not reach it.
        """

    def break_sessions(self, deadline: float) -> None:
        """Begin to end the sessions that are at their moment; return at once if that has begun.

        Waits for a ``break_when``, and raises its error.
        """

    def break_when(self, begun: Callable[[], bool], deadline: float) -> None:
        """Begin to end the sessions in the background once ``begun`` holds.

        ``begun`` has to hold within ``deadline`` seconds. Returns at once.
        """

    def leave(self, deadline: float) -> None:
        """Wait until the sessions have ended, and start no new ones."""


class FaultContext(Protocol):
    """The objects that a fault acts on, made for one scenario."""

    @property
    def deployment(self) -> DeployedDevice:
        """The device under test."""

    @property
    def initiators(self) -> Initiators:
        """Initiators other than the one with the load."""

    @property
    def network(self) -> Network:
        """The network between initiator and target."""

    @property
    def traits(self) -> TargetTraits:
        """The target's traits."""

    @property
    def fired(self) -> Event:
        """Set once the teardown of a combination has fired: the device's removal has begun."""

    def keep(self) -> None:
        """Keep the held commands, and all further ones, for the scenario's time (Plan.keeps)."""

    def sleep(self, seconds: float) -> None:
        """Sleep. Raises MachineLostError as soon as a machine of the scenario is lost."""

    def observed(self, operation: str, *, ended: bool) -> None:
        """Record whether an operation has ended, immediately before commands are released."""
