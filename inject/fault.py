"""Contract of a fault: one thing that is broken at a point, its undo, and what it may lead to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from inject.contract import FaultContext
from inject.point import State
from inject.traits import TargetTraits


class Held(StrEnum):
    """What becomes of the commands that the backend held when a fault fired."""

    ANSWERED = "answered"  # by the backend, while the fault goes on: the fault waits for them
    LOST = "lost"  # the backend cannot any more: the kernel has to answer
    KEPT = "kept"  # they stay held, until the undo lets them go


@dataclass(frozen=True)
class Needs:
    """What a fault can be done to. An empty set is anything.

    ``backends``: names of protocols between kernel and backend ("scst_user", "tcmu", "nbd") or of
    handlers in the kernel ("vdisk_fileio"). ``transports``: "iscsi", "loopback". ``kernel``: all
    that the machine's kernel has to have been built with, by the names of targets.allocation; that
    is seen when the machine is there. ``operations``: all that the target has to list as an
    operation (TargetTraits.operations). ``in_kernel``: whether the target has to run in the kernel,
    or must not; None: either.
    """

    backends: frozenset[str] = frozenset()
    transports: frozenset[str] = frozenset()
    kernel: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    in_kernel: bool | None = None

    def met(self, traits: TargetTraits, backend: str, transport: str) -> bool:
        """Return whether a fault can be done to a device of a backend over a transport."""
        return self.on(traits) and all(not wanted or given in wanted for wanted, given in (
            (self.backends, backend), (self.transports, transport)))

    def on(self, traits: TargetTraits) -> bool:
        """Return whether a target has all operations, and runs where a fault needs it to."""
        return (self.operations <= traits.operations
                and self.in_kernel in (None, traits.in_kernel))

    def __and__(self, other: Needs) -> Needs:
        """Return what two faults need that are done to the same. Raises ValueError when there is
        nothing that both can be done to."""
        if {self.in_kernel, other.in_kernel} == {True, False}:
            raise ValueError("no target runs both in the kernel and in a process")
        return Needs(
            _both(self.backends, other.backends), _both(self.transports, other.transports),
            self.kernel | other.kernel, self.operations | other.operations,
            self.in_kernel if other.in_kernel is None else other.in_kernel)


def _both(mine: frozenset[str], theirs: frozenset[str]) -> frozenset[str]:
    if mine and theirs and not mine & theirs:
        raise ValueError(f"nothing is one of {sorted(mine)} and of {sorted(theirs)}")
    return mine & theirs or mine | theirs


ANYTHING = Needs()
ISCSI = Needs(transports=frozenset({"iscsi"}))
PROCESS = Needs(backends=frozenset({"scst_user", "tcmu", "nbd"}))
"""A backend that is a process."""
SCST_USER = Needs(backends=frozenset({"scst_user"}))
VDISK = Needs(backends=frozenset({"vdisk_fileio", "vdisk_blockio", "vdisk_nullio"}))
"""Handlers of vdisks in the kernel."""
SCST_HANDLERS = Needs(backends=SCST_USER.backends | VDISK.backends)
"""Every handler that SCST's core has devices of here."""
LIO_BACKSTORES = Needs(backends=frozenset({"tcmu", "iblock"}))
"""Every backstore that LIO's core has devices of here."""


@dataclass(frozen=True)
class Expected:
    """What a fault may lead to for a command at its point.

    ``outcomes``: patterns in the words of results.checkers.outcome; empty: any. ``clause``: the
    clause of a standard, or the documentation or source, that allows these and no others.
    ``grace``: seconds that commands may take beyond the ladder's bound. ``teardown_grace``: seconds
    that the teardown may take beyond it. ``errors``: names of errnos with which I/O may fail; ():
    none may fail; None: with any.
    """

    outcomes: tuple[str, ...]
    clause: str
    grace: float = field(default=0.0, kw_only=True)
    teardown_grace: float = field(default=0.0, kw_only=True)
    errors: tuple[str, ...] | None = field(default=None, kw_only=True)


class Fault(Protocol):
    """One fault."""

    @property
    def name(self) -> str:
        """Its name in scenario ids."""

    @property
    def breaks(self) -> bool:
        """Whether it breaks anything: False for the control."""

    @property
    def ends_device(self) -> bool:
        """Whether the device is gone once it has been undone."""

    @property
    def held(self) -> Held:
        """What becomes of the commands that are held."""

    @property
    def needs(self) -> Needs:
        """What it can be done to."""

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return what it may lead to for a command in a state, at a target.

        ``direction``: of the command's data, "write", "read" or "none".
        """

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Break it. Returns as soon as it is broken; ``deadline`` in seconds bounds that."""

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Heal: leave nothing in the way of deploying the device again."""

