# SPDX-License-Identifier: GPL-2.0-or-later
"""The block layer's ledger, on tracepoint text as kernels 6.1 and 6.12 write it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fixtures.initiator.disk import Disk
from fixtures.watcher.trace import BlockLedger, TraceWatcher, error_name, operation, scsi_event
from results.history import Event, Recorder

PRIORITY = {"6.1": "", "6.12": "none,0,0 "}
"""Text before the bracket in each kernel's block tracepoints."""

ISSUE, COMPLETE, REQUEUE = "block_rq_issue", "block_rq_complete", "block_rq_requeue"

SCSI = ("host_no=2 channel=0 id=1 lun=3 data_sgl=1 prot_sgl=0 prot_op=SCSI_PROT_NORMAL "
        "driver_tag=112 scheduler_tag=-1 cmnd=(WRITE_10 lba=14008 txlen=8 protect=0 "
        "raw=2a 00 00 00 36 b8 00 00 08 00)")
RESULT = "driver=DRIVER_OK host=DID_OK message=COMMAND_COMPLETE status=SAM_STAT_CHECK_CONDITION"
SENSE = "key=0x5 asc=0x25 ascq=0x0"


class Disks:
    """A ledger that receives requests in one kernel's tracepoint format."""

    def __init__(self, kernel: str) -> None:
        self.ledger = BlockLedger("sda")
        self.seen: list[tuple[str, Mapping[str, Any]]] = []
        self._priority = PRIORITY[kernel]
        self._time = 10.0

    def _take(self, event: str, text: str) -> None:
        self._time += 1.0
        found = self.ledger.take(self._time, event, text)
        if found is not None:
            assert (found.time, found.source) == (self._time, "block")
            assert found.data["disk"] == "sda"
            self.seen.append((found.kind, {
                key: value for key, value in found.data.items() if key != "disk"}))

    def issue(self, sector: int, sectors: int = 8, rwbs: str = "WS") -> None:
        self._take(ISSUE, f"8,0 {rwbs} {sectors * 512} () {sector} + {sectors} "
                          f"{self._priority}[fio: job (1)]")

    def complete(self, sector: int, sectors: int = 8, errno: int = 0, rwbs: str = "WS") -> None:
        self._take(COMPLETE, f"8,0 {rwbs} () {sector} + {sectors} {self._priority}[{errno}]")

    def requeue(self, sector: int, sectors: int = 8) -> None:
        self._take(REQUEUE, f"8,0 WS () {sector} + {sectors} {self._priority}[0]")


@pytest.fixture(params=PRIORITY)
def disk(request: pytest.FixtureRequest) -> Disks:
    """Provide a ledger for each kernel's format."""
    return Disks(request.param)


def test_an_io_is_issued_and_completes(disk: Disks) -> None:
    disk.issue(2048)
    disk.issue(4096, 16, "RA")
    assert (disk.ledger.in_flight, disk.ledger.ended) == (2, 0)
    assert disk.ledger.open_since(11.0) == 1
    disk.complete(4096, 16, rwbs="RA")
    disk.complete(2048, errno=-5)
    assert disk.seen == [
        ("issue", {"io": 1, "op": "write", "sector": 2048, "bytes": 4096}),
        ("issue", {"io": 2, "op": "read", "sector": 4096, "bytes": 8192}),
        ("complete", {"io": 2, "op": "read", "sector": 4096, "error": None, "seconds": 1.0}),
        ("complete", {"io": 1, "op": "write", "sector": 2048, "error": "EIO", "seconds": 3.0})]
    assert (disk.ledger.in_flight, disk.ledger.ended) == (0, 2)
    assert disk.ledger.open_since(99.0) == 0


def test_ends_are_counted_by_their_part_of_the_disk(disk: Disks) -> None:
    for sector in (0, (8 << 11) - 8, 8 << 11):
        disk.issue(sector)
        disk.complete(sector)
    assert [disk.ledger.ended_below(mib << 20) for mib in (0, 1, 8, 9)] == [0, 1, 2, 3]


def test_no_good_bytes_before_an_error_are_no_end(disk: Disks) -> None:
    disk.issue(8)
    disk.complete(8, 0)
    assert disk.ledger.in_flight == 1
    disk.complete(8, 8, -121)
    assert disk.seen[1:] == [
        ("complete", {"io": 1, "op": "write", "sector": 8, "error": "EREMOTEIO", "seconds": 2.0})]


