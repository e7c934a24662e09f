# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on a deployed target: begin, wait, record, heal."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from inject.catalogue import FAULTS
from inject.target_operation import TargetOperation
from results.errors import TargetFailedError, WrongUsageError
from results.history import Recorder
from suites.selftest.test_scst_target import (
    IQN,
    LADDER,
    LOCAL,
    Pending,
    StagedMachine,
    StagedPrefix,
)
from targets import storage, system
from targets.catalogue import traits_of
from targets.lio import operations as lio
from targets.operation import Step
from targets.scst import operations as scst
from targets.scst.operations import OPERATIONS, must_be_refused
from targets.scst.sysfs import DEVICES, SCST
from targets.scst.target import Scst
from targets.target import Device, Transport
from targets.tgt import operations as tgt


class StagedDeployment:
    """A deployment on a fake machine, with its records."""

    def __init__(self, folder: Path, transport: Transport = Transport.ISCSI,
                 device: Device | None = None) -> None:
        self.machine = StagedMachine()
        self.recorder = Recorder(folder / "history.jsonl")
        target: Any = Scst(StagedPrefix())  # type: ignore[arg-type]
        self.deployment: Any = target.deploy(
            self.machine, device or Device(), transport, LADDER, self.recorder)
        self.machine.log.clear()

    def recorded(self) -> list[tuple[str, Any, Any]]:
        """Return the operations' events: kind, operation, error."""
        return [(event.kind, event.data["operation"], event.data.get("error"))
                for event in self.recorder.history().select("target", "begin", "end")]


@pytest.mark.parametrize(("name", "transport", "begun", "healed"), [
    ("lun-delete", Transport.ISCSI, f"write 'del 0' {IQN}/luns/mgmt",
     [f"write 'add stf0 0' {IQN}/luns/mgmt"]),
    ("lun-clear", Transport.ISCSI, f"write 'clear' {IQN}/luns/mgmt",
     [f"write 'add stf0 0' {IQN}/luns/mgmt"]),
    ("target-disable", Transport.ISCSI, f"write '0' {IQN}/enabled", [f"write '1' {IQN}/enabled"]),
    ("session-close", Transport.ISCSI, f"write '1' {IQN}/sessions/iqn.initiator/force_close", []),
    ("session-delete", Transport.LOOPBACK,
     "write 'del_session scst_local_stf0 stf_stf0' /scst_local/mgmt", []),
    ("black-hole-3", Transport.LOOPBACK, f"write '3' {LOCAL}/black_hole",
     [f"write '0' {LOCAL}/black_hole"]),
    ("suspend", Transport.ISCSI, f"write '1' {SCST}/suspend", [f"write '-1' {SCST}/suspend"]),
    ("device-block", Transport.ISCSI, f"write '1' {DEVICES}/stf0/block",
     [f"write '0' {DEVICES}/stf0/block"]),
])
def test_what_an_operation_writes(
    name: str, transport: Transport, begun: str, healed: list[str], tmp_path: Path
) -> None:
    staged = StagedDeployment(tmp_path, transport)
    running = staged.deployment.begin(name)
    running.finish(1.0)
    running.finish(1.0)  # already waited for
    assert staged.machine.log == [begun.replace(f"{SCST}/targets", "")]
    staged.machine.log.clear()
    staged.deployment.heal(name, 1.0)
    staged.deployment.heal(name, 1.0)  # already healed
    assert staged.machine.log == [line.replace(f"{SCST}/targets", "") for line in healed]
    assert staged.recorded() == [("begin", name, None), ("end", name, None)]


def test_a_device_in_another_ones_place(tmp_path: Path) -> None:
    staged = StagedDeployment(tmp_path)
    staged.deployment.begin("lun-replace").finish(1.0)
    staged.machine.paths.add(f"{DEVICES}/stf-spare")
    staged.deployment.heal("lun-replace", 1.0)
    luns = f"{Path(IQN).name}/luns/mgmt"
    assert [line.split("' ")[0] for line in staged.machine.log] == [
        "write 'add_device stf-spare size=16777216", "write 'replace stf-spare 0",
        "write 'replace stf0 0", "write 'del_device stf-spare"]
    assert staged.machine.log[1].endswith(luns)


def test_a_spare_device_goes_with_the_deployment(tmp_path: Path) -> None:
    staged = StagedDeployment(tmp_path)
    staged.deployment.begin("lun-replace").finish(1.0)
    staged.machine.paths.add(f"{DEVICES}/stf-spare")
    staged.machine.log.clear()
    staged.deployment.remove()
    assert staged.machine.log[-1].startswith("write 'del_device stf-spare'")


def test_an_operation_that_waits_is_told_from_one_that_has_ended(tmp_path: Path) -> None:
    staged = StagedDeployment(tmp_path)
    ended = staged.deployment.begin("suspend")
    assert ended.done and not ended.waits()
    staged.machine.blocks.add("1")
    stuck = staged.deployment.begin("device-block")
    assert not stuck.done and not stuck.waits()
    staged.machine.waiting = lambda: ["write"]  # type: ignore[method-assign]
    assert stuck.waits()
    with pytest.raises(TargetFailedError, match=r"block: not ended after 0\.1 s"):
        stuck.finish(0.1)
    assert staged.recorded()[-1][1] == "device-block"
    assert "not ended" in staged.recorded()[-1][2]


def test_a_write_that_was_sent_away_goes_on(tmp_path: Path) -> None:
    staged = StagedDeployment(tmp_path)
    again = OSError(errno.EAGAIN, "later")
    staged.machine.errors = {"1": [again] * 3, f"{SCST}/last_sysfs_mgmt_res": [again]}
    staged.machine.files[f"{SCST}/last_sysfs_mgmt_res"] = "0\n"
    running = staged.deployment.begin("device-block")
    running.work.pending.result = lambda _: (_ for _ in ()).throw(again)
    assert not running.done
    assert running.done


