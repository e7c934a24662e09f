# SPDX-License-Identifier: GPL-2.0-or-later
"""The storage below an in-kernel handler: its device-mapper requests, and its counts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from inject.catalogue import FAULTS
from inject.point import State
from inject.storage import FAILING_DISK_TEARDOWNS
from results.errors import TargetFailedError, WrongUsageError
from targets.backend.absent import NoBackend
from targets.catalogue import traits_of
from targets.lio.target import check
from targets.machine import Completed
from targets.storage import (
    BELOW,
    FAILURES,
    LOOP,
    SCSI_DEBUG,
    Counts,
    Storage,
    make_storage,
    prepare,
)
from targets.target import Device


class StagedMachine:
    """A machine with a device-mapper; records scripts and writes.

    ``counts``: reads, writes, and reads and writes in flight, of the front device.
    """

    lost: str | None = None

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self.counts = (0, 0, 0, 0)
        self.written: dict[str, str] = {}

    def modprobe(self, *modules: str) -> None:
        """Accept the modules."""

    def run(self, argv: Sequence[str], *, deadline: float | None = None) -> Completed:
        """Record a script and return its usual output."""
        self.scripts.append(argv[-1] if argv[0] == "sh" else " ".join(argv))
        making = "dmsetup create" in argv[-1]
        output = "/dev/loop0 dm-0 dm-1 dm-2 dm-3\n" if making else ""
        return Completed(tuple(argv), 0, output, "")

    def write(self, path: str, text: str, *, deadline: float | None = None) -> None:
        """Record a write to a file."""
        self.written[path] = text

    def read(self, path: str) -> str:
        """Return the front device's counts."""
        reads, writes, reading, writing = self.counts
        if path == "/sys/class/block/dm-3/inflight":
            return f"{reading:8} {writing:8}\n"
        assert path == "/sys/class/block/dm-3/stat"
        return f"{reads} 0 0 0 {writes} 0 0 0 {reading + writing} 0 0 0 0 0 0 0 0\n"


@pytest.fixture
def machine() -> Any:
    """Provide a machine."""
    return StagedMachine()


OPTS = "/sys/bus/pseudo/drivers/scsi_debug/opts"


def made(machine: Any, disk: str) -> Storage:
    """Make the storage of a device of 1 MiB."""
    storage = make_storage(machine, Device(size=1 << 20, disk=disk), "/dev/shm/medium",
                           ExitStack(), 1.0)
    machine.scripts.clear()
    return storage


@pytest.fixture
def storage(machine: Any) -> Storage:
    """Provide the storage of a device over a file."""
    return made(machine, LOOP)


def test_it_is_made_and_unmade(machine: Any) -> None:
    with ExitStack() as undo:
        assert make_storage(machine, Device(size=1 << 20), "/dev/shm/medium", undo,
                            1.0).path == "/dev/dm-3"
    make, unmake = machine.scripts
    assert "truncate -s 1048576 /dev/shm/medium\n" in make
    assert 'disk=$(make -disk "linear $below 0")' in make and '--table "0 2048 $2"' in make
    assert "for each in stf-stf0 stf-stf0-gate stf-stf0-disk stf-stf0-dead; do" in unmake


def test_a_scsi_disk_takes_the_files_place(machine: Any) -> None:
    with ExitStack() as undo:
        make_storage(machine, Device(size=2 << 20, disk=SCSI_DEBUG), "/dev/shm/medium", undo, 1.0)
    assert "modprobe scsi_debug dev_size_mb=$(( (2097152 + 1048575) >> 20 ))" in machine.scripts[0]
    assert "sector_size=512 every_nth=1" in machine.scripts[0]
    assert "losetup -f" not in machine.scripts[0]
    machine.scripts.clear()
    prepare(machine, Device(disk=SCSI_DEBUG), 1.0)
    prepare(machine, Device(disk=LOOP), 1.0)
    assert len(machine.scripts) == 1  # it outlives deployments: leaks are detected without it
    with pytest.raises(WrongUsageError, match="there is no disk 'tape'"):
        made(machine, "tape")


def test_the_gate_holds_and_lets_go(storage: Storage, machine: Any) -> None:
    backend = NoBackend("it is in the kernel", storage)
    backend.hold("EXEC", 2, deadline=1.0, direction="write")
    assert "load stf-stf0-gate --table '0 2048 delay /dev/dm-1 0 0 /dev/dm-1 0 " in \
        machine.scripts[-1]
    machine.counts = (0, 0, 5, 1)
    assert not backend.wait_held(2, 0.1)  # READs are not held
    machine.counts = (0, 0, 5, 2)
    assert backend.wait_held(2, 0.1)
    backend.release(1.0)
    assert "load stf-stf0-gate --table '0 2048 linear /dev/dm-1 0'" in machine.scripts[-1]