def test_what_completes_in_part_ends_with_its_rest(disk: Disks) -> None:
    disk.issue(64, 16)
    disk.complete(64, 4)
    disk.complete(68, 4)
    assert (disk.ledger.in_flight, disk.ledger.ended) == (1, 0)
    disk.complete(72, 8, -5)
    assert [kind for kind, _ in disk.seen] == ["issue", "complete"]
    assert disk.seen[1][1] == {
        "io": 1, "op": "write", "sector": 72, "error": "EIO", "seconds": 3.0}
    assert (disk.ledger.in_flight, disk.ledger.ended) == (0, 1)


def test_what_is_given_back_stays_the_same_io(disk: Disks) -> None:
    disk.issue(8)
    disk.requeue(8)
    assert disk.ledger.in_flight == 1
    disk.issue(8)
    disk.issue(8)  # another request of the same sector
    assert disk.ledger.in_flight == 2
    disk.complete(8)
    disk.complete(8)
    assert [(kind, data["io"]) for kind, data in disk.seen] == [
        ("issue", 1), ("issue", 2), ("complete", 1), ("complete", 2)]


def test_what_is_given_back_may_fail_without_a_second_issue(disk: Disks) -> None:
    disk.issue(8)
    disk.requeue(8)
    disk.complete(8, errno=-5)
    assert [kind for kind, _ in disk.seen] == ["issue", "complete"]
    assert disk.ledger.in_flight == 0


def test_what_fails_without_having_been_issued_was_refused(disk: Disks) -> None:
    disk.complete(8, errno=-19)
    assert disk.seen == [("refused", {"op": "write", "sector": 8, "error": "ENODEV"})]
    assert (disk.ledger.in_flight, disk.ledger.ended) == (0, 1)


def test_what_succeeds_without_having_been_issued_is_stray(disk: Disks) -> None:
    disk.issue(8)
    disk.complete(8)
    disk.complete(8)
    assert disk.seen[2] == ("stray", {"op": "write", "sector": 8, "error": None})
    assert disk.ledger.ended == 1


def test_a_flush_has_no_sector(disk: Disks) -> None:
    disk.issue(0, 0, "FF")
    assert disk.ledger.in_flight == 1
    disk.complete((1 << 64) - 1, 0, rwbs="FF")  # blk_rq_pos() of a request without a sector
    disk.complete(0, 0, rwbs="WS")  # the fsync(2) that requested the flush
    assert disk.seen == [
        ("issue", {"io": 1, "op": "flush", "sector": 0, "bytes": 0}),
        ("complete", {"io": 1, "op": "flush", "sector": 0, "error": None, "seconds": 1.0})]
    assert disk.ledger.in_flight == 0


def test_a_flush_that_fails(disk: Disks) -> None:
    disk.issue(0, 0, "FF")
    disk.complete((1 << 64) - 1, 0, -5, "FF")
    assert disk.seen[1][1]["error"] == "EIO"


@pytest.mark.parametrize(("rwbs", "op"), [
    ("W", "write"), ("WS", "write"), ("WFS", "write"), ("FWFSM", "write"), ("FWS", "write"),
    ("R", "read"), ("RA", "read"), ("RSM", "read"), ("FF", "flush"), ("FS", "flush"),
    ("F", "flush"), ("D", "discard"), ("DE", "discard"), ("N", None), ("NS", None),
])
def test_what_a_request_does(rwbs: str, op: str | None) -> None:
    assert operation(rwbs) == op


@pytest.mark.parametrize(("event", "text"), [
    (ISSUE, "8,0 N 36 () 0 + 0 [kworker/0:1]"),
    (ISSUE, "8,0 N 36 () 0 + 0 none,0,0 [kworker/0:1]"),
    (COMPLETE, "8,0 N () 18446744073709551615 + 0 [0]"),
    ("block_bio_queue", "8,0 WS 2048 + 8 [fio]"),
    ("anything", "else"),
])
def test_what_is_no_io_is_passed_over(event: str, text: str) -> None:
    ledger = BlockLedger("sda")
    assert ledger.take(1.0, event, text) is None
    assert (ledger.in_flight, ledger.ended) == (0, 0)


@pytest.mark.parametrize(("text", "name"), [
    ("0", None), ("-5", "EIO"), ("-110", "ETIMEDOUT"), ("-9999", "9999"), ("fio", None)])
def test_errors_by_name(text: str, name: str | None) -> None:
    assert error_name(text) == name


# --- the midlayer --------------------------------------------------------------------------------

COMMAND = {"host": "2:0:1:3", "tag": 112, "scheduler_tag": -1, "opcode": 0x2A,
           "cdb": "2a 00 00 00 36 b8 00 00 08 00"}


