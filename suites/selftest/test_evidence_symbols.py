# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetching symbols, on a package built here; and the constants used to read the tables."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.machine import symbols
from fixtures.machine.kernel import Kernel
from fixtures.machine.symbols import extract, missing_from, symbols_in, symbols_of
from fixtures.stf.main import run
from results.errors import MachineLostError, WrongUsageError

RELEASE = "6.1.0-56-amd64"
DEBUG = f"usr/lib/debug/lib/modules/{RELEASE}/kernel/drivers"
TARGETS = [f"{DEBUG}/target/{name}.ko" for name in
           ("target_core_mod", "target_core_user", "iscsi/iscsi_target_mod", "loopback/tcm_loop")]
OTHERS = [f"{DEBUG}/scsi/scsi_mod.ko", f"{DEBUG}/gpu/drm/amdgpu.ko", f"{DEBUG}/scsi/qla2xxx.ko"]
VMLINUX = f"usr/lib/debug/boot/vmlinux-{RELEASE}"


def package(tmp_path: Path, files: list[str]) -> Path:
    """Return a Debian package with these files."""
    tree = tmp_path / "tree"
    for name in files:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: linux-image-fake-dbg\nVersion: 1\nArchitecture: amd64\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: fake\n")
    archive = tmp_path / "fake.deb"
    subprocess.run(["dpkg-deb", "--build", "-Znone", "--root-owner-group", tree, archive],
                   check=True, capture_output=True)
    return archive


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide an empty cache and fake apt records of one package."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(symbols, "debian_package", lambda series: ("linux-image-6.1.0-56", "1-1"))
    monkeypatch.setattr(symbols, "apt_show",
                        lambda name: [{"Package": name, "Version": "1-1", "Size": "1000"}])
    return tmp_path / "cache/scsi-target-faults/symbols"


def test_only_what_is_needed_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    extract(package(tmp_path, [VMLINUX, *TARGETS, *OTHERS]), folder)
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == sorted([VMLINUX, *TARGETS, OTHERS[0]])
    symbols_there = symbols_in(folder)
    assert symbols_there is not None
    assert symbols_there.vmlinux == folder / VMLINUX
    assert len(symbols_there.modules) == 5
    assert not missing_from(folder)


def test_package_without_a_target_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(MachineLostError, match=r"has no vmlinux, target_core_user\.ko"):
        extract(package(tmp_path, [TARGETS[0], *TARGETS[2:]]), folder)


def test_broken_package(tmp_path: Path) -> None:
    archive = tmp_path / "broken.deb"
    archive.write_bytes(b"not a package")
    with pytest.raises(MachineLostError, match=r"broken\.deb cannot be unpacked"):
        extract(archive, tmp_path)


def test_fetched_once_and_removed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = package(tmp_path, [VMLINUX, *TARGETS])
    fetches = []

    def download(argv: list[str], cwd: Path) -> str:
        fetches.append(argv)
        (cwd / "fake.deb").write_bytes(archive.read_bytes())
        return ""

    monkeypatch.setattr(symbols, "run_tool", download)
    assert run(["symbols", "6.1"]) == 0
    assert run(["symbols", "6.1"]) == 0
    assert fetches == [["apt-get", "download", "linux-image-6.1.0-56-dbg=1-1"]]
    (folder,) = [path for path in cache.iterdir() if path.is_dir()]
    assert not list(folder.glob("*.deb"))
    assert run(["symbols", "6.1", "--remove"]) == 0
    assert not folder.exists()
    assert "MiB removed" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["5.10"], ["5.10", "--remove"]])
def test_unknown_kernel(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["symbols", *argv]) == 4
    assert "5.10" in capsys.readouterr().err


def test_version_that_the_mirror_has_dropped(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(symbols, "apt_show", lambda name: [])
    assert run(["symbols", "6.1"]) == 4
    assert "apt-get update" in capsys.readouterr().err
    assert not list(cache.glob("linux*"))


def test_no_space(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols, "UNPACKED", 1 << 60)
    with pytest.raises(WrongUsageError, match="no disk space for the symbols"):
        symbols.fetch("6.1", print)


def test_symbols_of_an_own_kernel(tmp_path: Path) -> None:
    modules = tmp_path / "lib/modules/6.19.0"
    (modules / "kernel/drivers/target").mkdir(parents=True)
    (modules / "kernel/drivers/target/target_core_mod.ko").touch()
    kernel = Kernel(str(tmp_path), "6.19.0", tmp_path / "bzImage", modules, "own")
    assert symbols_of(kernel) is None
    (tmp_path / "vmlinux").touch()
    found = symbols_of(kernel)
    assert found is not None
    assert found.vmlinux == tmp_path / "vmlinux"
    assert [path.name for path in found.modules] == ["target_core_mod.ko"]


def headers() -> list[Path]:
    """Return the copies of target_core_base.h on this host."""
    return sorted(Path("/usr/src").glob("linux-headers-*/include/target/target_core_base.h"))


@pytest.mark.skipif(not headers(), reason="no kernel headers in /usr/src")
def test_transport_states_are_the_kernels() -> None:
    stuck_lio = pytest.importorskip("fixtures.evidence.stuck_lio", reason="drgn is not installed")
    for header in headers():
        bits = {name: 1 << int(bit) for name, bit in re.findall(
            r"#define (CMD_T_\w+)\s+\(1 << (\d+)\)", header.read_text())}
        assert bits == stuck_lio.TRANSPORT_STATE


SCST_HEADERS = sorted(Path("/opt").glob("scst-*/usr/local/include/scst/scst_user.h"))


@pytest.mark.skipif(not SCST_HEADERS, reason="no SCST installation in /opt")
def test_ucmd_states_are_scsts() -> None:
    stuck_scst = pytest.importorskip("fixtures.evidence.stuck_scst", reason="drgn is not installed")
    for header in SCST_HEADERS:
        states = {int(value, 0): name for name, value in re.findall(
            r"#define UCMD_STATE_(\w+)\s+(\w+)", header.read_text())}
        assert states == stuck_scst.STATES


def test_look_says_what_it_cannot_do() -> None:
    pytest.importorskip("drgn", reason="drgn is not installed")
    done = subprocess.run([sys.executable, "-m", "fixtures.evidence.guest_memory", "99",
                           "/nowhere"],
                          capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[2])
    assert done.returncode != 0
    assert done.stderr
