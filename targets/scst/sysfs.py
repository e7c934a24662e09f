"""Bounded operations on SCST's sysfs tree, /sys/kernel/scst_tgt.

SCST carries a management write out in a thread of its own. The writer waits for it, without a
bound as a rule; while another operation has the SCST mutex it is sent away with EAGAIN instead,
and the outcome appears in ``last_sysfs_mgmt_res`` (scst_sysfs_queue_wait_work, scst_sysfs.c).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from results.errors import TargetFailedError
from targets.machine import Machine, Pending

SCST = "/sys/kernel/scst_tgt"
DEVICES = f"{SCST}/devices"
HANDLERS = f"{SCST}/handlers"
TARGETS = f"{SCST}/targets"
LAST_RESULT = f"{SCST}/last_sysfs_mgmt_res"

POLL = 0.02
"""Seconds between two looks at a state that is waited for."""


def wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    """Wait until ``condition`` holds, ``deadline`` seconds at most; tell whether it does."""
    try:
        Retrying(
            retry=retry_if_result(lambda holds: not holds), wait=wait_fixed(POLL),
            stop=stop_after_delay(deadline),
        )(condition)
    except RetryError:
        return False
    return True


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


def is_busy(error: TargetFailedError) -> bool:
    """Tell whether an operation failed because something is in use yet."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EBUSY


def _finish_later(machine: Machine, what: str, deadline: float, left: float) -> None:
    results: list[int] = []
    if not wait_until(lambda: _collect(machine, results), max(left, 0.0)):
        raise TargetFailedError(f"{what}: not ended after {deadline:g} s")
    if results[0]:
        raise TargetFailedError(f"{what}: {os.strerror(-results[0])}")


def _collect(machine: Machine, results: list[int]) -> bool:
    """Append the last operation's outcome, 0 or minus an errno, once there is one."""
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
