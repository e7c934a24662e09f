# SPDX-License-Identifier: GPL-2.0-or-later
"""The scst_user backend against a stand-in for the kernel's side of the ioctls."""

from __future__ import annotations

import ctypes
import errno
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from targets.backend.control_guest import Channel, Holds
from targets.backend.disk import CHECK_CONDITION, GOOD, Opcode, RamDisk
from targets.scst import abi
from targets.scst.abi import ExecReply, MemoryReuseType, OnFreeCmdType, Subcode
from targets.scst.user_guest.device import Device, WriteSame
from targets.scst.user_guest.getter import CMDS_AT, Getter
from targets.scst.user_guest.memory import PAGE, Memory
from targets.scst.user_guest.outputs import GET_SIZE
from targets.scst.user_guest.registration import RegistrationError, register
from targets.scst.user_spec import DeviceSpec

BLOCK = 512
SIZE = 1 << 20
WRITE, READ, NONE = 1, 2, 4


class Kernel:
    """Hands out staged commands, and reads the replies as the kernel does."""

    def __init__(self) -> None:
        self.staged: list[abi.GetCmd] = []
        self.replies: list[abi.ReplyCmd] = []
        self.refuse: dict[int, int] = {}
        self.requested: list[int] = []
        self.ext_cdb = b""
        self.copy: Callable[[bytes, bytes], bytes] = lambda command, _: command
        """What a caller gets: of the subcommand, and what was in its place before."""
        self.counts: Callable[[int, int], tuple[int, int]] = lambda done, fetched: (done, fetched)
        """What REPLY_AND_GET_MULTI returns as replies_done and cmds_cnt."""

    def ioctl(self, _: int, request: int, argument: Any = 0, mutate: bool = False) -> int:
        if request == abi.REPLY_AND_GET_CMD:
            assert mutate
            preply = abi.GetCmd.from_buffer_copy(argument).preply
            if preply:
                self._take_at(preply)
            self._must_have_some()
            argument[:] = self.copy(bytes(self.staged.pop(0)), bytes(argument))
        elif request == abi.REPLY_CMD:
            self._take(argument)
        elif request == abi.GET_EXTENDED_CDB:
            room = abi.GetExtCdb.from_buffer_copy(argument)
            self.requested.append(room.cmd_h)
            ctypes.memmove(room.ext_cdb_buffer, self.ext_cdb, len(self.ext_cdb))
        else:
            raise AssertionError(f"ioctl {request:#x}")
        return 0

    def ioctl_at(self, _: int, request: int, address: int) -> Callable[[], int]:
        """Follow the C library's convention: a negative result and an errno, no exception."""
        assert request == abi.REPLY_AND_GET_MULTI
        return partial(self._result, address)

    def _result(self, address: int) -> int:
        try:
            self._multi(address)
            multi = abi.GetMulti.from_address(address)
            multi.replies_done, multi.cmds_cnt = self.counts(multi.replies_done, multi.cmds_cnt)
        except OSError as error:
            ctypes.set_errno(error.errno or 0)
            return -1
        return 0

    def _multi(self, address: int) -> None:
        multi = abi.GetMulti.from_address(address)
        room, multi.cmds_cnt, multi.replies_done = multi.cmds_cnt, 0, 0
        for number in range(multi.replies_cnt):
            self._take_at(multi.preplies + number * ctypes.sizeof(abi.ReplyCmd))
            multi.replies_done += 1
        self._must_have_some()
        while self.staged and multi.cmds_cnt < room:
            place = address + CMDS_AT + multi.cmds_cnt * GET_SIZE
            command = self.copy(bytes(self.staged.pop(0)), ctypes.string_at(place, GET_SIZE))
            ctypes.memmove(place, command, GET_SIZE)
            multi.cmds_cnt += 1

    def _must_have_some(self) -> None:
        if not self.staged:
            raise InterruptedError(errno.EINTR, "nothing staged")

    def _take_at(self, address: int) -> None:
        self._take(ctypes.string_at(address, ctypes.sizeof(abi.ReplyCmd)))

    def _take(self, reply: bytes) -> None:
        taken = abi.ReplyCmd.from_buffer_copy(reply)
        if taken.cmd_h in self.refuse:
            raise OSError(self.refuse.pop(taken.cmd_h), "refused")
        self.replies.append(taken)


