# SPDX-License-Identifier: GPL-2.0-or-later
"""An SCST prefix: missing parts are named in one line; the modules' information is read."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
from pathlib import Path

import pytest

from results.errors import WrongUsageError
from targets.scst.prefix import DAEMON, MODULES, Prefix, read_module

RELEASE = "6.1.0-1-test"
BETWEEN = "4.0.0" + "a" * 40 + "c" * 40
HANDSHAKE = "4.0.0" + "b" * 40 + "c" * 40

MODINFO = {
    "scst": ["version=4.0.0", "git_commit=0123456789ab", "depends=crc-t10dif,dlm,scsi_mod"],
    "scst_user": ["version=4.0.0", "srcversion=FEED", "depends=scst"],
    "scst_local": ["depends=scst,scsi_mod"],
    "iscsi-scst": ["depends=scst,libcrc32c"],
}


def image(name: str) -> bytes:
    """Return a stand-in for a module: its strings, as in an ELF image."""
    strings = [BETWEEN, *([HANDSHAKE] if name == "scst_user" else []), *MODINFO[name]]
    return b"\x7fELF\0" + b"\0".join(text.encode() for text in strings) + b"\0"


def module(prefix: Path, name: str) -> Path:
    folder = "dev_handlers/" if name == "scst_user" else ""
    return prefix / f"lib/modules/{RELEASE}/extra/{folder}{name}.ko"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    prefix = tmp_path / "prefix"
    for name in MODULES:
        file = module(prefix, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image(name))
    (prefix / DAEMON).parent.mkdir(parents=True)
    (prefix / DAEMON).touch()
    return prefix


def test_complete_tree(tree: Path) -> None:
    prefix = Prefix(tree)
    prefix.check(RELEASE)
    assert prefix.releases() == [RELEASE]
    assert prefix.version_string(RELEASE) == HANDSHAKE
    assert prefix.dependencies(RELEASE) == ["crc_t10dif", "dlm", "libcrc32c", "scsi_mod"]
    described = dict(prefix.describe())
    parts = described.pop("parts")
    assert described == {
        "prefix": str(tree), "releases": [RELEASE], "version": "4.0.0",
        "commit": "0123456789ab", "srcversion": "FEED"}
    assert set(parts) == {*(f"{RELEASE}/{name}.ko" for name in MODULES), "iscsi-scstd"}
    assert parts[f"{RELEASE}/scst_user.ko"]["srcversion"] == "FEED"


def test_every_module_has_an_identity_of_its_own(tree: Path) -> None:
    """A defective scst.ko beside a healthy scst_user.ko is another target."""
    before = Prefix(tree).parts()
    note = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0" + bytes(range(20))
    file = module(tree, "scst")
    file.write_bytes(file.read_bytes() + note)
    after = Prefix(tree).parts()
    assert {name for name in before if before[name] != after[name]} == {f"{RELEASE}/scst.ko"}
    assert after[f"{RELEASE}/scst.ko"]["build_id"] == bytes(range(20)).hex()
    assert before[f"{RELEASE}/scst.ko"]["build_id"] == ""


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(WrongUsageError, match="no such directory"):
        Prefix(tmp_path / "nowhere")


def test_no_installation(tmp_path: Path) -> None:
    with pytest.raises(WrongUsageError, match=r"not an SCST installation: no lib/modules"):
        Prefix(tmp_path)


def test_no_daemon(tree: Path) -> None:
    (tree / DAEMON).unlink()
    with pytest.raises(WrongUsageError, match=f"no {DAEMON}"):
        Prefix(tree)


def test_other_release(tree: Path) -> None:
    with pytest.raises(WrongUsageError, match=rf"kernel 6\.12, only for {RELEASE}"):
        Prefix(tree).check("6.12")


@pytest.mark.parametrize("name", [name for name in MODULES if name != "scst"])
def test_missing_module(tree: Path, name: str) -> None:
    module(tree, name).unlink()
    with pytest.raises(WrongUsageError, match=f"no {name}.ko for kernel {RELEASE}"):
        Prefix(tree).check(RELEASE)


def test_releases_differ(tree: Path) -> None:
    other = tree / "lib/modules/6.12/extra"
    other.mkdir(parents=True)
    shutil.copy(module(tree, "scst"), other)
    prefix = Prefix(tree)
    assert prefix.releases() == [RELEASE, "6.12"]
    with pytest.raises(WrongUsageError, match=r"no scst_user\.ko, scst_local\.ko, iscsi-scst"):
        prefix.check("6.12")


@pytest.mark.parametrize(("suffix", "compress"), [
    (".xz", lzma.compress), (".gz", gzip.compress)])
def test_compressed_modules(tree: Path, suffix: str, compress: object) -> None:
    assert callable(compress)
    for name in MODULES:
        file = module(tree, name)
        file.with_name(file.name + suffix).write_bytes(compress(file.read_bytes()))
        file.unlink()
    prefix = Prefix(tree)
    prefix.check(RELEASE)
    assert prefix.version_string(RELEASE) == HANDSHAKE


@pytest.mark.parametrize("name", ["x.ko.xz", "x.ko.gz", "x.ko.zst", "x.ko.odd"])
def test_unreadable_module(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no such thing")
    with pytest.raises(WrongUsageError, match=name):
        read_module(tmp_path / name)


def test_no_version_string(tree: Path) -> None:
    module(tree, "scst_user").write_bytes(image("scst"))
    with pytest.raises(WrongUsageError, match="0 strings could be the version string"):
        Prefix(tree).version_string(RELEASE)


@pytest.mark.skipif("SCST_PREFIX" not in os.environ, reason="SCST_PREFIX is not set")
def test_real_prefix() -> None:
    prefix = Prefix(os.environ["SCST_PREFIX"])
    header = (prefix.path / "usr/local/include/scst/scst_itf_ver.h").read_text()
    sums = dict(line.split()[1:] for line in header.splitlines() if line.startswith("#define"))
    version = prefix.version()["version"]
    for release in prefix.releases():
        prefix.check(release)
        assert prefix.version_string(release) == (
            f"{version}{sums['DEV_USER_INTF_VER']}{sums['SCST_CONST_INTF_VER']}".replace('"', ""))
