# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs cases one after the other, each in a process of its own; survives what becomes of them.

Runs in the guest; stdlib only. A case is one call to the kernel, with its arrangement and what the
process does at once after it. Lines out have "t" (CLOCK_MONOTONIC, ns) and "kind":

==========  ====================================================================================
kind        data
==========  ====================================================================================
arranging   number: a case begins
unready     number, why: the arrangement failed; the call is not made
call        number and the case's fields: the call comes next, once the host has sent
            {"go": number}: so this event has left the guest before the call is made
done        number, errors (names of errnos, "" for success, of each repetition), seconds,
            and what the case adds
late        number, wchan: the process had not ended in time, and is killed
unkillable  number, wchan: it has not ended after SIGKILL either; the program ends
ended       number, status (null: unknown), seconds from the call to the end of the process
released    number, seconds from the end of the process
kept        number, seconds, what: the kernel keeps what it should release; the program ends
end         cases
==========  ====================================================================================
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Case = Mapping[str, Any]


def emit(kind: str, **data: Any) -> None:
    """Write one event; a line is shorter than PIPE_BUF and so reaches the pipe in one piece."""
    os.write(1, (json.dumps({"t": time.monotonic_ns(), "kind": kind, **data}) + "\n").encode())


@dataclass(frozen=True)
class Bounds:
    """Seconds: of an arrangement, of a case's process after the call, of SIGKILL, of the release.
    """

    arrange: float
    call: float
    kill: float
    release: float


class Rig(Protocol):
    """A target's part of a case."""

    def arrange(self, case: Case) -> Callable[[], None]:
        """Make everything before the call, in the case's process; return the call and the rest.

        Raises OSError, ValueError when that is impossible.
        """

    def tidy(self, case: Case) -> None:
        """Remove, after the process's end, what it does not own. May block."""

    def kept(self) -> str:
        """Return a description of what the kernel has not released yet, "" for nothing."""


def run(rig: Rig, cases: Sequence[Case], bounds: Bounds, commands: Callable[[], Any]) -> None:
    """Run all cases, unless one leaves something behind. ``commands``: returns the host's next."""
    for case in cases:
        if not _case(rig, case, bounds, commands):
            break
    emit("end", cases=len(cases))


def _case(rig: Rig, case: Case, bounds: Bounds, commands: Callable[[], Any]) -> bool:
    number = case["number"]
    emit("arranging", number=number)
    ready, told = os.pipe()
    asked, go = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(ready)
        os.close(go)
        _process(rig, case, told, asked)
    os.close(told)
    os.close(asked)
    pidfd = os.pidfd_open(pid)
    try:
        if not _wait(ready, bounds.arrange) or not os.read(ready, 1):
            if not _wait(pidfd, 0.2):
                emit("unready", number=number, why=f"not arranged in {bounds.arrange:g} s, in "
                                                   f"{_where(pid)}")
        else:
            emit("call", **case)
            commands()
            os.write(go, b"g")
        began = time.monotonic()
        return _ended(number, pid, pidfd, bounds, began) and _released(rig, case, bounds)
    finally:
        for fd in (ready, go, pidfd):
            os.close(fd)


def _process(rig: Rig, case: Case, told: int, asked: int) -> None:
    """Arrange and make the call; never returns."""
    status = 1
    try:
        call = rig.arrange(case)
        os.write(told, b"r")
        os.close(told)
        if os.read(asked, 1):
            call()
        status = 0
    except (OSError, ValueError) as error:
        emit("unready", number=case["number"], why=f"{type(error).__name__}: {error}")
    except BaseException:
        emit("unready", number=case["number"], why=traceback.format_exc()[-800:])
    finally:
        os._exit(status)


def _wait(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _ended(number: int, pid: int, pidfd: int, bounds: Bounds, began: float) -> bool:
    if not _wait(pidfd, bounds.call):
        emit("late", number=number, wchan=_where(pid))
        os.kill(pid, signal.SIGKILL)
        if not _wait(pidfd, bounds.kill):
            emit("unkillable", number=number, wchan=_where(pid))
            return False
    status: int | None = None
    with suppress(ChildProcessError):  # a process that dies twice in the kernel is never reaped
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    emit("ended", number=number, status=status,
         seconds=round(time.monotonic() - began, 4))
    return True


def _released(rig: Rig, case: Case, bounds: Bounds) -> bool:
    began = time.monotonic()
    tidying = os.fork()
    if not tidying:
        with suppress(BaseException):
            rig.tidy(case)
        os._exit(0)
    pidfd = os.pidfd_open(tidying)
    what = ""
    try:
        while (waited := time.monotonic() - began) < bounds.release:
            what = "" if _wait(pidfd, 0.0) else f"the removal of its LUN is in {_where(tidying)}"
            what = what or rig.kept()
            if not what:
                os.waitpid(tidying, 0)
                emit("released", number=case["number"], seconds=round(waited, 4))
                return True
            time.sleep(0.005)
    finally:
        os.close(pidfd)
    emit("kept", number=case["number"], what=what, seconds=round(waited, 4))
    return False


def _where(pid: int) -> str:
    """Return the function of the kernel that a process waits in."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/wchan").read_text() or "user space"
    return "no process"


def main(argv: Sequence[str], make: Callable[[Mapping[str, Any]], Rig]) -> None:
    """Run the cases of the argument with the rig that ``make`` returns for it."""
    argument = json.loads(argv[0])
    bounds = Bounds(**argument["bounds"])
    run(make(argument), argument["cases"], bounds, lambda: json.loads(sys.stdin.readline()))
