# SPDX-License-Identifier: GPL-2.0-or-later
"""The raw initiator against a real target: tgtd of this host, on loopback."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tenacity import retry, stop_after_delay, wait_fixed

from fixtures.initiator.raw import broken_guest
from fixtures.initiator.raw.broken_sessions import READ_BYTES
from fixtures.initiator.raw.generate import Stream
from fixtures.initiator.raw.pdu import NO_TAG, Op, Pdu, keys, text
from fixtures.initiator.raw.scripted_guest import ScriptedInitiator
from fixtures.initiator.raw.session import (
    KEYS,
    PATTERN,
    Connection,
    RefusedError,
    ping,
    scsi_command,
)
from fixtures.initiator.raw.words_guest import words
from fixtures.machine.tools import find_tool, tool
from fixtures.workload.pdus_guest import Job, Outcome, Sender

IQN = "iqn.2026-01.org.scsi-target-faults:selftest"
NAME = "iqn.2026-01.org.scsi-target-faults:raw"
SOON = 10.0
BLOCK = 512

pytestmark = pytest.mark.skipif(find_tool("tgtd") is None, reason="there is no tgtd")


@dataclass(frozen=True)
class Tgtd:
    """A tgtd with one disk at LUN 1, controlled by a socket of its own (TGT_IPC_SOCKET)."""

    portal: str
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    def admin(self, *words: str) -> None:
        """Run tgtadm."""
        subprocess.run([tool("tgtadm"), "--lld", "iscsi", *words], check=True,
                       env=self.environment, capture_output=True, timeout=SOON)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def tgtd(tmp_path: Path) -> Iterator[Tgtd]:
    """Provide a tgtd, on loopback only; end it by its process."""
    portal = f"127.0.0.1:{free_port()}"
    environment = {**os.environ, "TGT_IPC_SOCKET": str(tmp_path / "ipc")}
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(16 << 20))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [tool("tgtd"), "-f", "--iscsi", f"portal={portal}"], env=environment,
            stdout=log, stderr=log)
    target = Tgtd(portal, process, environment)
    try:
        _set_up(target, disk)
        yield target
    finally:
        process.kill()
        process.wait()


def _set_up(target: Tgtd, disk: Path) -> None:
    _answers(target)
    target.admin("--op", "new", "--mode", "target", "--tid", "1", "-T", IQN)
    target.admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1",
                 "-b", str(disk))
    target.admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")


@retry(stop=stop_after_delay(SOON), wait=wait_fixed(0.05), reraise=True)
def _answers(target: Tgtd) -> None:
    target.admin("--op", "show", "--mode", "target")


@pytest.fixture
def connection(tgtd: Tgtd) -> Iterator[Connection]:
    """Provide a connection, logged in to the disk, with its unit attention taken."""
    found = Connection.to(tgtd.portal, SOON)
    found.lun = 1
    found.login(NAME, IQN, {**KEYS, "ImmediateData": "Yes"})
    while ended(found, scsi_command(1, bytes(6)))["Status"]:
        pass
    yield found
    found.close()


def ended(connection: Connection, command: Pdu) -> Pdu:
    connection.put(command)
    return connection.expect(Op.SCSI_RESPONSE)


def rw(opcode: int, lba: int, blocks: int) -> bytes:
    return bytes((opcode, 0)) + lba.to_bytes(4, "big") + bytes((0, 0, blocks, 0))


def read_back(connection: Connection, lba: int, blocks: int) -> bytes:
    connection.put(scsi_command(9, rw(0x28, lba, blocks), blocks * BLOCK, "read"))
    data = b""
    while True:
        pdu = connection.take()
        data += pdu.data
        if pdu.op != Op.DATA_IN or pdu["S"]:
            return data


def test_write_solicited_and_read_back(connection: Connection) -> None:
    connection.put(scsi_command(2, rw(0x2A, 8, 4), 4 * BLOCK, "write"))
    r2t = connection.expect(Op.R2T)
    assert (r2t["InitiatorTaskTag"], r2t["DesiredDataTransferLength"]) == (2, 4 * BLOCK)
    answer = ended(connection, Pdu(Op.DATA_OUT, {"F": 1}))
    assert (answer["InitiatorTaskTag"], words(answer)) == (2, "scsi response status 0x00")
    assert read_back(connection, 8, 4) == PATTERN * 4 * BLOCK


def test_write_immediate_and_read_back(connection: Connection) -> None:
    answer = ended(connection, scsi_command(3, rw(0x2A, 100, 1), BLOCK, "write", b"i" * BLOCK))
    assert not answer["Status"]
    assert read_back(connection, 100, 1) == b"i" * BLOCK


def test_ping_text_task_management_logout(connection: Connection) -> None:
    connection.put(ping(77))
    assert connection.expect(Op.NOP_IN)["InitiatorTaskTag"] == 77
    connection.put(Pdu(Op.TASK_MANAGEMENT, {
        "F": 1, "I": 1, "Function": 1, "InitiatorTaskTag": 78, "ReferencedTaskTag": 5}))
    answer = connection.expect(Op.TASK_MANAGEMENT_RESPONSE)
    assert words(answer) == "task management response 0x01"  # 11.6.1: the task does not exist
    connection.logout()


def test_discovery(tgtd: Tgtd) -> None:
    connection = Connection.to(tgtd.portal, SOON)
    connection.login(NAME, None, {**KEYS, "SessionType": "Discovery"})
    connection.put(Pdu(Op.TEXT, {"F": 1, "I": 1, "InitiatorTaskTag": 4,
                                 "TargetTransferTag": NO_TAG}, data=text({"SendTargets": "All"})))
    assert keys(connection.expect(Op.TEXT_RESPONSE).data)["TargetName"] == IQN
    connection.close()


def test_a_login_to_nobody_is_refused(tgtd: Tgtd) -> None:
    connection = Connection.to(tgtd.portal, SOON)
    with pytest.raises(RefusedError) as refused:
        connection.login(NAME, "iqn.2026-01.org.nobody:none")
    assert refused.value.status == 0x0203  # 11.13.5: not found
    connection.close()


def test_it_executes_its_requests(
    connection: Connection, capfd: pytest.CaptureFixture[str],
) -> None:
    initiator = ScriptedInitiator(connection)
    initiator.execute({"do": "send", "tag": 21, "cdb": rw(0x2A, 0, 8).hex(), "bytes": 4096,
                       "direction": "write"})
    initiator.execute({"do": "send", "tag": 22, "cdb": rw(0x28, 0, 8).hex(), "bytes": 4096,
                       "direction": "read"})
    initiator.execute({"do": "read", "until": [21, 22]})
    output = capfd.readouterr().out
    assert '"tag": 21, "status": 0, "bytes": 0' in output
    assert '"tag": 22, "status": 0, "bytes": 4096' in output


def test_it_sends_what_it_is_given(
    connection: Connection, capfd: pytest.CaptureFixture[str],
) -> None:
    initiator = ScriptedInitiator(connection)
    initiator.execute({"do": "put", "op": 0, "fields": {
        "F": 1, "I": 1, "InitiatorTaskTag": 5, "TargetTransferTag": NO_TAG}, "data": "70696e67"})
    initiator.execute({"do": "receive", "seconds": SOON, "op": int(Op.NOP_IN)})
    output = capfd.readouterr().out
    assert '"kind": "put", "bytes": 52, "crc": "' in output
    assert '"kind": "received", "words": ["nop in"]' in output


def test_it_sends_the_same_some_times_and_hangs_up(
    connection: Connection, capfd: pytest.CaptureFixture[str],
) -> None:
    initiator = ScriptedInitiator(connection)
    nop = {"do": "put", "op": 0, "fields": {
        "F": 1, "I": 1, "InitiatorTaskTag": 5, "TargetTransferTag": NO_TAG}}
    initiator.execute({**nop, "times": 3})
    assert {connection.expect(Op.NOP_IN)["InitiatorTaskTag"] for _ in range(3)} == {5, 6, 7}
    with pytest.raises(ConnectionAbortedError):
        initiator.execute({**nop, "times": 2, "hang_up": True})
    output = capfd.readouterr().out
    assert [f'"kind": "put", "bytes": {size}' in output for size in (144, 96)] == [True, True]
    assert connection.sock.fileno() == -1


def test_valid_items_are_answered(tgtd: Tgtd) -> None:
    """The ping after each valid item of the generator is answered."""
    job = Job(tgtd.portal, IQN, "1/1", 1, 25, reply_bound=2.0, lun=1)
    stream = next(each for each in (Stream.of("1/1", number, IQN) for number in range(9))
                  if not each.logins)
    sender = Sender(job, stream, threading.Event())
    items = [item for item in map(stream.item, range(60))
             if not item.malformed and item.request in ("nop", "no-data", "inquire", "read")]
    assert items and tgtd.process.poll() is None
    assert {sender.deliver(item, []) for item in items} == {Outcome.ANSWERED}


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("moment", list(broken_guest.MOMENTS))
def test_a_session_that_breaks_can_be_made_anew(
    moment: str, end: str, tgtd: Tgtd, monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(broken_guest, "emit", lambda kind, **data: events.append((kind, data)))
    monkeypatch.setattr("sys.stdin", io.StringIO("{}\nagain\n"))
    broken_guest.main([json.dumps({
        "portal": tgtd.portal, "iqn": IQN, "lun": 1, "moment": moment, "end": end,
        "sessions": 2, "retry_for": SOON})])
    kinds = [kind for kind, _ in events]
    assert kinds == ["there", "ended", "again", "again", "end"]
    kept = True if moment.startswith("data-out") else None
    assert [(each["error"], each["kept"]) for kind, each in events if kind == "again"] == [
        (None, kept)] * 2


def test_what_is_not_read_jams_and_comes_whole(
    tgtd: Tgtd, monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(broken_guest, "emit", lambda kind, **data: events.append((kind, data)))
    monkeypatch.setattr("sys.stdin", io.StringIO("{}\nno more\n"))
    broken_guest.main([json.dumps({
        "portal": tgtd.portal, "iqn": IQN, "lun": 1, "moment": "data-in", "end": "stuffed",
        "sessions": 1, "seconds": 0.2})])
    seen = dict(events)
    assert seen["jammed"]["bytes"] > 0
    assert seen["answers"]["statuses"] == {0: broken_guest.READS}
    assert seen["answers"]["bytes"] == READ_BYTES \
        == broken_guest.READS * broken_guest.READ_BLOCKS * BLOCK
    assert "again" not in seen
