# SPDX-License-Identifier: GPL-2.0-or-later
"""Deployment of SCST on a fake machine: order, options, undo, and the errors of failures."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from results.errors import TargetFailedError, WrongUsageError
from results.history import Recorder
from results.ladder import Ladder
from targets.machine import Completed
from targets.scst import sysfs
from targets.scst.sysfs import DEVICES, HANDLERS, LAST_RESULT, TARGETS
from targets.scst.target import REFERENCES, KernelDevice, Scst, backend_argv, backend_options
from targets.target import Device, Transport

RELEASE = "6.1"
LADDER = Ladder(teardown=0.1, step=0.2)
IQN = f"{TARGETS}/iscsi/iqn.2026-01.org.scsi-target-faults:scst.stf0"
LOCAL = f"{TARGETS}/scst_local/scst_local_stf0"


class Pending:
    """A write that has ended, with or without an error, or one that never ends."""

    def __init__(self, error: OSError | None = None, done: bool = True) -> None:
        self._error = error
        self.done = done
        self.seconds = 0.0

    def result(self, deadline: float) -> None:
        if not self.done:
            raise TimeoutError(f"not ended in {deadline} s")
        if self._error is not None:
            raise self._error


class Backend:
    """A backend's process: emits "ready" and answers every request."""

    pid = 7

    def __init__(self, machine: StagedMachine, emit: Callable[[Mapping[str, Any]], None]) -> None:
        self.status: int | None = None
        self._machine = machine
        self._emit = emit
        emit({"t": 0, "kind": "ready"} if machine.backend_comes_up else
             {"t": 0, "kind": "text", "text": "SCST refuses the version string"})
        if not machine.backend_comes_up:
            self.status = 1

    def send(self, message: Mapping[str, Any]) -> None:
        self._machine.log.append(f"backend {message['do']}")
        self._emit({"t": 0, "kind": "reply", "id": message["id"], "ok": True, "result": True})

    def signal(self, number: int) -> None:
        self._machine.log.append(f"backend signal {number}")
        self.status = -number
        self._machine.release_device()

    def wait(self, _: float) -> int:
        assert self.status is not None
        return self.status


class StagedMachine:
    """The part of SCST's sysfs that a deployment uses; every change is logged."""

    lost: str | None = None

    release = RELEASE
    address, interface = "127.0.0.1", "lo"

    def __init__(self) -> None:
        self.log: list[str] = []
        self.paths = {"/sys/module/scst_user"}
        self.files = {REFERENCES: "0", "/run/iscsi-scstd.pid": "55\n"}
        self.errors: dict[str, list[OSError]] = {}
        self.blocks: set[str] = set()
        self.backend_comes_up = True
        self.keeps_device = False
        self.pending: Pending | None = None

    def release_device(self) -> None:
        if not self.keeps_device:
            self.paths.discard(f"{DEVICES}/stf0")
            self.files[REFERENCES] = "0"

    def now(self) -> float:
        return 0.0

    def read(self, path: str, *, deadline: float | None = None) -> str:
        if self.errors.get(path):
            raise self.errors[path].pop(0)
        if path.endswith("host_no"):
            return "3\n"
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "not there", path) from None

    def write(self, path: str, text: str, *, deadline: float | None = None) -> None:
        self.begin("write", path, text).result(1)

    def begin(self, verb: str, *args: Any) -> Pending:
        path, text = args
        self.log.append(f"{verb} '{text}' {path.removeprefix(TARGETS)}")
        if text in self.blocks:
            self.pending = Pending(done=False)
            return self.pending
        errors = self.errors.get(text)
        if errors:
            return Pending(errors.pop(0))
        match text.split():
            case ["add_target", name]:
                self.paths.add(f"{path.removesuffix('/mgmt')}/{name}")
            case ["del_target", name]:
                self.paths.discard(f"{path.removesuffix('/mgmt')}/{name}")
        return Pending()

    def waiting(self) -> list[str]:
        return []

    def exists(self, path: str) -> bool:
        return path in self.paths or path in self.files

    def listdir(self, path: str) -> list[str]:
        return ["iqn.initiator"] if path.endswith("/sessions") else []

    def mkdir(self, path: str) -> None:
        self.log.append(f"mkdir {path}")

    def rmdir(self, path: str) -> None:
        self.log.append(f"rmdir {path}")

    def symlink(self, source: str, path: str) -> None:
        self.log.append(f"symlink {source} {path}")

    def unlink(self, path: str) -> None:
        self.log.append(f"unlink {path}")

    def modprobe(self, *modules: str) -> None:
        self.log.append(f"modprobe {' '.join(modules)}")

    def rmmod(self, *modules: str, deadline: float | None = None) -> None:
        self.log.append(f"rmmod {' '.join(modules)}")

    def run(
        self, argv: Sequence[str], *, deadline: float | None = None, check: bool = True,
        stdin: str = "",
    ) -> Completed:
        self.log.append(" ".join(argv))
        return Completed(tuple(argv), 0, "D scst_usr_releas wait_for_completion\n", "")

    def spawn(
        self, name: str, *, module: str | None = None, argv: Sequence[str] = (),
        on_message: Callable[[Mapping[str, Any]], None] | None = None,
        on_exit: Callable[[int], None] | None = None,
    ) -> Backend:
        assert on_message is not None
        self.log.append(f"spawn {module}")
        if self.backend_comes_up:
            self.paths.add(f"{DEVICES}/stf0")
            self.files[REFERENCES] = "1"
        return Backend(self, on_message)