def test_a_gate_knows_one_point_only(storage: Storage) -> None:
    with pytest.raises(WrongUsageError, match="it is in the kernel: it cannot hold"):
        NoBackend("it is in the kernel", storage).hold("PARSE", 1, deadline=1.0)


@pytest.mark.parametrize(("name", "unmet", "met"), [
    ("storage-error", (2, 1, 9, 9), (2, 2, 0, 0)),
    ("storage-error-writes", (9, 3, 9, 9), (0, 4, 0, 0)),
    ("storage-error-reads", (3, 9, 9, 9), (4, 0, 0, 0)),
    ("storage-drop-writes", (9, 3, 9, 9), (0, 4, 0, 0)),
    ("storage-stall", (9, 9, 2, 1), (0, 0, 2, 2)),
    ("storage-suspend", (9, 9, 2, 1), (0, 0, 2, 2)),
    ("storage-medium-error", (3, 9, 9, 9), (4, 0, 0, 0)),
    ("storage-ignores", (9, 9, 2, 1), (0, 0, 2, 2)),
])
def test_io_has_to_meet_a_failure(
    name: str, unmet: tuple[int, ...], met: tuple[int, ...], machine: Any,
) -> None:
    storage = made(machine, SCSI_DEBUG)
    failing = storage.fail(name, 1.0)
    machine.counts = unmet
    assert not failing.done
    with pytest.raises(TargetFailedError, match="no 4 I/Os met the failure"):
        failing.finish(0.05)
    machine.counts = met
    failing.finish(0.05)


@pytest.mark.parametrize("disk", BELOW)
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_healed(name: str, disk: str, machine: Any) -> None:
    storage = made(machine, disk)
    if name not in storage.failures:
        assert disk == LOOP
        return
    storage.fail(name, 1.0)
    opts = [machine.written.get(OPTS, "0")]
    storage.heal(1.0)
    opts.append(machine.written.get(OPTS, "0"))
    assert opts == [str(FAILURES[name].opts), "0"]
    assert "load stf-stf0-disk --table '0 2048 linear /dev/loop0 0'" in machine.scripts[-1]
    assert machine.scripts[-1].endswith("resume --noudevrules --noudevsync stf-stf0-disk")


def test_counts_are_the_kernels() -> None:
    """Fields as in Documentation/block/stat.rst."""
    counts = Counts.of("11 0 88 2 22 0 176 9 3 11 11 0 0 0 0 0 0\n", "       1        2\n")
    assert counts == Counts(11, 22, 1, 2)
    assert [counts.in_flight(each) for each in ("read", "write", None)] == [1, 2, 3]


@pytest.mark.parametrize(("target", "direction", "words"), [
    ("lio", "write", "02/08/00"), ("scst", "write", "03/03/00"), ("scst", "read", "03/11/00"),
    ("tgt", "write", "03/11/00")])
def test_what_a_target_says_of_a_disk_that_errs(target: str, direction: str, words: str) -> None:
    error, reads = FAULTS["storage-error"], FAULTS["storage-error-reads"]
    found = error.expected(State.EXEC, traits_of(target), direction)
    assert found.outcomes == (f"CHECK CONDITION {words}",)
    found = reads.expected(State.EXEC, traits_of(target), direction)
    assert (found.outcomes == ("GOOD",)) == (direction == "write")


def test_a_sick_teardown_is_for_what_can_be_done() -> None:
    names = {fault.name for fault in FAILING_DISK_TEARDOWNS
             if fault.needs.met(traits_of("lio"), "iblock", "iscsi")}
    assert names == {"storage-stall+lun-delete", "storage-suspend+lun-delete",
                     "storage-error+lun-delete"}
    assert any(fault.needs.met(traits_of("scst"), "vdisk_blockio", "iscsi")
               for fault in FAILING_DISK_TEARDOWNS if fault.teardown.name == "device-delete")


@pytest.mark.parametrize(("device", "words"), [
    (Device(handler="fileio"), "LIO has no handler 'fileio'; there is iblock"),
    (Device(handler="iblock", options={"cmd_time_out": 3}), "iblock has no option cmd_time_out"),
])
def test_what_lio_is_not_deployed_with(device: Device, words: str) -> None:
    with pytest.raises(WrongUsageError, match=words):
        check(device)
