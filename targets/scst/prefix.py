# SPDX-License-Identifier: GPL-2.0-or-later
"""An SCST installation: the result of SCST's ``make install`` with ``DESTDIR``.

A deployment uses the kernel modules of the machine's release and the iSCSI daemon; run.json records
the version and the source commit.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.errors import WrongUsageError
from targets.identity import build_id, sum_of

MODULES = ("scst", "scst_user", "scst_local", "iscsi-scst")
"""Modules that a deployment needs, by their file names, in load order."""

OPTIONAL = ("scst_vdisk",)
"""Modules loaded after the core where the installation has them: handlers that only some tests use.
"""

DAEMON = "usr/local/sbin/iscsi-scstd"

TREE = "/scst"
"""Mount point of the installation on the machine."""

HANDSHAKE = re.compile(rb"(?<=\0)(\d+\.\d+[!-~]*[0-9a-f]{80})(?=\0)")
"""SCST's version name followed by two SHA-1 sums in hex (DEV_USER_VERSION, scst_user.h)."""


class Prefix:
    """An SCST installation at ``path``. Raises WrongUsageError when there is none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._facts: dict[tuple[str, str], ModuleFacts] = {}
        if not self.path.is_dir():
            raise WrongUsageError(f"{path}: no such directory, expected an SCST installation")
        if not self.releases():
            raise WrongUsageError(
                f"{path}: not an SCST installation: no lib/modules/*/extra/**/scst.ko "
                "(name the DESTDIR of SCST's make install)")
        if not (self.path / DAEMON).is_file():
            raise WrongUsageError(f"{path}: incomplete SCST installation: no {DAEMON}")

    def releases(self) -> list[str]:
        """Return the kernel releases with modules, sorted."""
        modules = self.path / "lib/modules"
        found = modules.glob("*/extra/**/scst.ko*")
        return sorted({file.relative_to(modules).parts[0] for file in found})

    def check(self, release: str) -> None:
        """Raise WrongUsageError, naming the missing files, unless a kernel release is complete."""
        if release not in self.releases():
            raise WrongUsageError(
                f"{self.path}: no SCST modules for kernel {release}, only for "
                + ", ".join(self.releases()))
        missing = [f"{name}.ko" for name in MODULES if self._find(release, name) is None]
        if missing:
            raise WrongUsageError(
                f"{self.path}: incomplete SCST installation: no {', '.join(missing)} "
                f"for kernel {release}")

    def _find(self, release: str, name: str) -> Path | None:
        extra = self.path / "lib/modules" / release / "extra"
        return next(iter(sorted(extra.glob(f"**/{name}.ko*"))), None)

    def module(self, release: str, name: str) -> Path:
        """Return a module's file. Raises WrongUsageError when it is not there."""
        file = self._find(release, name)
        if file is None:
            raise WrongUsageError(f"{self.path}: no {name}.ko for kernel {release}")
        return file

    def modules(self, release: str) -> list[str]:
        """Return the modules to load on a kernel release, by their file names, in load order."""
        core, *others = MODULES
        return [core, *(name for name in OPTIONAL if self._find(release, name)), *others]

    def facts(self, release: str, name: str) -> ModuleFacts:
        """Return the facts recorded in a module's image.

        Raises WrongUsageError when it cannot be read.
        """
        if (release, name) not in self._facts:
            self._facts[release, name] = ModuleFacts.of(read_module(self.module(release, name)))
        return self._facts[release, name]

    def dependencies(self, release: str) -> list[str]:
        """Return the kernel's own modules that must be loaded first, sorted."""
        modules = self.modules(release)
        own = {name.replace("-", "_") for name in modules}
        wanted = {
            name.replace("-", "_") for module in modules
            for name in self.facts(release, module).info.get("depends", "").split(",") if name
        }
        return sorted(wanted - own)

    def version_string(self, release: str) -> str:
        """Return the ``version_str`` that SCST_USER_REGISTER_DEVICE requires.

        scst_user.ko contains two strings of that shape; the other is also in scst.ko, as the
        version of the interface between the two modules. Raises WrongUsageError.
        """
        shared = self.facts(release, "scst").handshakes
        found = self.facts(release, "scst_user").handshakes - shared
        if len(found) != 1:
            raise WrongUsageError(
                f"{self.module(release, 'scst_user')}: {len(found)} strings could be the "
                "version string of scst_user, expected one")
        return min(found)

    def version(self, release: str | None = None) -> dict[str, str | None]:
        """Return ``version``, ``commit`` and scst_user's ``srcversion``; None where not recorded.

        They are those of one kernel release's modules, by default the first release's.
        """
        release = self.releases()[0] if release is None else release
        core = self.facts(release, "scst").info
        user = self.facts(release, "scst_user").info
        return {"version": core.get("version"), "commit": core.get("git_commit"),
                "srcversion": user.get("srcversion")}

    def describe(self) -> Mapping[str, Any]:
        """Return the installation's record for run.json."""
        return {"prefix": str(self.path), "releases": self.releases(), **self.version(),
                "parts": self.parts()}

    def parts(self) -> dict[str, dict[str, str]]:
        """Return the identity of each module and the daemon, by the file's path in the tree.

        ``build_id``: of the ELF note, "" without one; ``sha256``: of the file, 16 digits;
        ``srcversion``: of a module. A module's build mode is a part of its build id.
        """
        files = {f"{release}/{name}.ko": self.module(release, name)
                 for release in self.releases() for name in self.modules(release)
                 if self._find(release, name)}
        files[Path(DAEMON).name] = self.path / DAEMON
        return {name: _identity(file) for name, file in files.items()}


def _identity(file: Path) -> dict[str, str]:
    image = read_module(file) if file.suffix in DECOMPRESS else file.read_bytes()
    found = {"build_id": build_id(image), "sha256": sum_of(image)}
    source = ModuleFacts.of(image).info.get("srcversion")
    return {**found, **({"srcversion": source} if source else {})}


@dataclass(frozen=True)
class ModuleFacts:
    """Facts recorded in a kernel module's image.

    ``info``: fields of .modinfo that this project reads. ``handshakes``: strings with the shape of
    a version string of scst_user.
    """

    info: Mapping[str, str]
    handshakes: frozenset[str]

    @classmethod
    def of(cls, image: bytes) -> ModuleFacts:
        """Search an ELF image for the facts."""
        fields = re.findall(
            rb"\0(version|git_commit|depends|srcversion)=([^\0]*)(?=\0)", image)
        return cls(
            {key.decode(): value.decode(errors="replace") for key, value in fields},
            frozenset(text.decode() for text in HANDSHAKE.findall(image)))


def read_module(file: Path) -> bytes:
    """Return a module's ELF image, uncompressed. Raises WrongUsageError when it cannot be read."""
    decompress = DECOMPRESS.get(file.suffix)
    if decompress is None:
        raise WrongUsageError(f"{file}: unknown compression {file.suffix}")
    try:
        return decompress(file.read_bytes())
    except (OSError, EOFError, lzma.LZMAError, subprocess.CalledProcessError) as error:
        raise WrongUsageError(f"{file}: cannot be read: {error}") from error


def _zstd(data: bytes) -> bytes:
    program = shutil.which("zstd")
    if program is None:
        raise OSError("the zstd program is needed to decompress it")
    return subprocess.run(
        [program, "-dcq"], input=data, capture_output=True, check=True).stdout


DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".ko": lambda data: data,
    ".xz": lzma.decompress,
    ".gz": gzip.decompress,
    ".zst": _zstd,
}
"""Decompression functions, by a module file's last suffix."""