class StagedPrefix:
    """A complete installation."""

    path = Path("/prefix")

    def check(self, release: str) -> None:
        assert release == RELEASE

    def version_string(self, _: str) -> str:
        return "4.0.0"

    def dependencies(self, _: str) -> list[str]:
        return ["dlm", "scsi_mod"]

    def modules(self, release: str) -> list[str]:
        return ["scst", "scst_vdisk", "scst_user", "scst_local", "iscsi-scst"]

    def module(self, release: str, name: str) -> Path:
        return self.path / f"lib/modules/{release}/extra/{name}.ko"

    def describe(self) -> Mapping[str, Any]:
        return {"version": "4.0.0"}


@pytest.fixture
def machine() -> StagedMachine:
    return StagedMachine()


@pytest.fixture
def scst() -> Scst:
    return Scst(StagedPrefix())  # type: ignore[arg-type]


def deploy(
    scst: Scst, machine: StagedMachine, folder: Path, transport: Transport = Transport.ISCSI,
    device: Device | None = None,
) -> Any:
    recorder = Recorder(folder / "history.jsonl")
    return scst.deploy(machine, device or Device(), transport, LADDER, recorder)


def test_load(scst: Scst, machine: StagedMachine) -> None:
    machine.paths.clear()
    scst.load(machine)
    modules = "/scst/lib/modules/6.1/extra"
    assert machine.log == [
        "mkdir /var/lib/scst/pr", "mkdir /var/lib/scst/vdev_mode_pages",
        "modprobe dlm scsi_mod sd_mod",
        f"insmod {modules}/scst.ko", f"insmod {modules}/scst_vdisk.ko",
        f"insmod {modules}/scst_user.ko",
        f"insmod {modules}/scst_local.ko add_default_tgt=0", f"insmod {modules}/iscsi-scst.ko",
        "/scst/usr/local/sbin/iscsi-scstd -a 127.0.0.1", "write '1' /iscsi/enabled"]


def test_load_with_parameters(machine: StagedMachine) -> None:
    machine.paths.clear()
    limited: Any = Scst(StagedPrefix(), {  # type: ignore[arg-type]
        "scst": ["scst_max_cmd_mem=8"], "scst_local": ["trace_flag=0"]})
    limited.load(machine)
    assert "insmod /scst/lib/modules/6.1/extra/scst.ko scst_max_cmd_mem=8" in machine.log
    assert ("insmod /scst/lib/modules/6.1/extra/scst_local.ko add_default_tgt=0 trace_flag=0"
            in machine.log)


