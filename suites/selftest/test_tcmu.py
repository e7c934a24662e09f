# SPDX-License-Identifier: GPL-2.0-or-later
"""TCMU's ring and the backend on it, with the kernel's side on a bytearray."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from targets.backend.control_guest import Channel
from targets.backend.disk import CHECK_CONDITION, GOOD, RamDisk
from targets.lio import ring_guest as abi
from targets.lio.ring_guest import BrokenRingError, Command, Ring, TaskManagement
from targets.lio.tcmu_guest import Server, Uio, parse

HEADER = Path("/usr/include/linux/target_core_user.h")
RING_AT, RING_SIZE, DATA_AT = 128, 896, 1024
PAGE = 512
"""Bytes of a block of the data area in these tests; the kernel's is a page."""


class Kernel:
    """The kernel's side: adds entries as queue_cmd_ring does, reads their completions."""

    def __init__(self, flags: int = abi.FLAG_CAP_OOOC | abi.FLAG_CAP_READ_LEN) -> None:
        self.area = bytearray(DATA_AT + 64 * PAGE)
        struct.pack_into("=HHII", self.area, 0, 2, flags, RING_AT, RING_SIZE)
        self.head = 0
        self.cleaned = 0
        self.answers: dict[int, tuple[int, int, int, bytes]] = {}
        self.kicks = 0

    def _advance(self, length: int) -> None:
        self.head = (self.head + length) % RING_SIZE
        struct.pack_into("=I", self.area, abi.CMD_HEAD, self.head)

    def _entry(self, length: int) -> int:
        """Make room for an entry; pad to the end of the ring if it does not fit."""
        left = RING_SIZE - self.head
        if length > left:
            struct.pack_into("=I", self.area, RING_AT + self.head, left | abi.OP_PAD)
            self._advance(left)
        at = RING_AT + self.head
        self.area[at:at + length] = bytes(length)
        return at

    def command(self, cmd_id: int, cdb: bytes, pages: tuple[int, ...] = ()) -> None:
        """Queue a command whose data are these pages of the data area."""
        base = max(abi.IOV + 16 * len(pages), 112)
        length = -(-(base + len(cdb)) // 8) * 8
        at = self._entry(length)
        struct.pack_into("=IH", self.area, at, length | abi.OP_CMD, cmd_id)
        struct.pack_into("=I", self.area, at + abi.IOV_CNT, len(pages))
        struct.pack_into("=Q", self.area, at + abi.CDB_OFF, at + base)
        for index, page in enumerate(pages):
            struct.pack_into("=QQ", self.area, at + abi.IOV + 16 * index,
                             DATA_AT + page * PAGE, PAGE)
        self.area[at + base:at + base + len(cdb)] = cdb
        self._advance(length)

    def task_management(self, kind: int, *cmd_ids: int) -> None:
        """Queue a task management notification."""
        length = -(-(abi.TMR_CMD_IDS + 2 * len(cmd_ids)) // 8) * 8
        at = self._entry(length)
        struct.pack_into("=I", self.area, at, length | abi.OP_TMR)
        struct.pack_into("=B3xI", self.area, at + 8, kind, len(cmd_ids))
        struct.pack_into(f"={len(cmd_ids)}H", self.area, at + abi.TMR_CMD_IDS, *cmd_ids)
        self._advance(length)

    def collect(self) -> None:
        """Read completions up to the tail, as tcmu_handle_completions does."""
        self.kicks += 1
        tail, = struct.unpack_from("=I", self.area, abi.CMD_TAIL)
        while self.cleaned != tail:
            at = RING_AT + self.cleaned
            len_op, cmd_id, uflags, status, read_len = struct.unpack_from(
                "=IHxBB3xI", self.area, at)
            if len_op & 7 == abi.OP_CMD:
                assert cmd_id not in self.answers
                sense = bytes(self.area[at + 16:at + 16 + 96])
                self.answers[cmd_id] = status, uflags, read_len, sense
            self.cleaned = (self.cleaned + (len_op & ~7)) % RING_SIZE

    def page(self, number: int) -> memoryview:
        """Return a page of the data area."""
        return memoryview(self.area)[DATA_AT + number * PAGE:DATA_AT + (number + 1) * PAGE]


class FakeUio(Uio):
    """An open device whose memory is the Kernel's; a pipe stands for its descriptor."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.fd, self.wake = os.pipe()
        self.ring = Ring(kernel.area)
        self.closed = False

    def close(self) -> None:
        self.ring.close()
        self.closed = True
        os.close(self.fd)
        os.close(self.wake)

    def kick(self) -> None:
        self.ring.skip()
        self.kernel.collect()


class Bench:
    """A server on a fake device, and the test's end of its channel."""

    def __init__(self, medium: Path, *, time_out: float = 0.0) -> None:
        self.kernel = Kernel()
        self.uio = FakeUio(self.kernel)
        self.disk = RamDisk(str(medium), 64 * PAGE, PAGE, vendor="STF", product="p", serial="s")
        order_end, self._orders = os.pipe()
        self._events, event_end = os.pipe()
        os.set_blocking(self._events, False)
        self._ends = [order_end, event_end]
        self.server = Server(Channel(order_end, event_end), self.disk, self.uio,
                             time_out=time_out)

    def order(self, do: str, **arguments: Any) -> None:
        """Send a request of the test to the server."""
        line = json.dumps({"id": 1, "do": do, **arguments}) + "\n"
        os.write(self._orders, line.encode())

    def hang_up(self) -> None:
        """Close the test's end; run the server until it notices."""
        os.close(self._orders)
        self.server.run()

    def run(self) -> list[dict[str, Any]]:
        """Run the server until its queue is empty, stop it, and return its events."""
        if not self.uio.closed:
            os.write(self.uio.wake, b"wake")
        self.order("exit")
        self.server._exiting = False
        self.server.run()
        return self.events()

    def events(self) -> list[dict[str, Any]]:
        """Return the events emitted since the last call."""
        try:
            text = os.read(self._events, 1 << 20)
        except BlockingIOError:
            return []
        return [json.loads(line) for line in text.splitlines()]

    def close(self) -> None:
        """Close the device, the disk and all descriptors."""
        if not self.uio.closed:
            self.uio.close()
        self.disk.close()
        for descriptor in (*self._ends, self._events):
            os.close(descriptor)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Provide a server on a fake device."""
    made = Bench(tmp_path / "medium")
    yield made
    made.close()


def write10(lba: int, blocks: int = 1) -> bytes:
    return struct.pack(">BxIxHx", 0x2A, lba, blocks)


def read10(lba: int, blocks: int = 1) -> bytes:
    return struct.pack(">BxIxHx", 0x28, lba, blocks)


# the ring alone


def test_entries_are_taken_once_and_in_order() -> None:
    kernel = Kernel()
    ring = Ring(kernel.area)
    kernel.command(7, write10(1), pages=(3, 5))
    kernel.task_management(5, 7, 9)
    first, second = ring.take()
    assert first == Command(7, write10(1).ljust(16, b"\0"),
                            ((DATA_AT + 3 * PAGE, PAGE), (DATA_AT + 5 * PAGE, PAGE)))
    assert second == TaskManagement(5, (7, 9))
    assert list(ring.take()) == []


def test_completion_out_of_order() -> None:
    kernel = Kernel()
    ring = Ring(kernel.area)
    for cmd_id in (1, 2, 3):
        kernel.command(cmd_id, bytes(6))
    assert len(list(ring.take())) == 3
    ring.complete(3, 0)
    kernel.collect()
    assert set(kernel.answers) == {3}
    ring.complete(1, 2, b"\x70sense")
    ring.complete(2, 8)
    kernel.collect()
    assert [kernel.answers[cmd_id][0] for cmd_id in (1, 2, 3)] == [2, 8, 0]
    assert kernel.answers[1][3].rstrip(b"\0") == b"\x70sense"


def test_the_ring_wraps_over_padding() -> None:
    kernel = Kernel()
    ring = Ring(kernel.area)
    for cmd_id in range(1, 40):  # 7 entries of 128 bytes fill the ring
        kernel.command(cmd_id, bytes(6), pages=(1,) * (cmd_id % 5))
        commands = [entry for entry in ring.take() if isinstance(entry, Command)]
        assert [command.cmd_id for command in commands] == [cmd_id]
        ring.complete(cmd_id, 0)
        kernel.collect()
    assert sorted(kernel.answers) == list(range(1, 40))
    assert kernel.cleaned == kernel.head


def test_a_held_command_survives_its_entry_being_used_by_another() -> None:
    kernel = Kernel()
    ring = Ring(kernel.area)
    kernel.command(1, write10(11), pages=(2,))
    held, = ring.take()
    for cmd_id in range(2, 12):
        kernel.command(cmd_id, bytes(6))
        list(ring.take())
        ring.complete(cmd_id, 0)
        kernel.collect()
    assert held == Command(1, write10(11).ljust(16, b"\0"), ((DATA_AT + 2 * PAGE, PAGE),))
    ring.complete(1, 0)
    kernel.collect()
    assert sorted(kernel.answers) == list(range(1, 12))


def test_notifications_give_their_room_back_once_nothing_older_waits() -> None:
    kernel = Kernel()
    ring = Ring(kernel.area)
    kernel.command(1, bytes(6))
    kernel.task_management(1, 1)
    list(ring.take())
    ring.skip()
    kernel.collect()
    assert kernel.cleaned == 0
    ring.complete(1, 0)
    ring.skip()
    kernel.collect()
    assert kernel.cleaned == kernel.head


def test_a_second_reader_begins_at_the_tail() -> None:
    kernel = Kernel()
    first = Ring(kernel.area)
    for cmd_id in (1, 2):
        kernel.command(cmd_id, bytes(6))
    list(first.take())
    first.complete(1, 0)
    first.close()
    assert [entry.cmd_id for entry in Ring(kernel.area).take() if isinstance(entry, Command)] \
        == [2]


def test_read_length_is_told_only_to_a_kernel_that_knows_it() -> None:
    for flags, expected in ((abi.FLAG_CAP_OOOC, 0), (abi.FLAG_CAP_OOOC | 2, 2)):
        kernel = Kernel(flags)
        ring = Ring(kernel.area)
        kernel.command(1, bytes(6), pages=(0,))
        list(ring.take())
        ring.complete(1, 0, read_len=36)
        kernel.collect()
        assert kernel.answers[1][1:3] == (expected, 36)


def test_a_ring_that_cannot_be_is_refused() -> None:
    with pytest.raises(BrokenRingError, match="version"):
        Ring(bytearray(4096))
    with pytest.raises(BrokenRingError, match="flags"):
        Ring(Kernel(flags=0).area)
    kernel = Kernel()
    ring = Ring(kernel.area)
    with pytest.raises(BrokenRingError, match="no entry"):
        ring.complete(1, 0)
    struct.pack_into("=I", kernel.area, abi.CMD_HEAD, 128)
    with pytest.raises(BrokenRingError, match="0 bytes"):
        list(ring.take())


# the backend on the ring


def test_writes_reach_the_medium_and_reads_come_back(bench: Bench) -> None:
    kernel = bench.kernel
    kernel.page(4)[:] = b"a" * PAGE
    kernel.page(9)[:] = b"b" * PAGE
    kernel.command(1, write10(5, 2), pages=(4, 9))
    kernel.command(2, read10(4, 3), pages=(20, 21, 22))
    events = bench.run()
    assert bytes(bench.disk.data[5 * PAGE:7 * PAGE]) == b"a" * PAGE + b"b" * PAGE
    assert [bytes(kernel.page(number)[:1]) for number in (20, 21, 22)] == [b"\0", b"a", b"b"]
    assert {cmd_id: answer[0] for cmd_id, answer in kernel.answers.items()} == {1: 0, 2: 0}
    assert kernel.kicks == 1
    assert events[0]["kind"] == "ready"
    steps = [event for event in events if event["kind"] == "step"]
    assert [(step["action"], step["handle"]) for step in steps] == [
        ("received", 1), ("answered", 1), ("received", 2), ("answered", 2)]
    assert {key: steps[1][key] for key in ("point", "opcode", "direction", "lba", "bytes",
                                           "status")} == {
        "point": "EXEC", "opcode": 0x2A, "direction": "write", "lba": 5, "bytes": 2 * PAGE,
        "status": 0}


def test_short_data_is_told_and_stale_bytes_are_cleared(bench: Bench) -> None:
    kernel = bench.kernel
    kernel.page(0)[:] = b"!" * PAGE
    kernel.command(1, bytes.fromhex("12000000ff00"), pages=(0,))
    bench.run()
    assert kernel.answers[1][:3] == (0, abi.UFLAG_READ_LEN, 96)
    assert bytes(kernel.page(0)[8:16]) == b"STF     "
    assert not any(kernel.page(0)[96:])


def test_a_transfer_that_is_shorter_than_its_command_is_refused(bench: Bench) -> None:
    bench.kernel.page(4)[:] = b"a" * PAGE
    bench.kernel.command(1, write10(5, 2), pages=(4,))
    bench.kernel.command(2, read10(5, 2), pages=(9,))
    bench.run()
    assert {number: answer[0] for number, answer in bench.kernel.answers.items()} == {1: 2, 2: 2}
    assert not any(bench.disk.data[5 * PAGE:7 * PAGE])


def test_a_longer_one_moves_what_the_command_says(bench: Bench) -> None:
    for number in (4, 5, 9, 10):
        bench.kernel.page(number)[:] = b"!" * PAGE
    bench.kernel.command(1, write10(5), pages=(4, 5))
    bench.kernel.command(2, read10(5), pages=(9, 10))
    bench.run()
    assert bench.kernel.answers[1][0] == 0 and not any(bench.disk.data[6 * PAGE:7 * PAGE])
    assert bench.kernel.answers[2][:3] == (0, abi.UFLAG_READ_LEN, PAGE)
    assert not any(bench.kernel.page(10))


def test_only_what_begins_at_these_lbas_is_held(bench: Bench) -> None:
    bench.order("hold", point="EXEC", count=1, direction="write", lbas=[1, 2])
    bench.run()
    bench.kernel.command(1, write10(0), pages=(0,))
    bench.kernel.command(2, write10(1, 2), pages=(1, 2))
    bench.run()
    assert set(bench.kernel.answers) == {1}


def test_a_refused_command_has_sense_and_no_data(bench: Bench) -> None:
    bench.kernel.command(1, read10(1 << 20), pages=(0,))
    events = bench.run()
    status, flags, _, sense = bench.kernel.answers[1]
    assert (status, flags) == (2, 0)
    assert (sense[2], sense[12]) == (5, 0x21)
    assert events[-2]["status"] == 2


def test_held_commands_block_no_others_and_go_on_in_order(bench: Bench) -> None:
    kernel = bench.kernel
    bench.order("hold", point="EXEC", count=2, opcodes=None, direction="write")
    bench.run()
    for page, cmd_id in enumerate((11, 12, 13)):
        kernel.page(page)[:] = bytes([cmd_id]) * PAGE
        kernel.command(cmd_id, write10(page), pages=(page,))
    kernel.command(14, read10(0), pages=(8,))
    events = bench.run()
    assert set(kernel.answers) == {13, 14}
    assert not any(bench.disk.data[:2 * PAGE])
    held, = (event for event in events if event["kind"] == "held")
    assert (held["count"], held["handles"]) == (2, [1, 2])

    bench.order("release")
    events = bench.run()
    assert set(kernel.answers) == {11, 12, 13, 14}
    assert bytes(bench.disk.data[:3 * PAGE:PAGE]) == bytes([11, 12, 13])
    assert [event["handle"] for event in events if event["kind"] == "step"] == [1, 2]


def test_task_management_names_what_is_held(bench: Bench) -> None:
    bench.order("hold", point="EXEC", count=2, opcodes=[0x2A], direction=None)
    bench.run()
    bench.kernel.command(21, write10(0), pages=(0,))
    bench.kernel.command(22, write10(1), pages=(1,))
    bench.kernel.task_management(5, 22)
    events = bench.run()
    request, = (event for event in events if event["kind"] == "tmr")
    assert (request["function"], request["handles"], request["aborted"]) == ("LUN RESET", [2], 1)
    assert not bench.kernel.answers


def test_close_leaves_held_commands_and_serves_on(bench: Bench) -> None:
    bench.order("hold", point="EXEC", count=1)
    bench.run()
    bench.kernel.command(1, write10(0), pages=(0,))
    bench.order("serving")
    bench.order("close")
    bench.order("close")
    bench.order("release")
    bench.order("serving")
    events = bench.run()
    assert bench.uio.closed
    assert not bench.kernel.answers
    assert [event["kind"] for event in events].count("closed") == 1
    replies = [event for event in events if event["kind"] == "reply"]
    assert all(reply["ok"] for reply in replies)
    assert [reply["result"] for reply in replies] == [True, None, None, None, False, None]


def test_the_device_may_be_taken_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(bench.uio, "acknowledge", gone)
    events = bench.run()
    assert bench.uio.closed
    assert any(event["kind"] == "gone" for event in events)


def test_the_backend_ends_with_its_test(bench: Bench) -> None:
    bench.hang_up()
    assert [event["kind"] for event in bench.events()] == ["ready"]


def test_wrong_arguments_end_it() -> None:
    with pytest.raises(SystemExit):
        parse(["--name", "x"])


# the ABI


needs_header = pytest.mark.skipif(not HEADER.exists(), reason=f"no {HEADER} (linux-libc-dev)")


@needs_header
def test_numbers_are_those_of_the_header() -> None:
    text = HEADER.read_text()

    def value(name: str) -> int:
        found = re.search(rf"#define {name}\s+(.+?)(/\*|$)", text, re.MULTILINE)
        assert found, name
        return int(eval(found[1], {}))

    assert value("TCMU_MAILBOX_VERSION") == abi.MAILBOX_VERSION
    assert value("TCMU_MAILBOX_FLAG_CAP_OOOC") == abi.FLAG_CAP_OOOC
    assert value("TCMU_MAILBOX_FLAG_CAP_READ_LEN") == abi.FLAG_CAP_READ_LEN
    assert value("TCMU_MAILBOX_FLAG_CAP_TMR") == abi.FLAG_CAP_TMR
    assert value("TCMU_UFLAG_READ_LEN") == abi.UFLAG_READ_LEN
    assert value("TCMU_OP_MASK") == abi.OP_MASK
    assert value("TCMU_SENSE_BUFFERSIZE") == abi.SENSE_BUFFERSIZE
    for number, name in abi.TMR_NAMES.items():
        assert value("TCMU_TMR_" + name.replace(" ", "_")) == number


LAYOUT = {
    "sizeof(struct tcmu_mailbox)": abi.MAILBOX_SIZE,
    "offsetof(struct tcmu_mailbox, cmdr_off)": abi.CMDR_OFF,
    "offsetof(struct tcmu_mailbox, cmdr_size)": abi.CMDR_SIZE,
    "offsetof(struct tcmu_mailbox, cmd_head)": abi.CMD_HEAD,
    "offsetof(struct tcmu_mailbox, cmd_tail)": abi.CMD_TAIL,
    "offsetof(struct tcmu_cmd_entry_hdr, cmd_id)": abi.CMD_ID,
    "offsetof(struct tcmu_cmd_entry_hdr, uflags)": abi.CMD_ID + 3,
    "offsetof(struct tcmu_cmd_entry, req.iov_cnt)": abi.IOV_CNT,
    "offsetof(struct tcmu_cmd_entry, req.cdb_off)": abi.CDB_OFF,
    "offsetof(struct tcmu_cmd_entry, req.iov)": abi.IOV,
    "offsetof(struct tcmu_cmd_entry, rsp.scsi_status)": 8,
    "offsetof(struct tcmu_cmd_entry, rsp.read_len)": 12,
    "offsetof(struct tcmu_cmd_entry, rsp.sense_buffer)": abi.RSP_SENSE_BUFFER,
    "offsetof(struct tcmu_tmr_entry, tmr_type)": 8,
    "offsetof(struct tcmu_tmr_entry, cmd_cnt)": abi.TMR_CMD_CNT,
    "offsetof(struct tcmu_tmr_entry, cmd_ids)": abi.TMR_CMD_IDS,
    "TCMU_OP_PAD": abi.OP_PAD, "TCMU_OP_CMD": abi.OP_CMD, "TCMU_OP_TMR": abi.OP_TMR,
}


@needs_header
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_layout_is_that_of_the_header(tmp_path: Path) -> None:
    source = tmp_path / "layout.c"
    checks = "\n".join(
        f'_Static_assert({what} == {value}, "{what}");' for what, value in LAYOUT.items())
    source.write_text(
        f"#include <stddef.h>\n#include <linux/target_core_user.h>\n{checks}\n")
    done = subprocess.run(["cc", "-fsyntax-only", str(source)], capture_output=True, text=True,
                          check=False)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("late", [True, False])
def test_what_tcmu_has_given_up_is_not_carried_out_any_more(tmp_path: Path, late: bool) -> None:
    bench = Bench(tmp_path / "medium", time_out=0.3 if late else 30.0)
    bench.order("hold", point="EXEC", count=1)
    bench.run()
    bench.kernel.page(4)[:] = b"a" * PAGE
    bench.kernel.command(1, write10(2), pages=(4,))
    bench.run()
    time.sleep(0.3)
    bench.order("release")
    steps = [event["action"] for event in bench.run() if event.get("kind") == "step"]
    assert steps == ["given up" if late else "answered"]
    assert bench.kernel.answers[1][0] == (CHECK_CONDITION if late else GOOD)
    assert bytes(bench.disk.data[2 * PAGE:3 * PAGE]) == (bytes(PAGE) if late else b"a" * PAGE)
    bench.close()
