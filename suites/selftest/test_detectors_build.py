# SPDX-License-Identifier: GPL-2.0-or-later
"""The build of the module with planted defects: the headers' packages and their location."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.machine.kernel import Kernel
from fixtures.machine.tools import run_tool
from results.errors import WrongUsageError
from suites.selftest.detectors import build

RECORDS = {
    "linux-headers-6.1.0-9-amd64": {
        "Version": "6.1.9-1",
        "Depends": "linux-headers-6.1.0-9-common (= 6.1.9-1), linux-kbuild-6.1 (>= 6.1.9-1), "
                   "linux-compiler-gcc-12-x86"},
    "linux-headers-6.1.0-9-common": {"Version": "6.1.9-1"},
    "linux-kbuild-6.1": {"Version": "6.1.12-1"},
}


@pytest.fixture(autouse=True)
def apt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace apt: only these packages are known."""
    def show(package: str) -> list[dict[str, str]]:
        return [RECORDS[package]] if package in RECORDS else []

    monkeypatch.setattr(build, "apt_show", show)


def kernel(release: str, modules: Path) -> Kernel:
    """Return a kernel of that release."""
    return Kernel("x", release, modules / "vmlinuz", modules, "a test")


def test_headers_come_with_what_they_need() -> None:
    assert list(build.packages("linux-headers-6.1.0-9-amd64")) == [
        "linux-headers-6.1.0-9-amd64=6.1.9-1", "linux-headers-6.1.0-9-common=6.1.9-1",
        "linux-kbuild-6.1=6.1.12-1"]


def test_headers_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(WrongUsageError, match=r"linux-headers-4\.0"):
        build.kernel_headers(kernel("4.0", tmp_path), lambda _: None)


def test_a_developers_build_brings_its_own(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/Makefile").touch()
    (tmp_path / "build").symlink_to("tree")
    found = build.kernel_headers(kernel("6.9-mine", tmp_path), lambda _: None)
    assert found == tmp_path / "tree"


def test_headers_can_be_moved(tmp_path: Path) -> None:
    headers = tmp_path / "here/usr/src/linux-headers-x"
    common = tmp_path / "here/usr/src/linux-headers-common"
    headers.mkdir(parents=True)
    common.mkdir()
    (headers / "Makefile").write_text("include /usr/src/linux-headers-common/Makefile\n")
    (headers / "vmlinux").touch()
    (common / "Makefile").write_text("all:\n\t@echo reached\n")
    build.relocate(headers)
    assert not (headers / "vmlinux").exists()
    moved = (tmp_path / "here").rename(tmp_path / "there")
    output = run_tool(["make", "-s", "-C", moved / "usr/src/linux-headers-x"])
    assert output == "reached\n"