def test_unload_what_is_loaded(scst: Scst, machine: StagedMachine) -> None:
    scst.unload(machine, LADDER)
    assert machine.log == ["kill -CONT 55", "kill -TERM 55", "unlink /run/iscsi-scstd.pid",
                           "rmmod scst_user"]


def test_deploy_over_iscsi_and_remove(
    scst: Scst, machine: StagedMachine, tmp_path: Path
) -> None:
    deployment = deploy(scst, machine, tmp_path)
    name = Path(IQN).name
    assert machine.log == [
        "spawn targets.scst.user_guest.backend", f"write 'add_target {name}' /iscsi/mgmt",
        f"write 'add stf0 0' /iscsi/{name}/luns/mgmt", f"write '1' /iscsi/{name}/enabled"]
    assert (deployment.address.iqn, deployment.address.portal) == (name, "127.0.0.1:3260")
    machine.log.clear()
    deployment.remove()
    assert machine.log == [
        "backend serving", "backend release", f"write '0' /iscsi/{name}/enabled",
        f"write 'del_target {name}' /iscsi/mgmt", "backend signal 9"]


def test_what_is_set_of_a_session(scst: Scst, machine: StagedMachine, tmp_path: Path) -> None:
    device = Device(session={"RspTimeout": 4, "HeaderDigest": "CRC32C,None"})
    deploy(scst, machine, tmp_path, device=device)
    name = Path(IQN).name
    assert machine.log[-3:] == [
        f"write '4' /iscsi/{name}/RspTimeout", f"write 'CRC32C,None' /iscsi/{name}/HeaderDigest",
        f"write '1' /iscsi/{name}/enabled"]


def test_deploy_by_loopback(scst: Scst, machine: StagedMachine, tmp_path: Path) -> None:
    deployment = deploy(scst, machine, tmp_path, Transport.LOOPBACK)
    assert deployment.address.scsi_host == 3
    assert machine.log[1:] == [
        "write 'add_target scst_local_stf0' /scst_local/mgmt",
        "write 'add stf0 0' /scst_local/scst_local_stf0/luns/mgmt",
        "write 'add_session scst_local_stf0 stf_stf0' /scst_local/mgmt"]


def test_a_partial_deployment_is_undone(
    scst: Scst, machine: StagedMachine, tmp_path: Path
) -> None:
    machine.errors["add stf0 0"] = [OSError(errno.EINVAL, "no")]
    with pytest.raises(TargetFailedError, match=r"'add stf0 0' to .*: Invalid argument"):
        deploy(scst, machine, tmp_path)
    assert IQN not in machine.paths
    assert machine.log[-1] == "backend signal 9"


def test_a_backend_that_does_not_come_up(
    scst: Scst, machine: StagedMachine, tmp_path: Path
) -> None:
    machine.backend_comes_up = False
    with pytest.raises(TargetFailedError, match="SCST refuses the version string"):
        deploy(scst, machine, tmp_path)
    assert machine.log == ["spawn targets.scst.user_guest.backend"]


def test_siblings_and_further_luns_and_targets(
    scst: Scst, machine: StagedMachine, tmp_path: Path
) -> None:
    device = Device(siblings=(Device("stf1"),), luns=(5,), targets=2, group="lab")
    recorder = Recorder(tmp_path / "history.jsonl")
    deployment = scst.deploy(machine, device, Transport.ISCSI, LADDER, recorder)
    name = Path(IQN).name
    group = f"{name}/ini_groups"
    assert machine.log[1:8] == [
        f"write 'add_target {name}' /iscsi/mgmt",
        f"write 'create lab' /iscsi/{group}/mgmt",
        f"write 'add *' /iscsi/{group}/lab/initiators/mgmt",
        f"write 'add stf0 0' /iscsi/{group}/lab/luns/mgmt",
        f"write 'add stf1 1' /iscsi/{group}/lab/luns/mgmt",
        f"write 'add stf0 5' /iscsi/{group}/lab/luns/mgmt",
        f"write '1' /iscsi/{name}/enabled"]
    assert [(each.iqn, each.lun, each.serial) for each in deployment.addresses] == [
        (f"{name}{suffix}", lun, serial) for suffix in ("", "-2")
        for lun, serial in ((0, "stf-stf0"), (1, "stf-stf1"), (5, "stf-stf0"))]
    deployment.remove()
    assert not [path for path in machine.paths if path.startswith(f"{TARGETS}/iscsi/")]


