# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounded operations on SCST's sysfs tree, /sys/kernel/scst_tgt.

SCST executes a management write in a thread of its own. The writer waits for it, usually without a
bound. While another operation holds the SCST mutex, the write returns EAGAIN instead, and its
result appears in ``last_sysfs_mgmt_res`` (scst_sysfs_queue_wait_work, scst_sysfs.c).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from inject.waiting import wait_until
from results.errors import TargetFailedError
from targets.machine import Machine, Pending

SCST = "/sys/kernel/scst_tgt"
DEVICES = f"{SCST}/devices"
HANDLERS = f"{SCST}/handlers"
TARGETS = f"{SCST}/targets"
LAST_RESULT = f"{SCST}/last_sysfs_mgmt_res"

def begin(machine: Machine, path: str, text: str) -> Pending:
    """Begin a write that may block."""
    return machine.begin("write", path, text)


def finish(machine: Machine, pending: Pending, what: str, deadline: float) -> None:
    """Wait for the end of a write. Raises TargetFailedError when it fails or is late."""
    end = machine.now() + deadline
    try:
        pending.result(deadline)
    except TimeoutError as error:
        words = str(error) if pending.done else f"not ended after {deadline:g} s"
        raise TargetFailedError(f"{what}: {words}") from None
    except OSError as error:
        if error.errno != errno.EAGAIN:
            raise TargetFailedError(f"{what}: {os.strerror(error.errno or 0)}") from error
        _finish_later(machine, what, deadline, end - machine.now())


@dataclass(frozen=True)
class Write:
    """A write that was begun (a targets.operation.Work).

    ``waiting``: returns whether the operation has begun to wait, where the tree shows that; None:
    it waits when its thread sleeps in the kernel. ``refused``: the errno with which it has to fail.
    """

    machine: Machine
    pending: Pending
    what: str
    waiting: Callable[[], bool] | None = None
    refused: int | None = None

    @property
    def done(self) -> bool:
        """Whether the operation has ended; the write itself may have returned EAGAIN earlier."""
        return self.pending.done and not self._goes_on()

    def _goes_on(self) -> bool:
        try:
            self.pending.result(0.0)
        except OSError as error:
            return error.errno == errno.EAGAIN and not _collect(self.machine, [])
        return False

    def waits(self) -> bool:
        """Return whether the operation has begun, and waits."""
        if self.waiting is not None:
            return self.waiting()
        return not self.pending.done and "write" in self.machine.waiting()

    def finish(self, deadline: float) -> None:
        """Wait for its end. Raises TargetFailedError unless it ends as required, in time."""
        try:
            finish(self.machine, self.pending, self.what, deadline)
        except TargetFailedError as error:
            if self.refused is None or errno_of(error) != self.refused:
                raise
        else:
            if self.refused is not None:
                raise TargetFailedError(
                    f"{self.what}: not refused with {os.strerror(self.refused)}")


def start(
    machine: Machine, path: str, text: str, waiting: Callable[[], bool] | None = None,
    refused: int | None = None,
) -> Write:
    """Begin a write that may block."""
    return Write(machine, begin(machine, path, text), f"'{text}' to {path}", waiting, refused)


def errno_of(error: TargetFailedError) -> int | None:
    """Return the errno with which an operation failed, None where it did not end at all."""
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None


def is_busy(error: TargetFailedError) -> bool:
    """Return whether an operation failed because its object is still in use."""
    return errno_of(error) == errno.EBUSY


def _finish_later(machine: Machine, what: str, deadline: float, left: float) -> None:
    results: list[int] = []
    if not wait_until(lambda: _collect(machine, results), max(left, 0.0)):
        raise TargetFailedError(f"{what}: not ended after {deadline:g} s")
    if results[0]:
        words = os.strerror(-results[0])
        raise TargetFailedError(f"{what}: {words}") from OSError(-results[0], words)


def _collect(machine: Machine, results: list[int]) -> bool:
    """Append the last operation's result, 0 or a negative errno.

    Returns whether there was one.
    """
    try:
        results.append(int(machine.read(LAST_RESULT)))
    except OSError as error:
        if error.errno != errno.EAGAIN:
            raise TargetFailedError(f"{LAST_RESULT}: {error}") from error
        return False
    return True


def write(machine: Machine, path: str, text: str, deadline: float) -> None:
    """Write and wait for the end. Raises TargetFailedError when it fails or is late."""
    finish(machine, begin(machine, path, text), f"'{text}' to {path}", deadline)
