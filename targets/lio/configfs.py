# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounded operations on LIO's configuration file system.

Any of them can block for as long as a command is in flight, so each is begun on the machine and
waited for; the error for a late one names the operation.
"""

from __future__ import annotations

from typing import Any

from results.errors import TargetFailedError
from targets.machine import Machine

CONFIGFS = "/sys/kernel/config"
TARGET = f"{CONFIGFS}/target"
HBA = f"{TARGET}/core/user_0"
BLOCK_HBA = f"{TARGET}/core/iblock_0"


class Configfs:
    """Operations that together may take ``seconds`` of the machine's time.

    Each raises TargetFailedError, with its name and path, when it fails or is late. After a late
    one further operations are refused, because they would wait for the same locks.
    """

    def __init__(self, machine: Machine, seconds: float) -> None:
        self.machine = machine
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        """Begin a new budget: further operations may take ``seconds`` together."""
        self._seconds = seconds
        self._end = self.machine.now() + seconds
        self._stuck: str | None = None

    def exists(self, path: str) -> bool:
        """Return whether the object exists."""
        return self.machine.exists(path)

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        self._do("mkdir", path)

    def read(self, path: str) -> str:
        """Return an attribute's value."""
        return str(self._do("read", path)).strip()

    def write(self, path: str, text: str) -> None:
        """Write an attribute."""
        self._do("write", path, text)

    def symlink(self, source: str, path: str) -> None:
        """Make a link."""
        self._do("symlink", source, path)

    def clear(self, path: str, text: str) -> None:
        """Write an attribute, unless its object is gone already."""
        self._do("write", path, text, missing_ok=True)

    def remove_link(self, path: str) -> None:
        """Remove a link, unless it is gone already."""
        self._do("unlink", path, missing_ok=True)

    def remove_directory(self, path: str) -> None:
        """Remove a directory, unless it is gone already."""
        self._do("rmdir", path, missing_ok=True)

    def _do(self, verb: str, *args: str, missing_ok: bool = False) -> Any:
        what = " ".join([verb, *args])
        if self._stuck is not None:
            raise TargetFailedError(f"{what}: not tried, because {self._stuck!r} has not ended")
        pending = self.machine.begin(verb, *args)
        try:
            return pending.result(max(0.0, self._end - self.machine.now()))
        except TimeoutError as error:
            if pending.done:  # the kernel's own ETIMEDOUT
                raise TargetFailedError(f"{what}: {error}") from error
            self._stuck = what
            raise TargetFailedError(
                f"{what}: not ended when the {self._seconds:g} s were over") from None
        except FileNotFoundError as error:
            if not missing_ok:
                raise TargetFailedError(f"{what}: {error.strerror or error}") from error
        except OSError as error:
            raise TargetFailedError(f"{what}: {error.strerror or error}") from error
        return None