class Bench:
    """A device on a stand-in kernel, with the test's end of its channel."""

    def __init__(self, folder: Path, *, multi: bool = False, **options: Any) -> None:
        self.kernel = Kernel()
        self.disk = RamDisk(str(folder / "medium"), SIZE, BLOCK, vendor="STF",
                            product="test", serial="1")
        self.memory = Memory()
        commands, orders = os.pipe()
        self._events, events = os.pipe()
        self._pipes = (commands, orders, self._events, events)
        os.set_blocking(self._events, False)
        self.channel = Channel(commands, events)
        self.holds = Holds(self.channel)
        self.spec = DeviceSpec("stf0", str(folder / "medium"), SIZE, BLOCK, "STF", "test", "1",
                               options)
        self.device = self.another(self.spec)
        self.getter = Getter(self.device, multi=multi, ioctl=self.kernel.ioctl_at)
        self.lent = self.memory.taken

    def another(self, spec: DeviceSpec, sessions: dict[int, Device] | None = None) -> Device:
        """Return another device of the same process."""
        return Device(spec, 99, self.disk, self.memory, channel=self.channel, holds=self.holds,
                      ioctl=self.kernel.ioctl, sessions=sessions)

    def work(self, *commands: abi.GetCmd) -> list[abi.ReplyCmd]:
        """Stage commands, let the device serve them, and return its replies."""
        self.kernel.staged += commands
        before = len(self.kernel.replies)
        while self.getter.turn():
            pass
        return self.kernel.replies[before:]

    def hold(self, point: str, count: int, opcodes: list[int] | None = None) -> None:
        """Order a hold, as the test's request does."""
        self.holds.order(point, count, opcodes)
        self.device.review()

    def steps(self, on: bool) -> None:
        """Set whether steps are emitted."""
        self.device.steps = on
        self.device.review()

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events since the last call, optionally of these kinds."""
        self.channel.flush()
        try:
            text = os.read(self._events, 1 << 16)
        except BlockingIOError:
            return []
        return [event for event in map(json.loads, text.splitlines())
                if not kinds or event["kind"] in kinds]

    def close(self) -> None:
        """Stop the getter and close all descriptors."""
        self.getter.stop()
        for descriptor in self._pipes:
            os.close(descriptor)

    @property
    def borrowed(self) -> int:
        """Number of buffers that the kernel holds."""
        return self.memory.taken - self.lent


@pytest.fixture(params=[False, True], ids=["single", "multi"])
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(tmp_path, multi=request.param)
    yield made
    made.close()


@pytest.fixture
def with_options(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Provide a factory of benches with device options."""
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=[False, True], ids=["watched", "quick"])
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def command(handle: int, subcode: Subcode, member: str = "", **values: Any) -> abi.GetCmd:
    made = abi.GetCmd(cmd_h=handle, subcode=int(subcode))
    for name, value in values.items():
        body = getattr(made, member)
        if name == "cdb":
            body.cdb[:len(value)] = value
            body.cdb_len = len(value)
        else:
            setattr(body, name, value)
    return made


def cdb(opcode: Opcode, lba: int = 0, blocks: int = 0) -> bytes:
    return bytes([opcode, 0, *lba.to_bytes(4, "big"), 0, *blocks.to_bytes(2, "big"), 0])


def alloc(handle: int, blocks: int, sess: int = 1) -> abi.GetCmd:
    return command(handle, Subcode.ALLOC_MEM, "alloc_cmd", cdb=cdb(Opcode.WRITE_10, 0, blocks),
                   alloc_len=blocks * BLOCK, data_direction=WRITE, sess_h=sess)


def write(handle: int, lba: int, blocks: int, pbuf: int) -> abi.GetCmd:
    return command(handle, Subcode.EXEC, "exec_cmd", cdb=cdb(Opcode.WRITE_10, lba, blocks),
                   lba=lba, bufflen=blocks * BLOCK, data_len=blocks * BLOCK, pbuf=pbuf,
                   data_direction=WRITE, sess_h=1)


def read(handle: int, lba: int, blocks: int, pbuf: int = 0) -> abi.GetCmd:
    return command(handle, Subcode.EXEC, "exec_cmd", cdb=cdb(Opcode.READ_10, lba, blocks),
                   lba=lba, bufflen=blocks * BLOCK, data_len=blocks * BLOCK, pbuf=pbuf, sess_h=1,
                   alloc_len=0 if pbuf else max(blocks * BLOCK, PAGE), data_direction=READ)


def on_free(handle: int, pbuf: int, cached: bool) -> abi.GetCmd:
    return command(handle, Subcode.ON_FREE_CMD, "on_free_cmd", pbuf=pbuf, buffer_cached=cached)


