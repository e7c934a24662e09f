# SPDX-License-Identifier: GPL-2.0-or-later
"""Evidence of a stall, without a guest: requests, files kept, and notes on missing evidence."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.evidence.agent_views import collect_agent_views, waiter
from fixtures.evidence.folder import Evidence, as_text
from fixtures.evidence.inside import keep_tables, missing_prerequisites, unpacked
from fixtures.machine.accel import Accelerator
from fixtures.machine.agent_guest import stacks
from fixtures.machine.guest import GuestSpec
from fixtures.machine.hidden_socket import HiddenSocket
from fixtures.machine.image import Image
from fixtures.machine.kernel import Kernel
from results.errors import TargetFailedError
from suites.selftest.fakes import FakeMachine

STUCK_UNLINK = {
    "pid": 121, "comm": "stf:unlink", "state": "D", "wchan": "core_tpg_remove_lun",
    "stack": ["__wait_for_common+0xa1/0x1b0", "core_tpg_remove_lun+0x42/0xe0 [target_core_mod]",
              "configfs_unlink+0x1c/0x50 [configfs]"],
}


class Views:
    """The part of a deployment that evidence uses."""

    kernel_threads = ("iscsi_trx",)

    def __init__(self, views: Mapping[str, str | Sequence[str]] | Exception) -> None:
        self._views = views

    def views(self) -> Mapping[str, str | Sequence[str]]:
        """Return the test's views, or raise its exception."""
        if isinstance(self._views, Exception):
            raise self._views
        return self._views


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    """Provide an empty evidence folder."""
    found = Evidence.of(tmp_path)
    found.path.mkdir()
    return found


def spec(tmp_path: Path, name: str = "6.1") -> GuestSpec:
    """Return a guest whose kernel has no symbols."""
    modules = tmp_path / "kernel/lib/modules/6.1.0-fake"
    modules.mkdir(parents=True)
    kernel = Kernel(name, "6.1.0-fake", tmp_path / "bzImage", modules, "test")
    return GuestSpec(kernel, Image(tmp_path / "root", tmp_path / "busybox"),
                     Accelerator("tcg", "test"))


def collected(fake: FakeMachine, deployment: Any, evidence: Evidence) -> bool:
    """Collect the agent's views from a fake machine."""
    fake.verbs["stacks"] = lambda comms: [{**STUCK_UNLINK, "cpu": 0.5}]
    fake.verbs.setdefault(
        "slurp", lambda patterns: {pattern: "1\n" for pattern in patterns if "*" not in pattern})
    return collect_agent_views(fake, deployment, evidence)


def test_agent_that_answers(tmp_path: Path, evidence: Evidence) -> None:
    views = {"target-ring": "cmd_head: 64\n", "target-device": ["/sys/target/commands"]}
    with FakeMachine(tmp_path / "console") as fake:
        assert collected(fake, Views(views), evidence)
    assert not evidence.missing
    assert (evidence.path / "target-ring.txt").read_text() == "cmd_head: 64\n"
    assert (evidence.path / "target-device.txt").read_text() == "/sys/target/commands: 1\n"
    assert "/proc/slabinfo: 1" in (evidence.path / "memory.txt").read_text()
    waiters = json.loads((evidence.path / "waiters.json").read_text())
    assert [(each["task"], each["waits_in"]) for each in waiters] == [
        ("stf:unlink", "core_tpg_remove_lun")]
    keys = [args["text"] for verb, args in fake.requested
            if verb == "write" and args["path"] == "/proc/sysrq-trigger"]
    assert keys == ["w", "t"]


def test_views_that_fail_cost_nothing_else(tmp_path: Path, evidence: Evidence) -> None:
    with FakeMachine(tmp_path / "console") as fake:
        assert collected(fake, Views(TargetFailedError("sick")), evidence)
    assert evidence.missing == ["views: TargetFailedError: sick"]
    assert (evidence.path / "tasks.json").exists()


def test_file_that_blocks_costs_only_itself(tmp_path: Path, evidence: Evidence) -> None:
    def slurp(patterns: Sequence[str]) -> dict[str, str]:
        if "/blocked" in patterns:
            raise OSError(4, "never")
        return {"/sys/fine": "1"}

    with FakeMachine(tmp_path / "console") as fake:
        fake.verbs["slurp"] = slurp
        assert collected(fake, Views({"stuck": ["/blocked"], "fine": ["/x"]}), evidence)
    assert [each.split(":")[0] for each in evidence.missing] == ["stuck"]
    assert (evidence.path / "fine.txt").exists()


def test_agent_that_is_silent(tmp_path: Path, evidence: Evidence) -> None:
    with FakeMachine(tmp_path / "console") as fake:
        fake.fall_silent()
        assert not collected(fake, None, evidence)
    assert [each.split(":")[0] for each in evidence.missing] == ["agent"]
    assert not list(evidence.path.iterdir())


def test_account_is_read_back(evidence: Evidence) -> None:
    assert evidence.attempt("a", lambda: 3) == 3
    evidence.lacks("symbols", "none", "python -m x")
    evidence.json("stuck.json", [{"kind": "se_cmd", "tag": 7}])
    evidence.close()
    again = Evidence.of(evidence.path.parent)
    assert again.missing == ["symbols: none; get it with: python -m x"]
    assert again.stuck == [{"kind": "se_cmd", "tag": 7}]
    assert again.files == ["evidence/evidence.json", "evidence/stuck.json"]
    assert "a" in again.seconds