def test_a_lun_that_is_taken() -> None:
    with pytest.raises(WrongUsageError, match="LUN 1 of stf0 is stf1 already"):
        Device(siblings=(Device("stf1"),), luns=(1,)).layout()


def test_vdisk_fileio(scst: Scst, machine: StagedMachine, tmp_path: Path) -> None:
    device = Device(handler="vdisk_fileio", block_size=4096, options={"nv_cache": 1})
    deployment = scst.deploy(
        machine, device, Transport.LOOPBACK, LADDER, Recorder(tmp_path / "history.jsonl"))
    handler = f"{HANDLERS}/vdisk_fileio/mgmt"
    assert machine.log[:4] == [
        "truncate -s 16777216 /dev/shm/stf-stf0",
        f"write 'add_device stf0 filename=/dev/shm/stf-stf0; blocksize=4096; nv_cache=1' {handler}",
        f"write 'STF' {DEVICES}/stf0/t10_vend_id", f"write 'stf-stf0' {DEVICES}/stf0/usn"]
    assert not [line for line in machine.log if line.startswith("spawn")]
    deployment.backend.hold("EXEC", 0, deadline=1)
    with pytest.raises(WrongUsageError, match="vdisk_fileio is in the kernel: it cannot hold"):
        deployment.backend.hold("EXEC", 1, deadline=1)
    machine.paths.add(f"{DEVICES}/stf0")
    deployment.remove()
    assert machine.log[-1] == f"write 'del_device stf0' {handler}"


@pytest.mark.parametrize(("device", "words"), [
    (Device(handler="vdisk_tape"), "no device handler 'vdisk_tape'"),
    (Device(handler="vdisk_nullio", options={"on_free_cmd_type": 1}), "no option on_free_cmd_type"),
    (Device(siblings=(Device("stf1", handler="vdisk_nullio"),)), "siblings are devices of one"),
    (Device(session={"MaxConnections": 2}), "SCST has no MaxConnections to set"),
])
def test_wrong_devices(
    scst: Scst, machine: StagedMachine, tmp_path: Path, device: Device, words: str
) -> None:
    with pytest.raises(WrongUsageError, match=words):
        scst.deploy(machine, device, Transport.ISCSI, LADDER, Recorder(tmp_path / "h.jsonl"))
    assert machine.log == []


def test_what_is_deployed_is_not_deployed_again(
    scst: Scst, machine: StagedMachine, tmp_path: Path
) -> None:
    machine.paths.add(f"{DEVICES}/stf0")
    with pytest.raises(TargetFailedError, match="earlier deployment was not removed"):
        deploy(scst, machine, tmp_path)
    assert machine.log == []


def test_a_target_in_use_is_deleted_later(
    scst: Scst, machine: StagedMachine, tmp_path: Path
) -> None:
    deployment = deploy(scst, machine, tmp_path)
    name = Path(IQN).name
    machine.errors[f"del_target {name}"] = [OSError(errno.EBUSY, "sessions")] * 2
    deployment.remove()
    assert machine.log.count(f"write 'del_target {name}' /iscsi/mgmt") == 3
    assert IQN not in machine.paths


def test_a_target_that_stays_in_use_is_named(
    scst: Scst, machine: StagedMachine, tmp_path: Path
) -> None:
    deployment = deploy(scst, machine, tmp_path)
    name = Path(IQN).name
    machine.errors[f"del_target {name}"] = [OSError(errno.EBUSY, "sessions")] * 99
    with pytest.raises(TargetFailedError, match=r"in use for .* by sessions of iqn\.initiator"):
        deployment.remove()
    assert f"write '1' /iscsi/{name}/sessions/iqn.initiator/force_close" in machine.log


