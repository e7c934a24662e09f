# SPDX-License-Identifier: GPL-2.0-or-later
"""Single commands: their CDBs, their sense data, and the program that issues them."""

from __future__ import annotations

import errno
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.initiator.disk import Disk
from fixtures.workload.commands import (
    COPY,
    KINDS,
    RESET,
    Command,
    CommandJob,
    Commands,
    extended_copy,
)
from fixtures.workload.commands_guest import (
    SgIoHdr,
    addresses,
    first_difference,
    issue,
    triple,
)
from results.history import Recorder
from suites.selftest.test_agent import LocalAgent, local_agent

SOON = 10.0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != COPY])
def test_cdbs(kind: str) -> None:
    """SBC-4: operation code, LBA in bytes 2 to 9, TRANSFER LENGTH in bytes 10 to 13."""
    opcode, name, direction, size = KINDS[kind]
    first, second = CommandJob(kind, 2, 8 << 20).commands(4096)
    cdb = bytes.fromhex(first.cdb)
    assert (len(cdb), cdb[0], first.name, first.direction, first.bytes) == (
        16, opcode, name, direction, size)
    assert int.from_bytes(cdb[2:10]) == (8 << 20) // 4096
    assert int.from_bytes(cdb[10:14]) == size // 4096
    assert second.cdb != first.cdb


def test_extended_copy() -> None:
    """SPC-4 6.5: the header's lengths, a CSCD descriptor (6.4.5), a segment descriptor (6.4.6)."""
    naa = "3123456789abcdef"
    first, second = CommandJob(COPY, 2, 8 << 20).commands(512, naa)
    cdb, data = bytes.fromhex(first.cdb), bytes.fromhex(first.data)
    assert (cdb[:2], int.from_bytes(cdb[10:14]), first.direction) == (
        b"\x83\0", len(data), "write")
    assert first.bytes == len(data) == 16 + 32 + 28
    assert (data[0], data[1], int.from_bytes(data[2:4]), int.from_bytes(data[8:12]),
            int.from_bytes(data[12:16])) == (0, 0x18, 32, 28, 0)
    target, segment = data[16:48], data[48:]
    assert (target[0], target[4:6], target[7], target[8:16].hex(), target[29:].hex()) == (
        0xE4, b"\x01\x03", 8, naa, "000200")
    assert (segment[0], int.from_bytes(segment[2:4]), int.from_bytes(segment[10:12])) == (
        2, 0x18, (16 << 10) // 512)
    source, sink = int.from_bytes(segment[12:20]), int.from_bytes(segment[20:28])
    assert (source, sink) == ((8 << 20) // 512, (10 << 20) // 512)
    assert second.data != first.data


def test_an_extended_copy_of_nothing() -> None:
    data = bytes.fromhex(extended_copy("3123456789abcdef", 512, []).data)
    assert (len(data), int.from_bytes(data[8:12])) == (48, 0)


@pytest.mark.parametrize(("sense", "expected"), [
    ("70000500000000" "0a" "00000000" "2500" "00000000", {"key": 5, "asc": 0x25, "ascq": 0}),
    ("720b4400" + "00000000", {"key": 0xB, "asc": 0x44, "ascq": 0}),
    ("", {}), ("7000", {}), ("00" * 18, {}),
])
def test_sense_data(sense: str, expected: dict[str, int]) -> None:
    assert triple(bytes.fromhex(sense)) == expected


def test_a_command_as_the_kernel_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[SgIoHdr] = []

    def ioctl(disk: int, request: int, header: SgIoHdr) -> None:
        seen.append(header)
        header.status, header.host_status, header.resid = 2, 0, 512

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    answer = issue(7, {"cdb": "8a" + 15 * "00", "direction": "write", "bytes": 1024,
                       "timeout": 4.0})
    (header,) = seen
    assert (header.interface_id, header.dxfer_direction, header.cmd_len, header.dxfer_len,
            header.timeout) == (ord("S"), -2, 16, 1024, 4000)
    assert (answer["status"], answer["residual"], answer["error"]) == (2, 512, None)


def test_a_reset_that_the_initiator_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def ioctl(disk: int, request: int, order: Any) -> None:
        assert (request, order.value) == (0x2284, 0x101)
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert issue(7, {"reset": "lun-reset"}) == {"error": "EIO"}


@pytest.fixture
def agent() -> Iterator[LocalAgent]:
    """Provide an agent on this host with a known clock."""
    with local_agent() as running:
        running.machine.connection.sync(SOON)
        yield running


def test_on_a_machine_whose_disk_refuses_them(agent: LocalAgent, tmp_path: Path) -> None:
    """SG_IO on a file, which is not a SCSI disk, fails with ENOTTY; the job ends without error."""
    disk = Disk("none", "8:0", "2:0:0:0", "STF x")
    commands = [Command("TEST UNIT READY", 6 * "00"), RESET]
    with Recorder(tmp_path / "history.jsonl") as recorder:
        job = Commands(agent.machine, "commands", commands, disk, recorder)
        assert job.wait_issued(2, SOON)
        assert job.wait_answered(2, SOON)
        assert job.wait(SOON) is not None
        assert not job.running
        history = recorder.history()
    assert {answer["error"] for answer in job.answers.values()} <= {"ENOENT", "ENOTTY"}
    kinds = [event.kind for event in history.select("workload")]
    assert sorted(kinds) == ["answer", "answer", "begin", "command", "command", "end"]
    assert json.dumps(history.last("workload", "end").data)  # type: ignore[union-attr]


def test_reads_are_compared_with_data_that_name_their_place() -> None:
    job = CommandJob("large-read", 2)
    (first, second), writes = job.commands(512), job.before(512)
    assert [each.place for each in (first, second)] == [each.place for each in writes]
    assert {each.name for each in writes} == {"WRITE(16)"}
    assert second.place == (first.place or 0) + job.bytes
    assert not CommandJob("write", 2).before(512)
    assert not CommandJob("none").before(512)


def test_a_shift_of_a_block_is_seen() -> None:
    data = addresses(8 << 20, 64 << 10)
    assert first_difference(data, data) is None
    shifted = data[:32768] + data[32768 - 512:-512]
    assert first_difference(shifted, data) is not None
    assert 32768 <= (first_difference(shifted, data) or 0) < 32768 + 8
