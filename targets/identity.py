# SPDX-License-Identifier: GPL-2.0-or-later
"""The identity of a target: of its kernel, its modules, its programs and its backends.

A *part* is a file, by its name; what identifies it is ``build_id`` (of its ELF note), ``sha256``
(16 digits), ``srcversion`` (of a module), ``version``. Two targets are the same if every part is
(results.identity).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from targets.machine import Machine

if TYPE_CHECKING:
    from targets.target import Target

Part = Mapping[str, str]

NOTE = re.compile(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})", re.DOTALL)
"""NT_GNU_BUILD_ID (elf.h): sizes of name and descriptor, type, name, 20 bytes of SHA-1."""

NOTE_SIZE = 36
"""Size in bytes of such a note, the only one in a module's section .note.gnu.build-id."""

KERNEL = "vmlinux"

BACKENDS = "backend programs"

DIGITS = 16
"""Hexadecimal digits of a SHA-256 that are recorded."""

SCRIPT = f"""cd /sys/module
cat /proc/version; echo --
cat /proc/modules; echo --
grep -s . */srcversion; echo --
printf '%s\\n' */notes/.note.gnu.build-id; echo --
od -An -v -tx1 -w{NOTE_SIZE} */notes/.note.gnu.build-id; echo --
od -An -v -tx1 -w65536 /sys/kernel/notes; echo --
[ $# = 0 ] || sha256sum "$@"
"""
"""Prints seven sections: version, modules, their source versions, the files with their notes, the
notes in the same order, the kernel's notes, the programs' sums."""


def build_id(image: bytes) -> str:
    """Return the build id in an ELF image or its notes, in hex; "" without one."""
    found = NOTE.search(image)
    return found[1].hex() if found else ""


def sum_of(content: bytes) -> str:
    """Return the first digits of a SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def loaded_parts(machine: Machine, target: Target) -> dict[str, Part]:
    """Return the kernel, the loaded modules and the programs of a target on its machine.

    Of the modules: the target's own and those that they depend on. Names are "RELEASE/FILE".
    Raises TargetFailedError.
    """
    done = machine.run(["sh", "-c", SCRIPT, "sh", *target.programs], check=False)
    version = str(target.describe().get("version", ""))
    return {f"{machine.release}/{name}": part
            for name, part in parts_in(done.stdout, target.modules, version).items()}


def parts_in(text: str, modules: Iterable[str], version: str) -> dict[str, Part]:
    """Read the output of SCRIPT; without its seven sections there are no parts.

    ``modules``: the target's. ``version``: of its programs.
    """
    sections = [part.strip().splitlines() for part in text.split("--\n")]
    if len(sections) != 7:
        return {}
    (words,), listing, sources, files, notes, (kernel,), sums = sections
    found: dict[str, Part] = {KERNEL: {"build_id": build_id(bytes.fromhex(kernel)),
                                       "version": words}}
    source = dict(line.split("/srcversion:", 1) for line in sources)
    notes_of = {file.partition("/")[0]: build_id(bytes.fromhex(note))
                for file, note in zip(files, notes, strict=False)}
    for name in needed(listing, modules):
        found[f"{name}.ko"] = {"build_id": notes_of.get(name, ""), **(
            {"srcversion": source[name]} if name in source else {})}
    for line in sums:
        digest, _, path = line.partition("  ")
        found[Path(path).name] = {"sha256": digest[:DIGITS], "version": version}
    return found


def needed(listing: Sequence[str], modules: Iterable[str]) -> list[str]:
    """Return the loaded ones of modules and what they depend on, as in /proc/modules, sorted."""
    users = {name: set(used.split(",")) for name, _, _, used, *_ in map(str.split, listing)}
    found: set[str] = set()
    wanted = set(modules) & set(users)
    while wanted:
        found |= wanted
        wanted = {name for name, used in users.items() if used & wanted} - found
    return sorted(found)


def backend_parts() -> dict[str, Part]:
    """Return the identity of this project's programs that run beside a target in the guest."""
    top = Path(__file__).parent
    files = sorted(top.rglob("*_guest*/*.py")) + sorted(top.rglob("*_guest.py"))
    return {BACKENDS: {"sha256": sum_of(b"\0".join(
        str(file.relative_to(top)).encode() + b"\0" + file.read_bytes() for file in files))}}


def kernel_parts(release: str, image: Path) -> dict[str, Part]:
    """Return the identity of a kernel's bootable file, and of its configuration beside it."""
    config = next((path for path in (image.parent / f"config-{release}",
                                     image.parent / ".config") if path.is_file()), None)
    files = {image.name: image, **({f"config-{release}": config} if config else {})}
    return {f"{release}/{name}": {"sha256": sum_of(file.read_bytes())}
            for name, file in files.items() if file.is_file()}