def test_what_must_be_refused(tmp_path: Path) -> None:
    staged = StagedDeployment(tmp_path)
    name = Path(IQN).name
    staged.machine.errors = {f"del_target {name}": [OSError(errno.EBUSY, "sessions")]}
    staged.deployment.begin("target-delete-in-use").finish(1.0)
    with pytest.raises(TargetFailedError, match="not refused with Device or resource busy"):
        staged.deployment.begin("target-delete-in-use").finish(1.0)
    staged.machine.errors = {f"del_target {name}": [OSError(errno.EINVAL, "odd")]}
    with pytest.raises(TargetFailedError, match="Invalid argument"):
        staged.deployment.begin("target-delete-in-use").finish(1.0)


@pytest.mark.parametrize(("status", "words", "wrong"), [
    (1, "rmmod: ERROR: Module scst_user is in use", None),
    (0, "", "it was unloaded while in use"),
    (1, "rmmod: ERROR: Operation not permitted", "refused, but not for being in use"),
])
def test_a_module_in_use(status: int, words: str, wrong: str | None) -> None:
    answer = {"status": status, "stdout": "", "stderr": words}
    if wrong is None:
        must_be_refused("scst_user", answer)
        return
    with pytest.raises(TargetFailedError, match=wrong):
        must_be_refused("scst_user", answer)


def test_memory_pressure_is_taken_back(tmp_path: Path) -> None:
    staged = StagedDeployment(tmp_path)
    answers = [{"status": 0, "stdout": "", "stderr": ""}, None, {"status": 1, "stderr": "full"}]

    class Ended:
        """A program that has ended."""

        done = True

        def result(self, _: float) -> Any:
            return answers.pop(0)

    began: list[Any] = []
    staged.machine.begin = lambda *call: began.append(call) or Ended()  # type: ignore[method-assign,func-returns-value,assignment]
    running = staged.deployment.begin("memory-pressure")
    assert running.done and not running.waits()
    running.finish(1.0)
    assert began[0][0] == "run" and "nr_hugepages" in began[0][1][-1]
    staged.deployment.heal("memory-pressure", 1.0)
    assert began[-1] == ("write", "/proc/sys/vm/nr_hugepages", "0")
    with pytest.raises(TargetFailedError, match="status 1: full"):
        staged.deployment.begin("memory-pressure").finish(1.0)


@pytest.mark.parametrize(("transport", "handler", "there", "missing"), [
    (Transport.ISCSI, "scst_user", "target-disable", "session-delete"),
    (Transport.LOOPBACK, "scst_user", "session-delete", "target-disable"),
    (Transport.LOOPBACK, "scst_user", "suspend", "threads"),
    (Transport.LOOPBACK, "vdisk_nullio", "threads", "target-delete-in-use"),
    (Transport.ISCSI, "vdisk_nullio", "device-delete", "target-delete"),
])
def test_what_there_is_depends_on_the_drivers(
    transport: Transport, handler: str, there: str, missing: str, tmp_path: Path
) -> None:
    staged = StagedDeployment(tmp_path, transport, Device(handler=handler))
    assert there in staged.deployment.operations
    with pytest.raises(WrongUsageError, match=f"no operation '{missing}'"):
        staged.deployment.begin(missing)


def refusing(number: int | None) -> Any:
    """Return a finished call on LIO's machine that fails with an errno, or succeeds."""
    return Pending(None if number is None else OSError(number, "no"))


@pytest.mark.parametrize(("fails", "refused", "wrong"), [
    (None, None, None),
    (errno.EBUSY, errno.EBUSY, None),
    (errno.EBUSY, None, "rmdir backstore: no"),
    (errno.EINVAL, errno.EBUSY, "rmdir backstore: no"),
    (None, errno.EBUSY, "rmdir backstore: it was not refused"),
])
def test_a_step_of_lio(fails: int | None, refused: int | None, wrong: str | None) -> None:
    machine: Any = StagedMachine()
    step = Step(machine, refusing(fails), "rmdir", "rmdir backstore", refused)
    assert step.done and not step.waits()
    if wrong is None:
        step.finish(1.0)
        return
    with pytest.raises(TargetFailedError, match=wrong):
        step.finish(1.0)


def test_a_step_of_lio_that_waits() -> None:
    machine: Any = StagedMachine()
    machine.waiting = lambda: ["unlink"]
    step = Step(machine, Pending(done=False), "unlink", "unlink LUN")
    assert step.waits() and not step.done
    with pytest.raises(TargetFailedError, match=r"unlink LUN: not ended after 0\.1 s"):
        step.finish(0.1)


def test_faults_name_operations_that_there_are() -> None:
    """Targets have their faults' operations; a fault ends the device only if the operation does."""
    for fault in FAULTS.values():
        if not isinstance(fault, TargetOperation):
            continue
        for name, known in (("scst", scst.OPERATIONS), ("lio", lio.OPERATIONS),
                            ("tgt", tgt.OPERATIONS)):
            if fault.needs.on(traits_of(name)):
                every: dict[str, Any] = {**system.OPERATIONS, **storage.FAILURES, **known}
                operation = every[fault.operation]
                ends = getattr(operation, "ends_device", False)
                assert ends or not fault.ends_device, fault.name


def test_every_operation_that_changes_something_is_undone_or_ends_the_device() -> None:
    lasting = [name for name, each in OPERATIONS.items()
               if isinstance(each, scst.Order) and each.undo is None and each.refused is None
               and not each.ends_device]
    assert lasting == [
        "lun-replace-same", "lun-delete-free", "target-enable", "session-close", "resume",
        "device-unblock"]