def test_folder_without_evidence(tmp_path: Path) -> None:
    assert not Evidence.of(tmp_path).stuck
    assert not Evidence.of(tmp_path).files


def test_files_as_text() -> None:
    assert as_text({"/a": "1\n", "/b": "1\n2\n"}) == "/a: 1\n/b:\n1\n2\n"


def test_waiter_is_named_below_the_machinery() -> None:
    assert waiter(STUCK_UNLINK)["modules"] == ["configfs", "target_core_mod"]
    assert waiter(STUCK_UNLINK)["waits_in"] == "core_tpg_remove_lun"
    assert waiter({**STUCK_UNLINK, "stack": []})["waits_in"] == "core_tpg_remove_lun"


def test_what_is_missing_is_named_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    missing = dict(missing_prerequisites(spec(tmp_path)))
    assert missing == {
        "drgn is not installed": f"{sys.executable} -m pip install drgn",
        "no debug symbols of kernel 6.1.0-fake": "stf symbols 6.1",
    }


def test_own_kernel_without_vmlinux(tmp_path: Path) -> None:
    missing = missing_prerequisites(spec(tmp_path, "/my/kernel"))
    how = [how for what, how in missing if "symbols" in what]
    assert how == ["put the vmlinux of the build, with CONFIG_DEBUG_INFO=y, into /my/kernel"]


def test_tables_are_kept(evidence: Evidence) -> None:
    lines = [
        {"table": "waiters", "rows": [{"task": "iscsi_np", "pid": 1}]},
        {"table": "se_cmd", "rows": [{"kind": "se_cmd", "tag": 28}]},
        {"table": "tcmu", "rows": [{"kind": "tcmu", "cmd_head": 64}]},
        {"table": "scst_user", "error": "LookupError: no such type"},
    ]
    output = b"\n".join(json.dumps(line).encode() for line in lines) + b'\n{"table": "x", "ro'
    keep_tables(output, evidence)
    assert evidence.stuck == [{"kind": "se_cmd", "tag": 28}]
    assert json.loads((evidence.path / "rings.json").read_text())[0]["cmd_head"] == 64
    assert evidence.missing == ["table scst_user: LookupError: no such type"]


def test_compressed_modules_are_unpacked(tmp_path: Path) -> None:
    plain = tmp_path / "a.ko"
    plain.write_bytes(b"elf")
    packed = tmp_path / "b.ko.gz"
    packed.write_bytes(gzip.compress(b"ELF"))
    place = tmp_path / "place"
    place.mkdir()
    assert list(unpacked([plain, packed], place)) == [plain, place / "b.ko"]
    assert (place / "b.ko").read_bytes() == b"ELF"


def test_stacks_of_this_host() -> None:
    comm = Path("/proc/self/comm").read_text().strip()
    assert os.getpid() in [task["pid"] for task in stacks((comm,))]
    assert all(task["state"] == "D" for task in stacks(()))


def test_hidden_socket_leaves_no_name() -> None:
    hidden = HiddenSocket()
    try:
        name = hidden.listener.getsockname()
        assert not Path(name).exists()
        assert not Path(name).parent.exists()
        with hidden.connect() as line:
            peer, _ = hidden.listener.accept()
            with peer:
                line.sendall(b"x")
                assert peer.recv(1) == b"x"
    finally:
        hidden.close()
    with pytest.raises(OSError), socket.socket(socket.AF_UNIX) as line:
        line.connect(name)


REGISTERS = """
CPU#0
RAX=00000000000008fd RBX=0000000000000086 RCX=0000000000000000 RDX=00000000000008fb
R8 =ffffffffffc2faea R9 =000000003156d36c R10=ffffffff82a060c0 R11=0000000000037b4a
RIP=ffffffff81075b8f RFL=00000092 [--S-A--] CPL=0 II=0 A20=1 SMM=0 HLT=0
CPU#1
RIP=ffffffff81000000 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
"""


def test_registers_of_every_cpu() -> None:
    tasks = pytest.importorskip("fixtures.evidence.tasks", reason="drgn is not installed")
    cpus = tasks.registers_of(REGISTERS)
    assert list(cpus) == [0, 1]
    assert cpus[0]["R8"] == 0xffffffffffc2faea
    assert cpus[0]["RAX"] == 0x8fd
    assert [each["RIP"] for each in cpus.values()] == [0xffffffff81075b8f, 0xffffffff81000000]
    assert cpus[1]["RFL"] == 0x246
    assert set(tasks.PT_REGS.values()) >= set(cpus[0])
    assert tasks.registers_of("") == {}


@pytest.mark.parametrize(("changes", "idle"), [
    ({}, True), ({"closing": True}, False), ({"queued": True}, False), ({"cmd": "0xff"}, False),
    ({"sent_to_user": 1}, False),
])
def test_cached_buffers_of_an_open_device_are_not_stuck(
    changes: Mapping[str, Any], idle: bool
) -> None:
    stuck_scst = pytest.importorskip("fixtures.evidence.stuck_scst", reason="drgn is not installed")
    cached = {"cmd": None, "closing": False, "queued": False, "sent_to_user": 0}
    assert stuck_scst.idle({**cached, **changes}) is idle
