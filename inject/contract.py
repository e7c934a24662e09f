"""Contract between faults and what they act on: targets, initiators and the network implement it.

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
        """Send it a signal."""

    def wait(self, deadline: float) -> int:
        """Wait for its end and return its exit status. Raises MachineLostError when it is late."""


class Backend(Protocol):
    """The program that serves a device, or what stands for it."""

    @property
    def process(self) -> Process:
        """Its process."""

    def call(self, do: str, *, deadline: float, **arguments: Any) -> Any:
        """Give a command of its protocol and return the result.

        Raises TargetFailedError when it refuses, MachineLostError when it does not answer.
        """

    def seen(self, kind: str, **data: Any) -> list[Mapping[str, Any]]:
        """Return its events of a kind that have these data."""

    def wait_seen(self, kind: str, deadline: float, count: int = 1, **data: Any) -> bool:
        """Wait until there have been ``count`` events that ``seen`` returns, or it has gone;
        return whether there have."""

    def hold(
        self, point: str, count: int, *, deadline: float, opcodes: Sequence[int] | None = None,
        direction: str | None = None, device: str | None = None, least: int = 0,
    ) -> None:
        """Hold the next ``count`` matching commands at ``point``.

        ``device``: of which of its devices, by name; None: of any. ``least``: bytes of data that
        they must have.
        """

    def wait_held(self, count: int, deadline: float) -> bool:
        """Wait until ``count`` commands are held in all; return whether they are."""

    def release(self, deadline: float) -> None:
        """Let every held command go on."""

    def misbehave(
        self, how: str, count: int, *, deadline: float, direction: str | None = None,
        medium: str | None = None,
    ) -> None:
        """Carry the next ``count`` matching READs and WRITEs out wrongly
        (targets.backend.lies_guest)."""

    def wait_misbehaved(self, count: int, deadline: float) -> bool:
        """Wait until as many commands were carried out wrongly; return whether they were."""

    def behave(self, deadline: float) -> None:
        """Carry commands out as they are again."""

    def serving(self, deadline: float) -> bool:
        """Return whether its devices are open, and it answers."""

    def close(self, deadline: float) -> None:
        """Close the devices; the process stays."""

    def kill(self) -> None:
        """SIGKILL."""

    def end(self, deadline: float) -> None:
        """Wait until the process has gone, by SIGKILL if it has not yet. Raises MachineLostError.
        """


class Running(Protocol):
    """An operation on the target that was begun."""

    @property
    def name(self) -> str:
        """The operation's name."""

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""

    def waits(self) -> bool:
        """Return whether it waits in the kernel for commands that somebody has."""

    def finish(self, deadline: float) -> None:
        """Wait for its end. Raises TargetFailedError when it fails or is late."""


class DeployedDevice(Protocol):
    """A deployed device, as a fault sees it."""

    @property
    def backend(self) -> Backend:
        """The device's backend."""

    def begin(self, operation: str) -> Running:
        """Begin an operation of an administrator's, by name."""

    def heal(self, operation: str, deadline: float) -> None:
        """Undo an operation that was begun."""

    def present(self) -> bool:
        """Whether the kernel lists the device."""

    def reachable(self) -> bool:
        """Whether the target lists the LUN under test."""

    def end_process(self, pid: int) -> None:
        """SIGKILL a process on the machine that is not the backend's own."""

    def remove_lun(self) -> None:
        """Take the LUN away from under the initiator; returns when it has gone."""

    def removal_waits(self) -> bool:
        """Whether a removal that was begun waits in the kernel."""

    def take_device_away(self) -> None:
        """End the device, whatever is left of it."""


class How(StrEnum):
    """How a network comes apart."""

    UNPLUGGED = "unplugged"  # both see that their cables are out (no carrier)
    SILENT = "silent"  # what either sends is lost, and neither is notified
    ONE_WAY = "one-way"  # what the target sends is lost: it receives, and is not received