@pytest.mark.parametrize(("event", "text", "kind", "more"), [
    ("scsi_dispatch_cmd_start", SCSI, "start", {}),
    ("scsi_dispatch_cmd_done", f"{SCSI} result=({RESULT})", "done", {"result": RESULT}),
    ("scsi_dispatch_cmd_done", f"{SCSI} result=({RESULT}) sense=({SENSE})", "done",
     {"result": RESULT, "sense": SENSE}),
    ("scsi_dispatch_cmd_timeout", f"{SCSI} result=({RESULT})", "timeout", {"result": RESULT}),
    ("scsi_dispatch_cmd_error", f"{SCSI} rtn=4181", "refused", {}),
])
def test_commands(event: str, text: str, kind: str, more: dict[str, str]) -> None:
    assert scsi_event(1.5, event, text) == Event(1.5, "scsi", kind, {**COMMAND, **more})


def test_what_is_no_command_is_passed_over() -> None:
    assert scsi_event(1.0, "scsi_dispatch_cmd_start", "host_no=2") is None


# --- the watcher ---------------------------------------------------------------------------------


class FakeMachine:
    """Records the listener and the requests to the agent."""

    lost: str | None = None

    def __init__(self) -> None:
        self.connection = self
        self.ahead = 0.0
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.listener_call: Callable[[Mapping[str, Any]], None] = lambda _: None

    def watch(self, name: str, listener: Callable[[Mapping[str, Any]], None]) -> None:
        assert name == "trace"
        self.listener_call = listener

    def call(self, verb: str, **arguments: Any) -> None:
        self.calls.append((verb, arguments))

    def now(self) -> float:
        return 77.0


TEXT = """\
             fio-412     [000] ...1.    12.500000: block_rq_issue: 8,0 WS 4096 () 8 + 8 [fio]
 kworker/0:1H-59 [001] d..2. 12.600000: scsi_dispatch_cmd_start: """ + SCSI + """
          <idle>-0       [001] d.s2.    12.750000: block_rq_complete: 8,0 WS () 8 + 8 [0]
CPU:1 [LOST 42 EVENTS]
something that nobody knows
"""


@pytest.mark.parametrize("size", [1, 7, 64, len(TEXT)])
def test_text_is_read_however_it_is_cut(tmp_path: Path, size: int) -> None:
    machine: Any = FakeMachine()
    with Recorder(tmp_path / "history.jsonl") as recorder:
        watcher = TraceWatcher(machine, [Disk("sda", "8:0", "2:0:1:3", "x")], recorder)
        watcher.start()
        for start in range(0, len(TEXT), size):
            machine.listener_call({"t": 1, "text": TEXT[start:start + size]})
        events = recorder.history().events
        watcher.stop()
    assert [(event.time, event.source, event.kind) for event in events] == [
        (12.5, "block", "issue"), (12.6, "scsi", "start"), (12.75, "block", "complete"),
        (77.0, "block", "lost")]
    assert events[3].data == {"count": 42}
    assert watcher.ended == 1
    assert watcher.wait(lambda ledger: ledger.ended == 1, 0.0)
    assert not watcher.wait(lambda ledger: ledger.ended == 2, 0.01)
    (_, start_call), stop_call = machine.calls
    assert start_call["events"]["block/block_rq_complete"] == f"dev == {8 << 20}"
    assert start_call["events"]["scsi/scsi_dispatch_cmd_done"] == "host_no == 2"
    assert stop_call == ("unwatch", {"name": "trace"})


def test_two_disks_have_a_ledger_each(tmp_path: Path) -> None:
    machine: Any = FakeMachine()
    disks = [Disk("sda", "8:0", "2:0:1:3", "x"), Disk("sdb", "8:16", "2:0:1:4", "y")]
    with Recorder(tmp_path / "history.jsonl") as recorder:
        watcher = TraceWatcher(machine, disks, recorder)
        watcher.start()
        for number, event in enumerate(("block_rq_issue", "block_rq_complete")):
            for device in ("8,0", "8,16", "8,32"):
                size = "4096 " if event == "block_rq_issue" else ""
                bracket = "fio" if event == "block_rq_issue" else "0"
                machine.listener_call({"t": 1,
                                       "text": f" fio-1 [000] d..1. {12 + number}.5: {event}: "
                                              f"{device} WS {size}() 8 + 8 [{bracket}]\n"})
        events = recorder.history().events
    assert [(event.kind, event.data["disk"], event.data["io"]) for event in events] == [
        ("issue", "sda", 1), ("issue", "sdb", 1), ("complete", "sda", 1), ("complete", "sdb", 1)]
    assert watcher.ended == 2
    (_, call), *_ = machine.calls
    assert call["events"]["block/block_rq_issue"] == f"dev == {8 << 20} || dev == {(8 << 20) + 16}"
    assert call["events"]["scsi/scsi_dispatch_cmd_done"] == "host_no == 2"