def test_what_is_written_is_read(bench: Bench, quick: bool) -> None:
    bench.steps(not quick)
    given, = bench.work(alloc(1, 2))
    pbuf = given.alloc_reply.pbuf
    bench.memory.view(pbuf)[:2 * BLOCK] = b"ab" * BLOCK
    done, = bench.work(write(1, 5, 2, pbuf))
    assert (done.cmd_h, done.exec_reply.status) == (1, GOOD)
    assert done.exec_reply.resp_data_len == 0
    assert bench.disk.data[5 * BLOCK:7 * BLOCK] == b"ab" * BLOCK
    got, = bench.work(read(2, 5, 2))
    assert got.exec_reply.resp_data_len == 2 * BLOCK
    kept = got.exec_reply.pbuf
    assert bench.memory.view(kept)[:2 * BLOCK] == b"ab" * BLOCK
    bench.disk.data[5 * BLOCK:6 * BLOCK] = b"cd" * (BLOCK // 2)
    got, = bench.work(read(3, 5, 1, kept))
    assert (got.cmd_h, got.exec_reply.resp_data_len, got.exec_reply.status) == (3, BLOCK, GOOD)
    assert bench.memory.view(kept)[:BLOCK] == b"cd" * (BLOCK // 2)


def test_a_cached_buffer_is_used_again(bench: Bench) -> None:
    first, = bench.work(read(1, 0, 1))
    again, = bench.work(read(2, 0, 1, pbuf=first.exec_reply.pbuf))
    assert again.exec_reply.resp_data_len == BLOCK
    assert bench.borrowed == 1


def test_an_inquiry_says_what_the_disk_is(bench: Bench) -> None:
    inquiry = command(1, Subcode.EXEC, "exec_cmd", cdb=bytes([0x12, 0, 0, 0, 96, 0]), bufflen=96,
                      alloc_len=PAGE, data_direction=READ)
    reply, = bench.work(inquiry)
    assert bytes(bench.memory.view(reply.exec_reply.pbuf)[8:16]) == b"STF     "


@pytest.mark.parametrize("lba", [SIZE // BLOCK, SIZE // BLOCK - 1, 1 << 31])
def test_a_wrong_command_gets_sense_data(bench: Bench, quick: bool, lba: int) -> None:
    bench.steps(not quick)
    pbuf = bench.memory.take(2 * BLOCK)
    reply, = bench.work(read(1, lba, 2, pbuf))
    answer = reply.exec_reply
    assert answer.status == CHECK_CONDITION
    sense = ctypes.string_at(answer.psense_buffer, answer.sense_len)
    assert (sense[2], sense[12]) == (5, 0x21)
    assert answer.resp_data_len == 0


def test_a_command_without_data_keeps_no_buffer(bench: Bench) -> None:
    reply, = bench.work(read(1, bench.disk.blocks, 1))
    assert (reply.exec_reply.pbuf, bench.borrowed) == (0, 0)


def test_several_failures_at_once_have_their_own_sense_data(bench: Bench) -> None:
    nonsense = command(2, Subcode.EXEC, "exec_cmd", cdb=bytes([0xFF] * 10), data_direction=NONE)
    first, second = bench.work(read(1, bench.disk.blocks, 1), nonsense)
    if bench.getter.multi:
        codes = [ctypes.string_at(reply.exec_reply.psense_buffer, 18)[12]
                 for reply in (first, second)]
        assert codes == [0x21, 0x20]


def test_a_long_cdb_is_fetched(bench: Bench) -> None:
    bench.kernel.ext_cdb = b"\1" * 16
    long = command(9, Subcode.EXEC, "exec_cmd", cdb=bytes([0x7F]), data_direction=NONE)
    long.exec_cmd.cdb_len = 32
    reply, = bench.work(long)
    assert bench.kernel.requested == [9]
    assert reply.exec_reply.status == CHECK_CONDITION


@pytest.mark.parametrize(("on_free_type", "reuse"), [
    (OnFreeCmdType.CALL, MemoryReuseType.NONE), (OnFreeCmdType.CALL, MemoryReuseType.READ)])
def test_an_uncached_buffer_comes_back_with_its_command(
    with_options: Callable[..., Bench], on_free_type: OnFreeCmdType, reuse: MemoryReuseType
) -> None:
    bench = with_options(on_free_cmd_type=on_free_type, memory_reuse_type=reuse)
    given, = bench.work(alloc(1, 1))
    pbuf = given.alloc_reply.pbuf
    bench.work(write(1, 0, 1, pbuf))
    assert bench.borrowed == 1
    bench.work(on_free(1, pbuf, cached=False))
    assert bench.borrowed == 0


def test_a_cached_buffer_comes_back_from_the_cache(bench: Bench) -> None:
    given, = bench.work(alloc(1, 1))
    pbuf = given.alloc_reply.pbuf
    bench.work(write(1, 0, 1, pbuf), on_free(1, pbuf, cached=True))
    assert bench.borrowed == 1
    bench.work(command(1, Subcode.ON_CACHED_MEM_FREE, "on_cached_mem_free", pbuf=pbuf))
    assert bench.borrowed == 0


@pytest.mark.parametrize("cached", [True, False])
def test_a_detached_session_does_not_take_the_buffers_of_its_commands_back(
    bench: Bench, cached: bool,
) -> None:
    """Pages of a detached session's commands stay the kernel's until ON_FREE_CMD.

    ON_FREE_CMD may come after DETACH_SESS (seen on 3.11.0-pre: a WRITE lost its data when the
    connection was closed).
    """
    given, = bench.work(alloc(1, 1, sess=7))
    pbuf = given.alloc_reply.pbuf
    bench.memory.view(pbuf)[:4] = b"kept"
    bench.work(command(2, Subcode.DETACH_SESS, "sess", sess_h=7))
    assert (bench.borrowed, bytes(bench.memory.view(pbuf)[:4])) == (1, b"kept")
    bench.work(on_free(1, pbuf, cached=cached))
    assert bench.borrowed == (1 if cached else 0)


def test_a_buffer_that_the_kernel_did_not_take_comes_back(bench: Bench) -> None:
    reply, = bench.work(read(1, 0, 1))
    assert reply.exec_reply.pbuf
    bench.work(on_free(1, 0, cached=True))  # the command was aborted before
    assert bench.borrowed == 0


@pytest.mark.parametrize("direction", ["write", "read"])
def test_without_on_free_an_uncached_buffer_comes_back_at_once(
    with_options: Callable[..., Bench], direction: str
) -> None:
    bench = with_options(on_free_cmd_type=OnFreeCmdType.IGNORE,
                         memory_reuse_type=MemoryReuseType.NONE)
    if direction == "write":
        given, = bench.work(alloc(1, 1))
        bench.work(write(1, 0, 1, given.alloc_reply.pbuf))
    else:
        bench.work(read(1, 0, 1))
    assert bench.borrowed == 0


def test_without_on_free_a_lost_buffer_comes_back_with_its_session(
    with_options: Callable[..., Bench]
) -> None:
    bench = with_options(on_free_cmd_type=OnFreeCmdType.IGNORE,
                         memory_reuse_type=MemoryReuseType.NONE)
    bench.work(alloc(1, 1, sess=7), alloc(2, 1, sess=8))  # both are aborted before EXEC
    bench.work(command(3, Subcode.DETACH_SESS, "sess", sess_h=7))
    assert bench.borrowed == 1


def test_sessions_are_told(bench: Bench) -> None:
    attach = command(1, Subcode.ATTACH_SESS, "sess", sess_h=7, lun=0, initiator_name=b"iqn.i",
                     target_name=b"iqn.t")
    reply, = bench.work(attach)
    assert reply.result == 0
    event, = bench.events("session")
    assert (event["action"], event["initiator"], event["target"]) == (
        "attached", "iqn.i", "iqn.t")


@pytest.mark.parametrize(("subcode", "stage"), [
    (Subcode.TASK_MGMT_RECEIVED, "received"), (Subcode.TASK_MGMT_DONE, "done")])
def test_task_management_is_told(bench: Bench, subcode: Subcode, stage: str) -> None:
    reply, = bench.work(command(4, subcode, "tm_cmd", fn=0, cmd_h_to_abort=77, sess_h=5))
    assert (reply.cmd_h, reply.subcode, reply.result) == (4, subcode, 0)
    event, = bench.events("tmr")
    assert (event["device"], event["stage"], event["function"], event["handles"]) == (
        "stf0", stage, "ABORT_TASK", [77])


def remap(src: int, dst: int, blocks: int, source: int = 1, sink: int = 1) -> abi.GetCmd:
    made = command(5, Subcode.EXT_COPY_REMAP, "remap_cmd", sess_h=1, src_sess_h=source,
                   dst_sess_h=sink)
    made.remap_cmd.data_descr = abi.ExtCopyDataDescr(src, dst, blocks * BLOCK)
    return made


def test_an_extended_copy_is_carried_out(bench: Bench) -> None:
    bench.work(command(1, Subcode.ATTACH_SESS, "sess", sess_h=1))
    bench.disk.data[3 * BLOCK:5 * BLOCK] = b"xy" * BLOCK
    reply, = bench.work(remap(3, 4, 2))
    event, *_ = (each for each in bench.events("step") if each["point"] == "EXT_COPY_REMAP")
    assert (event["opcode"], event["direction"], event["lba"], event["bytes"]) == (
        0x83, "write", 4, 2 * BLOCK)
    assert reply.remap_reply.remap_descriptors_len == 0
    assert bench.disk.data[4 * BLOCK:6 * BLOCK] == b"xy" * BLOCK


@pytest.mark.parametrize("requested", [
    remap(3, 4, 2, source=9), remap(3, SIZE // BLOCK - 1, 2), remap(SIZE // BLOCK, 0, 1)])
def test_an_extended_copy_that_is_not_ours_is_left_to_scst(
    bench: Bench, requested: abi.GetCmd
) -> None:
    bench.work(command(1, Subcode.ATTACH_SESS, "sess", sess_h=1))
    before = bytes(bench.disk.data)
    answer = bench.work(requested)[0].remap_reply
    assert answer.remap_descriptors_len == ctypes.sizeof(abi.ExtCopyDataDescr)
    left = ctypes.string_at(answer.remap_descriptors, answer.remap_descriptors_len)
    assert left == bytes(requested.remap_cmd.data_descr)
    assert bytes(bench.disk.data) == before


PARSES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "blocks become bytes": (
        {"bufflen": 8, "data_len": 8, "op_flags": 0x24, "data_direction": READ, "lba": 3},
        {"bufflen": 4096, "data_len": 4096, "op_flags": 0x24, "data_direction": READ, "lba": 3}),
    "nothing to transfer": (
        {"op_flags": 0x60, "data_direction": READ, "lba": -1},
        {"bufflen": 0, "data_direction": NONE, "lba": 0}),
    "unknown operation code": (
        {"expected_values_set": 1, "expected_data_direction": WRITE,
         "expected_transfer_len": 512},
        {"bufflen": 512, "data_len": 512, "data_direction": WRITE, "op_flags": 0x260}),
    "unknown length": (
        {"op_flags": 0x30, "data_direction": READ, "expected_values_set": 1,
         "expected_transfer_len": 99},
        {"bufflen": 99, "data_direction": READ, "op_flags": 0x20}),
}


@pytest.mark.parametrize(("given", "expected"), PARSES.values(), ids=PARSES)
def test_parse(bench: Bench, given: dict[str, int], expected: dict[str, int]) -> None:
    reply, = bench.work(command(1, Subcode.PARSE, "parse_cmd", cdb=bytes(10), **given))
    assert reply.parse_reply.status == 0
    assert {name: getattr(reply.parse_reply, name) for name in expected} == expected


def test_parse_refuses_what_is_longer_than_a_reply_can_say(bench: Bench) -> None:
    reply, = bench.work(command(1, Subcode.PARSE, "parse_cmd", cdb=bytes(16), op_flags=0x24,
                                bufflen=(1 << 31) - 1, data_direction=READ))
    assert reply.parse_reply.status == 2
    sense = ctypes.string_at(reply.parse_reply.psense_buffer, reply.parse_reply.sense_len)
    assert (sense[2], sense[12:14]) == (5, b"\x24\0")


def test_held_commands_are_answered_in_any_order(bench: Bench) -> None:
    bench.hold("EXEC", 2, [Opcode.READ_10])
    answered = bench.work(read(1, 0, 1), read(2, 1, 1), read(3, 2, 1))
    assert [reply.cmd_h for reply in answered] == [3]
    assert bench.events("held")[0]["handles"] == [1, 2]
    bench.device.answer(2, {}, None, 1)
    bench.device.release()
    assert [reply.cmd_h for reply in bench.kernel.replies] == [3, 2, 1]
    assert [(event["action"], event["handle"]) for event in bench.events("step")] == [
        ("answered", 2), ("answered", 1)]


def test_a_hold_for_another_device_holds_nothing(bench: Bench) -> None:
    bench.holds.order("EXEC", 1, device="stf1")
    bench.device.review()
    assert len(bench.work(read(1, 0, 1))) == 1


@pytest.mark.parametrize("point", ["PARSE", "ALLOC_MEM", "ON_FREE_CMD", "ATTACH_SESS"])
def test_every_point_can_be_held(bench: Bench, point: str) -> None:
    bench.hold(point, 1)
    assert bench.work(command(1, Subcode[point])) == []
    bench.device.release()
    assert [reply.cmd_h for reply in bench.kernel.replies] == [1]


def test_steps_say_what_a_command_is(bench: Bench) -> None:
    bench.work(read(1, 5, 2), on_free(1, 0, cached=False))
    steps = [(e["point"], e["action"], e["opcode"], e["direction"], e["lba"], e["bytes"])
             for e in bench.events("step")]
    shown = (Opcode.READ_10, "read", 5, 2 * BLOCK)
    assert steps == [
        ("EXEC", "received", *shown), ("EXEC", "answered", *shown),
        ("ON_FREE_CMD", "received", *shown), ("ON_FREE_CMD", "answered", *shown)]


def test_a_refused_answer_is_told(bench: Bench) -> None:
    bench.kernel.refuse[1] = errno.ESRCH
    bench.work(read(1, 0, 1), read(2, 0, 1))
    assert [reply.cmd_h for reply in bench.kernel.replies] == [2]
    event, = bench.events("refused")
    assert (event["handle"], event["error"]) == (1, "ESRCH")


def test_a_refused_answer_does_not_keep_others_back(bench: Bench) -> None:
    bench.kernel.refuse[2] = errno.EINVAL
    replies = bench.work(*(read(handle, handle, 1) for handle in range(1, 6)))
    assert [reply.cmd_h for reply in replies] == [1, 3, 4, 5]
    event, = bench.events("refused")
    assert (event["handle"], event["error"]) == (2, "EINVAL")


@pytest.mark.parametrize("steps", [True, False])
def test_without_steps_commands_are_only_answered(bench: Bench, steps: bool) -> None:
    bench.steps(steps)
    reply, = bench.work(read(1, 0, 1))
    assert reply.exec_reply.resp_data_len == BLOCK
    assert len(bench.events("step")) == 2 * steps


@pytest.mark.parametrize("watch", ["steps", "hold", "misbehave", "background"])
def test_what_is_watched_does_not_go_the_quick_way(bench: Bench, watch: str) -> None:
    pbuf = bench.memory.take(BLOCK)
    bench.steps(False)
    assert bench.device.quick(bytes(read(1, 0, 1, pbuf)), 0, memoryview(bytearray(99)), 0)
    if watch == "steps":
        bench.steps(True)
    elif watch == "hold":
        bench.hold("PARSE", 1)
    elif watch == "misbehave":
        bench.device.misbehave(how="skip", count=1)
    else:
        bench.device.background = True
        bench.device.review()
    assert not bench.device.quick(bytes(read(1, 0, 1, pbuf)), 0, memoryview(bytearray(99)), 0)


def test_a_write_that_keeps_its_loan_does_not_go_the_quick_way(
    with_options: Callable[..., Bench]
) -> None:
    bench = with_options(on_free_cmd_type=OnFreeCmdType.IGNORE,
                         memory_reuse_type=MemoryReuseType.READ)
    bench.steps(False)
    given, = bench.work(alloc(1, 1))
    bench.work(write(1, 0, 1, given.alloc_reply.pbuf))
    assert bench.borrowed == 0


def test_when_the_device_is_forgotten_so_is_what_is_held(bench: Bench) -> None:
    bench.hold("EXEC", 1)
    bench.work(read(1, 0, 1))
    bench.device.forget()
    bench.device.release()
    assert bench.kernel.replies == []


def test_what_comes_in_the_background(bench: Bench) -> None:
    bench.device.background = True
    bench.device.review()
    given, = bench.work(alloc(1, 1))
    replies = bench.work(write(1, 0, 1, given.alloc_reply.pbuf), read(2, 0, 1))
    assert [(reply.cmd_h, reply.exec_reply.reply_type) for reply in replies] == [
        (1, ExecReply.BACKGROUND), (1, ExecReply.COMPLETED), (2, ExecReply.COMPLETED)]


WRITE_SAME = bytes([0x93, 0, *(8).to_bytes(8, "big"), *(5).to_bytes(4, "big"), 0, 0])


@pytest.mark.parametrize(("by", "listed"), [
    (WriteSame.KERNEL, []), (WriteSame.DESCRIPTORS, [(8, 2), (10, 3), (0, 0)])])
def test_write_same_is_left_to_scst(
    bench: Bench, by: WriteSame, listed: list[tuple[int, int]]
) -> None:
    bench.device.write_same = by
    pbuf = bench.memory.take(BLOCK)
    before = bytes(bench.disk.data)
    answer = bench.work(command(1, Subcode.EXEC, "exec_cmd", cdb=WRITE_SAME, pbuf=pbuf, lba=8,
                                bufflen=BLOCK, data_direction=WRITE))[0].exec_reply
    assert (answer.reply_type, answer.status) == (ExecReply.DO_WRITE_SAME, GOOD)
    size = ctypes.sizeof(abi.DataDescriptor)
    found = [abi.DataDescriptor.from_buffer_copy(ctypes.string_at(at, size))
             for at in range(answer.ws_descriptors,
                             answer.ws_descriptors + answer.ws_descriptors_len, size)]
    assert [(each.usdd_lba, each.usdd_blocks) for each in found] == listed
    assert bytes(bench.disk.data) == before


# wrong replies


def hold_read(bench: Bench, handle: int = 1) -> None:
    bench.hold("EXEC", 1)
    assert bench.work(read(handle, 0, 1)) == []
    bench.events()


def test_a_wrong_answer(bench: Bench) -> None:
    hold_read(bench)
    answered = bench.device.answer(None, {"status": "BUSY", "resp_data_len": 7, "sense": "7000ff"},
                                   None, 1)
    assert answered == {"handle": 1, "errors": [None]}
    answer = bench.kernel.replies[-1].exec_reply
    assert (answer.status, answer.resp_data_len, answer.sense_len) == (8, 7, 3)
    assert ctypes.string_at(answer.psense_buffer, 3) == bytes.fromhex("7000ff")
    event, = bench.events("misanswered")
    assert (event["point"], event["handle"], event["errors"]) == ("EXEC", 1, [None])
    bench.device.release()
    assert len(bench.kernel.replies) == 1


@pytest.mark.parametrize(("fields", "as_handle"), [
    ({}, 5), ({"reply_type": "BACKGROUND"}, None), ({"subcode": "PARSE"}, None)])
def test_a_command_that_is_not_ended_can_be_answered_again(
    bench: Bench, fields: dict[str, Any], as_handle: int | None
) -> None:
    hold_read(bench)
    if "subcode" in fields:
        bench.kernel.refuse[1] = errno.EINVAL
    answered = bench.device.answer(1, fields, as_handle, 1)
    assert answered["errors"] == ["EINVAL" if "subcode" in fields else None]
    assert bench.device.answer(1, {}, None, 1)["errors"] == [None]
    assert bench.kernel.replies[-1].exec_reply.reply_type == ExecReply.COMPLETED
    with pytest.raises(ValueError, match="no command 1 of stf0 is held"):
        bench.device.answer(1, {}, None, 1)


def test_a_command_that_is_not_ended_is_released(bench: Bench) -> None:
    hold_read(bench)
    bench.device.answer(1, {}, 5, 1)
    bench.device.release()
    assert [reply.cmd_h for reply in bench.kernel.replies] == [5, 1]


def test_an_answer_given_twice(bench: Bench) -> None:
    hold_read(bench)
    answered = bench.device.answer(1, {}, None, 2)
    assert answered["errors"] == [None, None]
    assert [reply.cmd_h for reply in bench.kernel.replies] == [1, 1]


@pytest.mark.parametrize(("fields", "words"), [
    ({"nonsense": 1}, "EXEC has no field nonsense"),
    ({"remap_descriptors": 1}, "no field remap_descriptors"),
    ({"exec_reply": 1}, "no field exec_reply"),
    ({"status": "SOSO"}, "status is one of GOOD, CHECK_CONDITION"),
    ({"status": 300}, "status has no room for 300"),
    ({"pbuf": "x"}, "pbuf cannot be 'x'"),
    ({"sense": "00" * 600}, "room for 512 bytes, not 600"),
])
def test_an_answer_that_cannot_be(bench: Bench, fields: dict[str, Any], words: str) -> None:
    hold_read(bench)
    with pytest.raises(ValueError, match=words):
        bench.device.answer(1, fields, None, 1)
    bench.device.release()
    assert bench.kernel.replies[-1].exec_reply.status == GOOD


def test_descriptors_can_be_listed(bench: Bench) -> None:
    hold_read(bench)
    bench.device.answer(1, {"reply_type": "DO_WRITE_SAME", "ws_descriptors": [[1, 2], [0, 0]]},
                        None, 1)
    answer = bench.kernel.replies[-1].exec_reply
    assert ctypes.string_at(answer.ws_descriptors, answer.ws_descriptors_len) == b"".join(
        number.to_bytes(8, "little") for number in (1, 2, 0, 0))


# several devices


def test_another_devices_buffer_comes_back_here(bench: Bench) -> None:
    other = Getter(bench.another(replace(bench.spec, name="stf1")), multi=False)
    given, = bench.work(alloc(1, 1))
    before = bench.memory.taken
    slot = other._sheet.slots[0]
    other._device.take(bytes(command(8, Subcode.ON_CACHED_MEM_FREE, "on_cached_mem_free",
                                     pbuf=given.alloc_reply.pbuf)), slot)
    assert bench.memory.taken == before - 1
    assert bench.events("refused") == []


def test_a_copy_between_devices(bench: Bench, tmp_path: Path) -> None:
    sessions: dict[int, Device] = {}
    sink = RamDisk(str(tmp_path / "sink"), SIZE, BLOCK, vendor="STF", product="t", serial="2")
    one = bench.another(bench.spec, sessions)
    two = Device(replace(bench.spec, name="stf1"), 98, sink, bench.memory, channel=bench.channel,
                 holds=bench.holds, ioctl=bench.kernel.ioctl, sessions=sessions)
    slot = bench.getter._sheet.slots[0]
    for device, session in ((one, 1), (two, 2)):
        device.take(bytes(command(1, Subcode.ATTACH_SESS, "sess", sess_h=session)), slot)
    bench.disk.data[:BLOCK] = b"z" * BLOCK
    one.take(bytes(remap(0, 7, 1, source=1, sink=2)), slot)
    assert sink.data[7 * BLOCK:8 * BLOCK] == b"z" * BLOCK
    two.forget()
    assert sessions == {1: one}


@pytest.mark.parametrize("shared", [0, 1])
def test_what_was_lent_goes_with_the_device_unless_the_pool_is_shared(
    with_options: Callable[..., Bench], shared: int
) -> None:
    bench = with_options(sgv_shared=shared)
    bench.work(alloc(1, 1), read(2, 0, 1))
    assert bench.borrowed == 2
    bench.device.forget()
    assert bench.borrowed == 2 * shared


# registration


def spec(**fields: Any) -> DeviceSpec:
    return DeviceSpec(**{"name": "stf0", "medium": "/nowhere", "size": SIZE, "block_size": BLOCK,
                         "vendor": "STF", "product": "p", "serial": "s", **fields})


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "x" * (abi.NAME_MAX + 1)])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(RegistrationError, match="1 to 48 characters"):
        register(spec(name=name), "version")


def test_without_the_module_there_is_no_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abi, "DEVICE_NODE", str(tmp_path / "nowhere"))
    with pytest.raises(RegistrationError, match="is the module scst_user loaded") as raised:
        register(spec(), "version")
    assert raised.value.name == "ENOENT"


@pytest.mark.parametrize(("error", "words"), [
    (errno.EPERM, "does not take the license 'secret'"),
    (errno.EINVAL, "refuses the version string '4.0'"),
    (errno.EEXIST, "has a device of that name"),
    (errno.ENOENT, "/var/lib/scst/pr"),
    (errno.ENOMEM, "cannot make the pool"),
    (errno.EIO, "Input/output error|refused"),
])
def test_what_a_refused_registration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, words: str
) -> None:
    def ioctl(*_: object) -> int:
        raise OSError(error, "refused")

    (tmp_path / "node").touch()
    monkeypatch.setattr(abi, "DEVICE_NODE", str(tmp_path / "node"))
    monkeypatch.setattr("fcntl.ioctl", ioctl)
    with pytest.raises(RegistrationError, match=words) as raised:
        register(spec(options={"license_str": "secret"}), "4.0")
    assert raised.value.name == errno.errorcode[error]


@pytest.mark.parametrize("poll", [True, False])
def test_what_the_kernel_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poll: bool
) -> None:
    answered: list[abi.DevDesc] = []
    texts: list[bytes] = []

    def ioctl(fd: int, request: int, description: abi.DevDesc) -> int:
        assert request == abi.REGISTER_DEVICE
        assert os.get_blocking(fd) is not poll
        answered.append(abi.DevDesc.from_buffer_copy(description))
        texts.extend(ctypes.string_at(at) for at in (
            description.version_str, description.license_str))
        return 0

    (tmp_path / "node").touch()
    monkeypatch.setattr(abi, "DEVICE_NODE", str(tmp_path / "node"))
    monkeypatch.setattr("fcntl.ioctl", ioctl)
    os.close(register(spec(poll=poll, options={
        "parse_type": 2, "qerr": 3, "partial_len": 4096, "sgv_shared": 1, "sgv_name": "pool",
        "sgv_single_alloc_pages": 32, "sgv_purge_interval": -1, "type": 1}), "4.0"))
    description, = answered
    assert texts == [b"4.0", b"GPL"]
    assert (description.name, description.sgv_name) == (b"stf0", b"pool")
    assert (description.opt.parse_type, description.opt.qerr, description.opt.partial_len) == (
        2, 3, 4096)
    assert (description.opt.memory_reuse_type, description.opt.queue_alg) == (3, 1)
    assert (description.sgv_shared, description.sgv_single_alloc_pages,
            description.sgv_purge_interval, description.type) == (1, 32, -1, 1)