class Cut(Protocol):
    """A partition of the network (inject.partition.Partition)."""

    @property
    def name(self) -> str:
        """Its name in scenario ids."""

    @property
    def how(self) -> How:
        """How the network comes apart."""

    @property
    def seconds(self) -> float:
        """Seconds for which it lasts at least."""

    @property
    def grace(self) -> float:
        """Seconds beyond the ladder's that a command may take."""

    @property
    def keeps_session(self) -> bool:
        """Whether the session outlives it."""

    @property
    def reported_after(self) -> float | None:
        """Seconds after which the initiator reports an error; None: it has healed before."""


class BrokenSession(Protocol):
    """How sessions of a raw initiator break (inject.wire.Wire)."""

    @property
    def moment(self) -> str:
        """The moment at which they are to break, by a name of inject.wire.BREAKS."""

    @property
    def end_of_session(self) -> str:
        """How they end then."""


class Network(Protocol):
    """The network between initiator and target. What its means need is prepared before."""

    def impair(self, how: str, deadline: float) -> None:
        """Have every machine of the scenario treat its packets like this, in tc-netem(8)'s words.

        Raises MachineLostError when one does not.
        """

    def restore(self, deadline: float) -> None:
        """Have packets pass as ever again; fine if they do."""

    def cut(self, partition: Cut, deadline: float) -> None:
        """Take it apart, and record that."""

    def mend(self, deadline: float) -> None:
        """Wait until it has been apart for as long as it was to be, and join it; fine if it is not
        apart. Waits for a ``mend_when``, and raises what that raised."""

    def mend_when(self, begun: Callable[[], bool], deadline: float) -> None:
        """Join it in the background once it has lasted, but not before ``begun`` holds, which has
        to be within ``deadline`` seconds. Returns at once."""


class Initiators(Protocol):
    """What a fault can have initiators do, beside the one whose disk is driven.

    ``session``: an initiator's session by a name of the scenario's own ("a"). What a name stands
    for is the scenario's affair: it has logged the initiator in before.
    """

    def begin_login(self, session: str, instead_of: str, deadline: float) -> None:
        """Begin to log in with the initiator port of another session, which that reinstates (RFC
        7143 6.3.5). Returns when the login has been begun."""

    def begin_logout(self, session: str, deadline: float) -> None:
        """Begin to log out (RFC 7143 11.14). Returns when the Logout Request has been sent."""

    def drop(self, session: str, deadline: float) -> None:
        """Close a session's connection without a logout. Returns when it is closed."""

    def request(self, session: str, functions: Sequence[str], deadline: float) -> None:
        """Request task management functions at once (RFC 7143 11.5.1); ABORT TASK is for the
        session's first command. Returns when all have been sent."""

    def reach(self, breaks: BrokenSession, deadline: float) -> None:
        """Bring raw sessions to the moment at which they are to end; return at once if they are
        there. Raises TargetFailedError when they do not come to it."""

    def break_sessions(self, deadline: float) -> None:
        """Begin to end the sessions that are at their moment; return at once if that has begun.

        Waits for a ``break_when``, and raises its error.
        """

    def break_when(self, begun: Callable[[], bool], deadline: float) -> None:
        """Begin to end them in the background once ``begun`` holds, which has to be within
        ``deadline`` seconds. Returns at once."""

    def leave(self, deadline: float) -> None:
        """See that they have ended, and make none anew."""


class FaultContext(Protocol):
    """What a fault acts on: made for one scenario."""

    @property
    def deployment(self) -> DeployedDevice:
        """The device under test."""

    @property
    def initiators(self) -> Initiators:
        """Initiators beside the one whose disk is driven."""

    @property
    def network(self) -> Network:
        """The network between initiator and target."""

    @property
    def traits(self) -> TargetTraits:
        """The target's traits."""

    @property
    def fired(self) -> Event:
        """Set once a combination's teardown has fired: its device has begun to go."""
