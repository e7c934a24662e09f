# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds stf_test.ko against the headers of a guest's kernel.

Debian's headers are fetched as packages and unpacked in the cache, never installed. A kernel
developer's own build contains them (lib/modules/RELEASE/build).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from fixtures.machine.cache import build_once, digest, require_space
from fixtures.machine.kernel import Kernel, apt_show
from fixtures.machine.tools import run_tool
from results.errors import WrongUsageError

NAME = "stf_test"
SOURCE = Path(__file__).with_name(f"{NAME}.c")

SPACE = 256 << 20
"""Bytes needed for a kernel's headers: packages and unpacked trees."""

RECIPE = "1"
"""Part of the cache keys; raise it when the code below changes the cached content."""


def module(kernel: Kernel, progress: Callable[[str], None]) -> Path:
    """Return the module for a kernel; build it if it is not in the cache.

    Raises WrongUsageError or MachineLostError with the missing package or the build's error.
    """
    headers = kernel_headers(kernel, progress)

    def build(folder: Path) -> None:
        progress(f"building {NAME} for {kernel.release}")
        shutil.copy2(SOURCE, folder)
        (folder / "Kbuild").write_text(f"obj-m := {NAME}.o\n")
        run_tool(["make", "-C", headers, f"M={folder}", "modules"])
        run_tool(["strip", "--strip-debug", folder / f"{NAME}.ko"])

    key = digest([RECIPE, kernel.release, str(headers), SOURCE.read_bytes()])
    return build_once("detectors", key, build) / f"{NAME}.ko"


def kernel_headers(kernel: Kernel, progress: Callable[[str], None]) -> Path:
    """Return the directory for ``make -C`` to build a kernel's modules in."""
    own = kernel.modules / "build"
    if (own / "Makefile").exists():
        return own.resolve()
    package = f"linux-headers-{kernel.release}"
    wanted = list(packages(package))

    def build(folder: Path) -> None:
        require_space(SPACE, package)
        progress(f"fetching {package}")
        run_tool(["apt-get", "download", *wanted], cwd=folder)
        for archive in folder.glob("*.deb"):
            run_tool(["dpkg-deb", "-x", archive, folder])
            archive.unlink()
        relocate(folder / "usr/src" / package)

    return build_once("headers", digest([RECIPE, *wanted]), build) / "usr/src" / package


def packages(headers: str) -> Iterator[str]:
    """Yield a headers package and the packages that it needs, each as "NAME=VERSION"."""
    record = next(iter(apt_show(headers)), None)
    if record is None:
        raise WrongUsageError(f"apt knows no {headers}: nothing to build a module with")
    yield f"{headers}={record['Version']}"
    for name in re.findall(r"\b(linux-(?:headers-[\w.+-]+-common|kbuild-[\w.+-]+))",
                           record["Depends"]):
        for other in apt_show(name)[:1]:
            yield f"{name}={other['Version']}"


def relocate(headers: Path) -> None:
    """Make unpacked headers usable at their current path.

    The links to scripts and tools are relative; only the Makefile includes an absolute path, which
    is rewritten. The kernel image in 6.12's package is removed: the modules' BTF would need pahole.
    """
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace(
        "/usr/src/", "$(dir $(lastword $(MAKEFILE_LIST)))../"))
    (headers / "vmlinux").unlink(missing_ok=True)