def test_a_removal_that_waits(scst: Scst, machine: StagedMachine, tmp_path: Path) -> None:
    deployment = deploy(scst, machine, tmp_path)
    assert not deployment.removal_waits()
    machine.blocks.add("del 0")
    with pytest.raises(TargetFailedError, match=r"'del 0' to .*: not ended after 0\.1 s"):
        deployment.remove_lun()
    assert deployment.removal_waits()
    machine.paths.add(f"{IQN}/luns/0")  # the LUN is still reachable
    assert not deployment.removal_waits()


def test_a_removal_that_ends(scst: Scst, machine: StagedMachine, tmp_path: Path) -> None:
    deployment = deploy(scst, machine, tmp_path)
    deployment.remove_lun()
    assert not deployment.removal_waits()


def test_take_device_away_closes_it(scst: Scst, machine: StagedMachine, tmp_path: Path) -> None:
    deployment = deploy(scst, machine, tmp_path)
    machine.release_device()
    deployment.take_device_away()
    assert machine.log[-2:] == ["backend serving", "backend close"]


def test_a_device_that_is_not_let_go_of(machine: StagedMachine) -> None:
    device = KernelDevice(machine, "stf0")
    machine.files[REFERENCES] = "1"
    with pytest.raises(TargetFailedError, match=(
            "no longer listed, but its release has not ended, "
            "D scst_usr_releas wait_for_completion")):
        device.wait_released(0.1)
    machine.paths.add(f"{DEVICES}/stf0")
    machine.files[f"{DEVICES}/stf0/commands"] = "ucmd 1 (state 3, ref 1)\n"
    with pytest.raises(TargetFailedError, match=r"1 commands: ucmd 1 \(state 3, ref 1\)"):
        device.wait_released(0.1)


def test_options_by_name_and_number() -> None:
    by_name = Device(options={"on_free_cmd_type": "ignore", "memory_reuse_type": "NONE"})
    by_number = Device(options={"on_free_cmd_type": 1, "memory_reuse_type": "0"})
    assert backend_options(by_name) == backend_options(by_number)
    (argument,) = backend_argv(by_number, "serial", "4.0.0")
    (described,) = json.loads(argument)["devices"]
    assert described["options"] == {"on_free_cmd_type": 1, "memory_reuse_type": 0}


@pytest.mark.parametrize(("options", "words"), [
    ({"cmd_time_out": 3}, "no device option cmd_time_out"),
    ({"memory_reuse_type": "SOME"}, "one of NONE, READ, WRITE, ALL, not 'SOME'"),
    ({"parse_type": 3}, "one of STANDARD, CALL, EXCEPTION, not 3"),
])
def test_wrong_options(options: Mapping[str, str | int], words: str) -> None:
    with pytest.raises(WrongUsageError, match=words):
        backend_options(Device(options=options))


def test_an_operation_that_was_sent_away_is_followed(machine: StagedMachine) -> None:
    again = OSError(errno.EAGAIN, "later")
    machine.errors = {"1": [again], LAST_RESULT: [again, again]}
    machine.files[LAST_RESULT] = "0\n"
    sysfs.write(machine, "/x", "1", 1.0)
    machine.errors = {"1": [again]}
    machine.files[LAST_RESULT] = f"{-errno.EINVAL}\n"
    with pytest.raises(TargetFailedError, match="Invalid argument"):
        sysfs.write(machine, "/x", "1", 1.0)


def test_an_operation_that_never_ends_is_late(machine: StagedMachine) -> None:
    again = OSError(errno.EAGAIN, "later")
    machine.errors = {"1": [again], LAST_RESULT: [again] * 99}
    with pytest.raises(TargetFailedError, match=r"not ended after 0\.1 s"):
        sysfs.write(machine, "/x", "1", 0.1)
