# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations that a target needs on its machine: a handful of verbs.

Guests and lab machines provide them (``fixtures.machine``); tests replace them by a fake. Every
verb runs *on the machine*; a verb that can block there is bounded by a deadline here. A call that
is late raises MachineLostError, unless it was begun with ``begin``, whose Pending distinguishes
"not yet" from "failed".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from inject import contract
from results.errors import MachineLostError


@dataclass(frozen=True)
class Completed:
    """A program that ended: exit status (negative: signal number) and output."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class Process(contract.Process, Protocol):
    """A program on the machine that communicates by JSON lines.

    Its standard input takes one JSON object per line. Each JSON line of its standard output is a
    message to ``on_message`` of ``Machine.spawn``; other output is a message of kind "text".
    """

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one JSON line to its standard input."""


class Pending(Protocol):
    """A call that was begun on the machine and may block there."""

    @property
    def done(self) -> bool:
        """Whether the call has ended, with or without an error."""

    @property
    def seconds(self) -> float | None:
        """Duration in seconds on the machine's clock, once the call has ended."""

    def result(self, deadline: float) -> Any:
        """Return the call's result; raise its OSError as on the machine.

        Raises TimeoutError when it has not ended after ``deadline`` seconds.
        """


class Machine(Protocol):
    """The machine that a target runs on."""

    @property
    def lost(self) -> str | None:
        """The reason why the machine can no longer be reached, or None."""

    @property
    def release(self) -> str:
        """Kernel release, as ``uname -r`` prints it."""

    @property
    def address(self) -> str:
        """The IP address of the machine for an initiator.

        A loopback address if the initiator is on the same machine.
        """

    @property
    def interface(self) -> str:
        """The network interface between initiator and machine."""

    def now(self) -> float:
        """Return the machine's CLOCK_MONOTONIC in seconds, as known to the host."""

    def run(
        self, argv: Sequence[str], *, deadline: float | None = None, check: bool = True,
        stdin: str = "",
    ) -> Completed:
        """Run a program to its end.

        With ``check``, a status other than 0 raises TargetFailedError that quotes its last output.
        """

    def spawn(
        self, name: str, *, module: str | None = None, argv: Sequence[str] = (),
        on_message: Callable[[Mapping[str, Any]], None] | None = None,
        on_exit: Callable[[int], None] | None = None,
    ) -> Process:
        """Start a program: ``argv``, or the ``main(argv)`` of a guest module of this project.

        A module is forked from an interpreter that has imported it already, so it starts at once.
        ``on_message`` and ``on_exit`` are called from the connection's thread: be quick. Every
        message has "t" (CLOCK_MONOTONIC, ns) and "kind".
        """

    def read(self, path: str, *, deadline: float | None = None) -> str:
        """Return a small file's text. Raises OSError as on the machine (FileNotFoundError ...)."""

    def write(self, path: str, text: str, *, deadline: float | None = None) -> None:
        """Write ``text`` with one write(2), as sysfs and configfs require. Raises OSError."""

    def mkdir(self, path: str) -> None:
        """Make a directory with its parents (each by mkdir(2)); do nothing if it exists."""

    def rmdir(self, path: str) -> None:
        """Remove a directory. Raises OSError."""

    def symlink(self, source: str, path: str) -> None:
        """Make ``path`` a symbolic link to ``source``. Raises OSError."""

    def unlink(self, path: str) -> None:
        """Remove a file or link. Raises OSError."""

    def exists(self, path: str) -> bool:
        """Return whether the path exists."""

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory, sorted; empty when it does not exist."""

    def begin(self, verb: str, *args: Any) -> Pending:
        """Begin one of the verbs above (read, write, mkdir, rmdir, symlink, unlink, run).

        Returns at once; the verb may block on the machine without a bound.
        """

    def waiting(self) -> list[str]:
        """Return the verbs that now wait in the kernel, in a call that changes state."""

    def modprobe(self, *modules: str) -> None:
        """Load kernel modules with their dependencies. Raises TargetFailedError."""

    def rmmod(self, *modules: str, deadline: float | None = None) -> None:
        """Unload kernel modules, in this order. Raises TargetFailedError when refused."""


LOOK = 0.2
"""Seconds between two checks of whether the machine has been lost."""


def wait_on(
    changed: threading.Condition, reached: Callable[[], bool], deadline: float, machine: Machine,
) -> bool:
    """Wait until ``reached`` holds, ``deadline`` seconds at most; return whether it does.

    ``changed``: entered by the caller, and notified when ``reached`` may have changed. Raises
    MachineLostError as soon as the machine is lost: nothing more will come from it.
    """
    end = time.monotonic() + deadline
    while not reached():
        left = end - time.monotonic()
        if machine.lost:
            raise MachineLostError(machine.lost)
        if left <= 0:
            return False
        changed.wait(min(left, LOOK))
    return True
