# SPDX-License-Identifier: GPL-2.0-or-later
"""The identity of a target on a machine: its kernel, modules and programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from results.identity import identity, parts_of
from targets.identity import (
    KERNEL,
    SCRIPT,
    backend_parts,
    build_id,
    kernel_parts,
    needed,
    parts_in,
)

NOTE = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"

PROC_MODULES = """tcm_loop 36864 0 - Live 0x0
iscsi_target_mod 413696 1 - Live 0x0
target_core_mod 413696 3 iscsi_target_mod,tcm_loop, Live 0x0
scsi_mod 286720 3 tcm_loop,target_core_mod,sd_mod, Live 0x0
sd_mod 65536 0 - Live 0x0
"""


def printed(loop: int = 1) -> str:
    """Return what SCRIPT prints in a guest, with a build id of tcm_loop.ko."""
    notes = {"sd_mod": 9, "target_core_mod": 2, "tcm_loop": loop}
    lines = "\n".join((NOTE + bytes([number]) * 20).hex(" ") for number in notes.values())
    kernel = (NOTE + bytes(20) + b"\x04\0\0\0").hex(" ")
    files = "\n".join(f"{name}/notes/.note.gnu.build-id" for name in notes)
    return "--\n".join([
        "Linux version 6.1.0\n", PROC_MODULES, "tcm_loop/srcversion:FEED\n", f"{files}\n",
        f" {lines}\n", f" {kernel}\n", "0123456789abcdef0123  /usr/sbin/tgtd\n"])


def test_modules_programs_and_kernel_have_an_identity() -> None:
    assert parts_in(printed(), ["tcm_loop", "not_loaded"], "1.0.85") == {
        KERNEL: {"build_id": "00" * 20, "version": "Linux version 6.1.0"},
        "scsi_mod.ko": {"build_id": ""},
        "target_core_mod.ko": {"build_id": "02" * 20},
        "tcm_loop.ko": {"build_id": "01" * 20, "srcversion": "FEED"},
        "tgtd": {"sha256": "0123456789abcdef", "version": "1.0.85"}}


def test_another_build_of_one_module_is_another_target() -> None:
    one, same, other = ({f"6.1/{name}": part for name, part in parts_in(
        printed(loop), ["tcm_loop"], "").items()} for loop in (1, 1, 3))
    releases = ["6.1", "6.12"]
    assert identity(one, "6.1", releases) == identity(same, "6.1", releases)
    assert identity(one, "6.1", releases) != identity(other, "6.1", releases)
    assert identity(one, "6.12", releases) is None


def test_a_module_that_the_target_does_not_need_is_no_part_of_it() -> None:
    assert needed(PROC_MODULES.splitlines(), ["iscsi_target_mod"]) == [
        "iscsi_target_mod", "scsi_mod", "target_core_mod"]


def test_an_incomplete_output_has_no_parts() -> None:
    assert parts_in("sh: od: not found\n", ["tcm_loop"], "") == {}


def test_the_script_reads_this_machine() -> None:
    """The same commands on the host: its modules' build ids are those in sysfs."""
    modules = Path("/proc/modules")
    if not Path("/sys/kernel/notes").exists() or not modules.exists() or not modules.read_text():
        pytest.skip("this host's kernel shows no notes or has no modules")
    done = subprocess.run(["sh", "-c", SCRIPT, "sh", "/bin/sh"], capture_output=True, text=True,
                          check=False)
    listing = [line.split()[0] for line in modules.read_text().splitlines()]
    found = parts_in(done.stdout, listing, "")
    assert found[KERNEL]["build_id"] == build_id(Path("/sys/kernel/notes").read_bytes())
    for name in listing:
        note = Path(f"/sys/module/{name}/notes/.note.gnu.build-id")
        assert found[f"{name}.ko"]["build_id"] == (
            build_id(note.read_bytes()) if note.exists() else "")


def test_kernel_file_and_configuration(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz-6.1"
    image.write_bytes(b"kernel")
    assert set(kernel_parts("6.1", image)) == {"6.1/vmlinuz-6.1"}
    (tmp_path / "config-6.1").write_text("CONFIG_X=y")
    before = kernel_parts("6.1", image)
    (tmp_path / "config-6.1").write_text("CONFIG_X=m")
    after = kernel_parts("6.1", image)
    assert [name for name in before if before[name] != after[name]] == ["6.1/config-6.1"]


def test_own_backends_are_a_part() -> None:
    (part,) = backend_parts().values()
    assert len(part["sha256"]) == 16


def test_an_installed_file_replaces_the_loaded_module() -> None:
    parts = parts_of({"parts": {"6.1/iscsi_scst.ko": {"build_id": "1"}, "6.1/vmlinux": {}},
                      "target": {"parts": {"6.1/iscsi-scst.ko": {"build_id": "1"}}}})
    assert set(parts) == {"6.1/iscsi-scst.ko", "6.1/vmlinux"}
