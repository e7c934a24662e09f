# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels: a developer's directory and its possible errors, modules and their order."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.machine import kernel as kernels
from fixtures.machine.initramfs import require_boot_modules
from fixtures.machine.kernel import (
    Kernel,
    debian_package,
    find_kernel,
    module_bytes,
    module_name,
    tree_disk,
)
from results.errors import MachineLostError, WrongUsageError

RELEASE = "6.1.0-test"

DEPENDS = """\
kernel/fs/ext4/ext4.ko.xz: kernel/fs/mbcache.ko.xz kernel/fs/jbd2/jbd2.ko.xz
kernel/fs/jbd2/jbd2.ko.xz: kernel/lib/crc32c-a.ko.xz
kernel/fs/mbcache.ko.xz:
kernel/lib/crc32c-a.ko.xz: kernel/lib/loop.ko.xz
kernel/lib/loop.ko.xz: kernel/lib/crc32c-a.ko.xz
"""


def quiet(_: str) -> None:
    """Discard a message."""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Provide a directory as a kernel developer's build leaves it."""
    tree = tmp_path / "kernel/lib/modules" / RELEASE
    tree.mkdir(parents=True)
    (tree / "modules.dep").write_text(DEPENDS)
    (tree / "modules.builtin").write_text("kernel/drivers/virtio/virtio_blk.ko\n"
                                          "kernel/drivers/char/virtio-console.ko\n")
    (tree / "build").symlink_to("/nowhere")
    (tmp_path / "kernel/bzImage").write_bytes(b"boot me")
    return tmp_path / "kernel"


def refusal(top: Path) -> str:
    """Return the one-line error for a directory that is not a kernel."""
    with pytest.raises(WrongUsageError) as raised:
        find_kernel(str(top), quiet)
    words = str(raised.value)
    assert "\n" not in words
    assert str(top) in words
    return words


@pytest.mark.parametrize("image", [
    "bzImage", "vmlinuz", "arch/x86/boot/bzImage", f"boot/vmlinuz-{RELEASE}"])
def test_a_good_directory(top: Path, image: str) -> None:
    (top / "bzImage").unlink()
    (top / image).parent.mkdir(parents=True, exist_ok=True)
    (top / image).touch()
    found = find_kernel(str(top), quiet)
    assert found == Kernel(str(top), RELEASE, top / image, top / "lib/modules" / RELEASE, str(top))


def test_a_directory_may_be_named_from_here(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(top.parent)
    assert find_kernel("kernel", quiet).image == top / "bzImage"


def test_no_modules(top: Path) -> None:
    shutil.rmtree(top / "lib")
    assert "has no modules" in refusal(top)


def test_a_file_where_modules_should_be(top: Path) -> None:
    shutil.rmtree(top / "lib/modules" / RELEASE)
    (top / "lib/modules" / RELEASE).touch()
    assert "has no modules" in refusal(top)


def test_modules_of_two_releases(top: Path) -> None:
    (top / "lib/modules/5.10").mkdir()
    assert refusal(top).endswith(f"several releases: 5.10, {RELEASE}")


def test_modules_without_their_index(top: Path) -> None:
    (top / "lib/modules" / RELEASE / "modules.dep").unlink()
    assert f"run depmod -b {top} {RELEASE}" in refusal(top)


def test_nothing_to_boot(top: Path) -> None:
    (top / "bzImage").rename(top / "vmlinux")
    assert "no bzImage or vmlinuz" in refusal(top)


def test_a_directory_is_nothing_to_boot(top: Path) -> None:
    (top / "bzImage").unlink()
    (top / "vmlinuz").mkdir()
    assert "no bzImage or vmlinuz" in refusal(top)


@pytest.mark.parametrize("name", ["5.10", "linux", "/no/such/directory", "6.1.0"])
def test_an_unknown_kernel(name: str) -> None:
    with pytest.raises(WrongUsageError, match=r"unknown kernel .*\(6\.1, 6\.12\)"):
        find_kernel(name, quiet)


# --- modules --------------------------------------------------------------------------------------


def loaded(top: Path, *names: str) -> list[str]:
    """Return the names of the modules to load for these modules, in order."""
    return [module_name(path.name)
            for path in find_kernel(str(top), quiet).module_files(*names)]


def test_what_is_needed_comes_first_and_once(top: Path) -> None:
    assert loaded(top, "ext4", "jbd2", "mbcache") == [
        "mbcache", "loop", "crc32c_a", "jbd2", "ext4"]


def test_what_is_built_in_needs_no_file(top: Path) -> None:
    assert loaded(top, "virtio_blk", "virtio_console", "mbcache") == ["mbcache"]


def test_a_kernel_that_lists_nothing_built_in(top: Path) -> None:
    (top / "lib/modules" / RELEASE / "modules.builtin").unlink()
    assert loaded(top, "mbcache") == ["mbcache"]
    with pytest.raises(WrongUsageError, match=f"kernel {RELEASE} has no module virtio_blk"):
        loaded(top, "virtio_blk")


def test_a_kernel_that_cannot_reach_its_disk_is_refused(top: Path) -> None:
    with pytest.raises(WrongUsageError, match=f"kernel {RELEASE} has no module virtio_pci"):
        require_boot_modules(find_kernel(str(top), quiet))


@pytest.mark.parametrize(("file", "name"), [
    ("kernel/crypto/crc32c-intel.ko.xz", "crc32c_intel"), ("ext4.ko", "ext4"),
    ("a-b_c.ko.zst", "a_b_c")])
def test_a_modules_name(file: str, name: str) -> None:
    assert module_name(file) == name


@pytest.mark.parametrize(("suffix", "compress"), [
    (".ko", bytes), (".ko.xz", lzma.compress), (".ko.gz", gzip.compress)])
def test_compressed_modules(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes],
) -> None:
    file = tmp_path / f"m{suffix}"
    file.write_bytes(compress(b"\x7fELF words"))
    assert module_bytes(file) == b"\x7fELF words"


@pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd here")
def test_a_module_compressed_with_zstd(tmp_path: Path) -> None:
    (tmp_path / "m.ko").write_bytes(b"\x7fELF words")
    subprocess.run(["zstd", "-q", tmp_path / "m.ko"], check=True)
    assert module_bytes(tmp_path / "m.ko.zst") == b"\x7fELF words"


@pytest.mark.parametrize("suffix", ["xz", "gz", "zst"])
def test_a_module_that_is_cut_off(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"m.ko.{suffix}").write_bytes(b"\x1f\x8b\x08\0")
    with pytest.raises(WrongUsageError, match=r"m\.ko|zstd is not installed"):
        module_bytes(tmp_path / f"m.ko.{suffix}")


@pytest.mark.skipif(shutil.which("mke2fs", path="/usr/sbin:/sbin") is None, reason="no mke2fs")
def test_a_disk_of_modules_is_made_once_and_again_when_they_change(
    top: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", f"{top.parent}/cache")
    tree = top / "lib/modules" / RELEASE
    disk = find_kernel(str(top), quiet).modules_disk()
    with disk.open("rb") as file:
        file.seek(1024 + 56)  # s_magic of the superblock, fs/ext4/ext4.h
        assert struct.unpack("<H", file.read(2)) == (0xEF53,)
    made = disk.stat().st_mtime_ns
    assert tree_disk(tree, "again") == disk
    assert disk.stat().st_mtime_ns == made
    (tree / "new.ko").touch()
    assert tree_disk(tree, "changed") != disk


# --- Debian's kernels -----------------------------------------------------------------------------

RECORDS = {
    "linux-image-amd64": "Package: linux-image-amd64\nVersion: 6.1.9-1\n"
                         "Depends: linux-image-6.1.0-9-amd64 (= 6.1.9-1)\n\n"
                         "Package: linux-image-amd64\nVersion: 6.1.8-1\n"
                         "Depends: linux-image-6.1.0-8-amd64 (= 6.1.8-1)\n",
    "linux-image-6.1.0-8-amd64": "Package: linux-image-6.1.0-8-amd64\nVersion: 6.1.8-1\n",
}


def apt(argv: list[str]) -> str:
    """Replace apt-cache show."""
    if argv[2] not in RECORDS:
        raise MachineLostError("E: No packages found")
    return RECORDS[argv[2]]


def test_the_newest_package_that_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "run_tool", apt)
    assert debian_package("6.1") == ("linux-image-6.1.0-8-amd64", "6.1.8-1")
    with pytest.raises(WrongUsageError, match=r"apt knows no linux-image-6\.12-amd64"):
        debian_package("6.12")
