"""What a target needs of the machine it runs on: a handful of verbs.

Guests and lab machines provide it (``fixtures.machine``); tests stage it with a fake.
Every verb runs *on the machine*; what can block there is bounded by a deadline here. A call
that is late raises MachineLostError, unless it was begun with ``begin``, whose Pending tells
apart "not yet" from "failed".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from inject import contract


@dataclass(frozen=True)
class Completed:
    """A program that ended: exit status (negative: signal number) and what it printed."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class Process(contract.Process, Protocol):
    """A program on the machine that is spoken to by JSON lines.

    Its standard input takes one JSON object per line, each JSON line of its standard output is
    a message to ``on_message`` of ``Machine.spawn``; other output is a message of kind "text".
    """

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one JSON line to its standard input."""


class Pending(Protocol):
    """A call that was begun on the machine and may block there."""

    @property
    def done(self) -> bool:
        """Whether the call has ended, well or not."""

    @property
    def seconds(self) -> float | None:
        """How long it took on the machine's clock, once it has ended."""

    def result(self, deadline: float) -> Any:
        """Return the call's result; OSError as the machine raised it.

        Raises TimeoutError when it has not ended after ``deadline`` seconds.
        """


class Machine(Protocol):
    """Where a target runs."""

    @property
    def release(self) -> str:
        """Kernel release, as ``uname -r`` prints it."""

    @property
    def address(self) -> str:
        """The IP address at which an initiator finds it: loopback's, where that is on it too."""

    @property
    def interface(self) -> str:
        """The network interface by which the initiator reaches it, or the target is reached."""

    def now(self) -> float:
        """Return the machine's CLOCK_MONOTONIC in seconds, as the host knows it."""

    def run(
        self, argv: Sequence[str], *, deadline: float | None = None, check: bool = True,
        stdin: str = "",
    ) -> Completed:
        """Run a program to its end. With ``check``, a status other than 0 raises
        TargetFailedError that quotes its last words."""

    def spawn(
        self, name: str, *, module: str | None = None, argv: Sequence[str] = (),
        on_message: Callable[[Mapping[str, Any]], None] | None = None,
        on_exit: Callable[[int], None] | None = None,
    ) -> Process:
        """Start a program: ``argv``, or the ``main(argv)`` of a guest module of this project
        (forked from an interpreter that has it imported already, so it starts at once).

        ``on_message`` and ``on_exit`` are called from the connection's thread: be quick.
        Every message has "t" (CLOCK_MONOTONIC, ns) and "kind".
        """

    def read(self, path: str, *, deadline: float | None = None) -> str:
        """Return a small file's text. Raises OSError as on the machine (FileNotFoundError ...)."""

    def write(self, path: str, text: str, *, deadline: float | None = None) -> None:
        """Write ``text`` with one write(2), as sysfs and configfs want it. Raises OSError."""

    def mkdir(self, path: str) -> None:
        """Make a directory with its parents (each by mkdir(2)); fine if it is there."""

    def rmdir(self, path: str) -> None:
        """Remove a directory. Raises OSError."""

    def symlink(self, source: str, path: str) -> None:
        """Make ``path`` a symbolic link to ``source``. Raises OSError."""

    def unlink(self, path: str) -> None:
        """Remove a file or link. Raises OSError."""

    def exists(self, path: str) -> bool:
        """Tell whether the path is there."""

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory, sorted; empty when it is not there."""

    def begin(self, verb: str, *args: Any) -> Pending:
        """Begin one of the verbs above (read, write, mkdir, rmdir, symlink, unlink, run) and
        return at once; it may block on the machine for as long as it likes."""

    def waiting(self) -> list[str]:
        """Return the verbs that wait in the kernel now, in a call that changes something."""

    def modprobe(self, *modules: str) -> None:
        """Load kernel modules with what they depend on. Raises TargetFailedError."""

    def rmmod(self, *modules: str, deadline: float | None = None) -> None:
        """Unload kernel modules, in this order. Raises TargetFailedError when refused."""
