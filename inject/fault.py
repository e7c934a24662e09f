# SPDX-License-Identifier: GPL-2.0-or-later
"""Contract of a fault: one thing that breaks at a point, its undo, and its expected results."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from inject.contract import FaultContext
from inject.point import State
from inject.traits import TargetTraits


class Held(StrEnum):
    """Fate of the commands that the backend held when a fault fired."""

    ANSWERED = "answered"  # by the backend, during the fault: the fault waits for them
    LOST = "lost"  # the backend no longer can: the kernel has to answer
    KEPT = "kept"  # they stay held until the undo releases them


@dataclass(frozen=True)
class Needs:
    """The devices and machines that a fault applies to. An empty set allows any.

    ``backends``: names of protocols between kernel and backend ("scst_user", "tcmu", "nbd") or of
    handlers in the kernel ("vdisk_fileio"). ``transports``: "iscsi", "loopback". ``kernel``:
    features that the machine's kernel must have been built with, by the names of
    targets.allocation; checked once the machine runs. ``operations``: operations that the target
    must list (TargetTraits.operations). ``in_kernel``: whether the target must run in the kernel
    (True) or must not (False); None: either.
    """

    backends: frozenset[str] = frozenset()
    transports: frozenset[str] = frozenset()
    kernel: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    in_kernel: bool | None = None

    def met(self, traits: TargetTraits, backend: str, transport: str) -> bool:
        """Return whether the fault applies to a device of a backend over a transport."""
        return self.on(traits) and all(not wanted or given in wanted for wanted, given in (
            (self.backends, backend), (self.transports, transport)))

    def on(self, traits: TargetTraits) -> bool:
        """Return whether a target lists all operations, and runs where the fault needs it to."""
        return (self.operations <= traits.operations
                and self.in_kernel in (None, traits.in_kernel))

    def __and__(self, other: Needs) -> Needs:
        """Return the needs of two faults on the same device.

        Raises ValueError when no device can satisfy both.
        """
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
"""All handlers of SCST's core that are deployed here."""
LIO_BACKSTORES = Needs(backends=frozenset({"tcmu", "iblock"}))
"""All backstores of LIO's core that are deployed here."""


@dataclass(frozen=True)
class Expected:
    """The allowed results of a fault for a command at its point.

    ``outcomes``: patterns in the words of results.checkers.outcome; empty: any. ``clause``: the
    clause of a standard, or the documentation or source, that allows these outcomes and no others.
    ``grace``: seconds that commands may take beyond the ladder's bound. ``teardown_grace``: seconds
    that the teardown may take beyond it. ``errors``: names of errnos with which I/O may fail; ():
    no I/O may fail; None: any errno. ``waits``: the source by which the fault's operation must not
    end before the held commands are released; "" where none requires that.
    """

    outcomes: tuple[str, ...]
    clause: str
    grace: float = field(default=0.0, kw_only=True)
    teardown_grace: float = field(default=0.0, kw_only=True)
    errors: tuple[str, ...] | None = field(default=None, kw_only=True)
    waits: str = field(default="", kw_only=True)


class Fault(Protocol):
    """One fault."""

    @property
    def name(self) -> str:
        """The name in scenario ids."""

    @property
    def breaks(self) -> bool:
        """Whether the fault breaks anything: False for the control."""

    @property
    def ends_device(self) -> bool:
        """Whether the device is gone once the fault has been undone."""

    @property
    def held(self) -> Held:
        """Fate of the commands that are held."""

    @property
    def needs(self) -> Needs:
        """The devices and machines that the fault applies to."""

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return the allowed results for a command in a state, at a target.

        ``direction``: of the command's data, "write", "read" or "none".
        """

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Break it. Returns as soon as it is broken, within ``deadline`` seconds."""

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Heal it: leave nothing that prevents a new deployment of the device."""

