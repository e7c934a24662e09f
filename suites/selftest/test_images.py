# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache under two runs, an interruption, a full disk; the initramfs read by other tools."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from fixtures.machine.agent_guest import ZYGOTE_MODULES
from fixtures.machine.cache import build_once, cache_dir, digest, require_space, tree_digest
from fixtures.machine.image import Image, guest_image
from fixtures.machine.initramfs import CODE, Archive, guest_code, initramfs
from fixtures.machine.kernel import Kernel
from results.errors import WrongUsageError

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a temporary cache directory instead of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/cache")
    return tmp_path / "cache/scsi-target-faults"


def write(folder: Path) -> None:
    """Write the file that a build would."""
    (folder / "built").write_text("whole")


def names(folder: Path) -> list[str]:
    """Return the names of a folder's files other than locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# --- build_once -----------------------------------------------------------------------------------


def test_what_is_there_is_not_built_again(home: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        write(folder)

    for _ in range(2):
        assert build_once("images", "k", build) == home / "images/k"
    assert len(built) == 1
    assert names(home / "images") == ["k"]
    assert (home / "images/k").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [
    KeyboardInterrupt(), ZeroDivisionError(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_build_leaves_nothing(home: Path, error: BaseException) -> None:
    def fails(folder: Path) -> None:
        write(folder)
        raise error

    with pytest.raises((type(error), WrongUsageError)) as raised:
        build_once("images", "k", fails)
    if isinstance(error, OSError):
        assert isinstance(raised.value, WrongUsageError)
        assert "No space left on device" in str(raised.value)
    assert names(home / "images") == []
    assert (build_once("images", "k", write) / "built").read_text() == "whole"


RUN = """
import pathlib, sys, time
from fixtures.machine.cache import build_once
def build(folder):
    with open(sys.argv[1], "a") as log:
        log.write("built\\n")
    (folder / "built").write_text("half")
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "built").write_text("whole")
print((build_once("images", "k", build) / "built").read_text(), flush=True)
"""


def start(log: Path, seconds: float) -> subprocess.Popen[str]:
    """Start a process whose build takes some seconds."""
    return subprocess.Popen([sys.executable, "-c", RUN, str(log), str(seconds)], cwd=PROJECT,
                            stdout=subprocess.PIPE, text=True)


def test_two_runs_at_once_build_once(tmp_path: Path) -> None:
    runs = [start(tmp_path / "log", 0.3) for _ in range(2)]
    output = [run.communicate(timeout=30)[0].split() for run in runs]
    assert sorted(output) == [["building", "whole"], ["whole"]]
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_killed_build_is_built_anew(home: Path, tmp_path: Path) -> None:
    first = start(tmp_path / "log", 60)
    assert first.stdout is not None
    assert first.stdout.readline() == "building\n"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not (home / "images/k").exists()
    assert (build_once("images", "k", write) / "built").read_text() == "whole"
    assert names(home / "images") == ["k"]


def test_other_builds_are_left_alone(home: Path) -> None:
    (home / "images/.other.build-1").mkdir(parents=True)
    build_once("images", "k", write)
    assert names(home / "images") == [".other.build-1", "k"]


def test_a_cache_that_cannot_be_written(home: Path) -> None:
    home.parent.write_text("in the way")
    with pytest.raises(WrongUsageError, match=r"the cache cannot be written: .*Not a directory"):
        build_once("images", "k", write)


# --- space and digests ----------------------------------------------------------------------------


class Usage(NamedTuple):
    """The return value of shutil.disk_usage(), in bytes."""

    total: int
    used: int
    free: int



def test_no_space_is_one_clear_line_and_nothing_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 1 << 40, 100 << 20))
    with pytest.raises(WrongUsageError) as raised:
        guest_image(lambda words: None)
    words = str(raised.value)
    assert words.startswith("no disk space for the guest image: 3072 MiB are needed under "
                            f"{home}, 100 MiB are free")
    assert "\n" not in words
    assert names(home / "images") == []


def test_space_that_suffices(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[Path] = []

    def usage(path: Path) -> Usage:
        requested.append(path)
        return Usage(0, 0, 100)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    require_space(100, "it")
    assert requested == [home.parent.parent]  # the nearest existing directory


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache/scsi-target-faults"


def test_a_digest_knows_where_its_parts_end() -> None:
    assert digest(["ab", "c"]) != digest(["a", "bc"])
    assert digest(["a", b"b"]) == digest(["a", "b"])
    assert len(digest([])) == 16


def test_a_trees_digest_sees_every_change(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    seen = [tree_digest(tmp_path)]
    (tmp_path / "a/b/c").write_text("1")
    seen.append(tree_digest(tmp_path))
    (tmp_path / "a/b/c").write_text("12")
    seen.append(tree_digest(tmp_path))
    os.utime(tmp_path / "a/b/c", ns=(0, time.time_ns() + 10**9))
    seen.append(tree_digest(tmp_path))
    (tmp_path / "a/b/c").rename(tmp_path / "a/b/d")
    seen.append(tree_digest(tmp_path))
    assert len(set(seen)) == len(seen)
    assert tree_digest(tmp_path) == seen[-1]


# --- the image ------------------------------------------------------------------------------------


def test_no_mmdebstrap(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 1 << 40))
    output: list[str] = []
    with pytest.raises(WrongUsageError, match=r"^mmdebstrap is not installed: apt-get install"):
        guest_image(output.append)
    assert len(output) == 1
    assert names(home / "images") == []


# --- the initramfs --------------------------------------------------------------------------------

CPIO: list[str] | None = next(
    ([found, *words] for name, *words in (["cpio"], ["busybox", "cpio"])
     if (found := shutil.which(name))), None)
"""Command of a program that reads cpio archives, if installed."""


def unpacked(data: bytes, folder: Path) -> Path:
    """Unpack an archive with an independent program."""
    if CPIO is None:
        pytest.skip("neither cpio nor busybox here")
    folder.mkdir()
    subprocess.run([*CPIO, "-i", "-d", "-m"], cwd=folder, input=data, check=True,
                   capture_output=True)
    return folder


def test_an_archive_is_read_by_others(tmp_path: Path) -> None:
    archive = Archive()
    for size in range(6):  # names and contents are padded to 4 bytes
        archive.add(f"/a/{'n' * size}x", b"z" * size, 0o750 if size else 0o644)
    archive.add("/a/b/c", bytes(range(256)))
    top = unpacked(archive.data(), tmp_path / "out")
    found = {str(path.relative_to(top)): path.read_bytes()
             for path in top.rglob("*") if path.is_file()}
    assert found == {**{f"a/{'n' * size}x": b"z" * size for size in range(6)},
                     "a/b/c": bytes(range(256))}
    assert (top / "a/nx").stat().st_mode & 0o777 == 0o750
    assert (top / "a/x").stat().st_mode & 0o777 == 0o644


@pytest.fixture
def guest(tmp_path: Path) -> tuple[Kernel, Image]:
    """Provide a kernel with all modules that a guest's boot needs, and an image's busybox."""
    tree = tmp_path / "modules"
    (tree / "kernel").mkdir(parents=True)
    for name in ("virtio", "virtio_pci", "virtio_console", "ext4", "crc32c_generic",
                 "qemu_fw_cfg"):
        (tree / f"kernel/{name}.ko").write_text(name)
    (tree / "modules.dep").write_text(
        "kernel/virtio_pci.ko: kernel/virtio.ko\nkernel/virtio_console.ko: kernel/virtio.ko\n"
        "kernel/virtio.ko:\nkernel/ext4.ko:\nkernel/crc32c_generic.ko:\nkernel/qemu_fw_cfg.ko:\n")
    (tree / "modules.builtin").write_text("kernel/virtio_blk.ko\n")
    (tmp_path / "busybox").write_text("#!")
    return (Kernel("x", "6.1-x", tmp_path / "bzImage", tree, "here"),
            Image(tmp_path / "root", tmp_path / "busybox"))


def test_what_a_guest_begins_with(guest: tuple[Kernel, Image], tmp_path: Path) -> None:
    data = initramfs(*guest, PROJECT)
    if os.geteuid() != 0:
        pytest.skip("its console can be unpacked by root only")
    top = unpacked(data, tmp_path / "out")
    assert (top / "init").stat().st_mode & 0o111
    assert (top / "bin/busybox").read_text() == "#!"
    assert os.major((top / "dev/console").stat().st_rdev) == 5
    order = (top / "modules/order").read_text().split()
    assert order == ["virtio.ko", "virtio_pci.ko", "virtio_console.ko", "ext4.ko",
                     "crc32c_generic.ko", "qemu_fw_cfg.ko"]
    assert [(top / "modules" / name).read_text() for name in order] == [
        name.removesuffix(".ko") for name in order]
    assert (top / CODE.lstrip("/") / "fixtures/machine/agent_guest.py").read_bytes() \
        == (PROJECT / "fixtures/machine/agent_guest.py").read_bytes()


def test_the_guests_code_needs_nothing_that_the_guest_has_not(tmp_path: Path) -> None:
    for name, content in guest_code(PROJECT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    modules = ", ".join(("fixtures.machine.agent_guest", *ZYGOTE_MODULES))
    done = subprocess.run(  # -S: no packages except Python's own
        [sys.executable, "-S", "-c", f"import {modules}"], cwd=tmp_path, capture_output=True,
        text=True, check=False, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.stderr == ""
    assert done.returncode == 0
