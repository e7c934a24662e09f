"""An operation on a target that was begun: whether it waits, how it ends, how it is undone.

What can block in the kernel is begun and looked at, never simply waited for: many operations of
an administrator's wait for the commands that a backend has in its hands. Each is two events of
the history, source "target", kinds ``begin`` and ``end``, with its name as ``operation``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from results.errors import StfError
from results.history import Recorder
from targets.machine import Machine


class Work(Protocol):
    """What an operation does on the machine."""

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""

    def waits(self) -> bool:
        """Whether it has done what it can, and now waits in the kernel for somebody."""

    def finish(self, deadline: float) -> None:
        """Wait for its end. Raises TargetFailedError when it fails, or not within seconds."""


@dataclass
class Running:
    """An operation that was begun. ``undo``: what heals, given seconds; None: nothing does."""

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
        """Whether it waits in the kernel for commands that somebody has."""
        return not self.work.done and self.work.waits()

    def finish(self, deadline: float) -> None:
        """Wait for its end and record it, once. Raises TargetFailedError; late is failed, too."""
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
        """Undo it; what nothing undoes is seen to end. Raises TargetFailedError."""
        if self.undo is not None:
            self.undo(deadline)
        else:
            self.finish(deadline)
