# SPDX-License-Identifier: GPL-2.0-or-later
"""An operation on a target that was begun: whether it waits, how it ends, how it is undone.

A call that can block in the kernel is begun and polled, never simply waited for: many
administrator's operations wait for the commands that a backend holds. Each operation is two events
of the history, source "target", kinds ``begin`` and ``end``, with its name as ``operation``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from results.errors import StfError, TargetFailedError, WrongUsageError
from results.history import Recorder
from targets.machine import Machine, Pending


class Work(Protocol):
    """The work of an operation on the machine."""

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""

    def waits(self) -> bool:
        """Return whether it can proceed no further, and now waits in the kernel."""

    def finish(self, deadline: float) -> None:
        """Wait for its end.

        Raises TargetFailedError when it fails, or exceeds ``deadline`` seconds.
        """


@dataclass
class Begun:
    """An operation that was begun.

    ``undo``: heals it within the given seconds; None: needs no undo.
    """

    name: str
    machine: Machine
    recorder: Recorder
    work: Work
    undo: Callable[[float], None] | None = None
    ended: bool = False

    def __post_init__(self) -> None:
        self._began = self.machine.now()
        self.recorder.record(self._began, "target", "begin", operation=self.name)

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.work.done

    def waits(self) -> bool:
        """Return whether it waits in the kernel for commands in progress."""
        return not self.work.done and self.work.waits()

    def finish(self, deadline: float) -> None:
        """Wait for its end and record it, once. Raises TargetFailedError, also when it is late."""
        if self.ended:
            return
        error: str | None = None
        try:
            self.work.finish(deadline)
        except StfError as raised:
            error = f"{type(raised).__name__}: {raised}"
            raise
        finally:
            self.ended = True
            self._record_end(error)

    def _record_end(self, error: str | None) -> None:
        now = self.machine.now()
        self.recorder.record(
            now, "target", "end", operation=self.name, seconds=round(now - self._began, 6),
            error=error)

    def heal(self, deadline: float) -> None:
        """Undo it; wait for its end if it has no undo. Raises TargetFailedError."""
        if self.undo is not None:
            self.undo(deadline)
        else:
            self.finish(deadline)


@dataclass(frozen=True)
class Step:
    """A call on the machine that was begun, by its verb (a Work).

    ``refused``: the errno with which it has to fail, or None when it has to succeed.
    """

    machine: Machine
    pending: Pending
    verb: str
    what: str
    refused: int | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.pending.done

    def waits(self) -> bool:
        """Return whether the call waits in the kernel."""
        return self.verb in self.machine.waiting()

    def finish(self, deadline: float) -> None:
        """Wait for its end. Raises TargetFailedError unless it ended as required."""
        try:
            self.pending.result(deadline)
        except TimeoutError:
            raise TargetFailedError(f"{self.what}: not ended after {deadline:g} s") from None
        except OSError as error:
            if error.errno != self.refused:
                raise TargetFailedError(f"{self.what}: {error.strerror or error}") from error
        else:
            if self.refused is not None:
                raise TargetFailedError(f"{self.what}: it was not refused")


@dataclass(frozen=True)
class Program:
    """A program that was begun on the machine (a Work)."""

    machine: Machine
    pending: Pending
    judge: Callable[[Mapping[str, object]], None]

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.pending.done

    def waits(self) -> bool:
        """Return False: the state of a program is not inspected."""
        return False

    def finish(self, deadline: float) -> None:
        """Wait for its end and judge it. Raises TargetFailedError."""
        try:
            answer = self.pending.result(deadline)
        except TimeoutError:
            raise TargetFailedError(f"not ended after {deadline:g} s") from None
        self.judge(answer)


def succeeded(answer: Mapping[str, object]) -> None:
    """Raise TargetFailedError unless a program succeeded."""
    if answer["status"]:
        raise TargetFailedError(f"status {answer['status']}: {answer['stderr']}")


@dataclass
class Operations:
    """The operations of a deployment. ``table``: the functions that begin them, by name."""

    table: Mapping[str, Callable[[], Begun]]
    running: dict[str, Begun] = field(default_factory=dict)

    def begin(self, name: str) -> Begun:
        """Begin an operation; a second one of the same name replaces the first in the table.

        Raises WrongUsageError with the known names.
        """
        if name not in self.table:
            raise WrongUsageError(
                f"no operation {name!r} here: there are {', '.join(self.table)}")
        running = self.running[name] = self.table[name]()
        return running

    def heal(self, name: str, deadline: float) -> None:
        """Undo an operation that was begun; do nothing if it was not."""
        running = self.running.pop(name, None)
        if running is not None:
            running.heal(deadline)
