"""The scst_user backend against a stand-in for the kernel's side of the ioctls."""

from __future__ import annotations

import ctypes
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from targets.backend.control import Channel, Holds
from targets.backend.disk import CHECK_CONDITION, GOOD, Opcode, RamDisk
from targets.scst import abi
from targets.scst.abi import MemoryReuseType, OnFreeCmdType, ParseType, Subcode
from targets.scst.memory import PAGE, Memory
from targets.scst.user import Device, Loop, Options, RegistrationError, register

BLOCK = 512
WRITE, READ, NONE = 1, 2, 4


class Kernel:
    """Hands out staged commands, and takes the answers as the kernel would read them."""

    def __init__(self) -> None:
        self.staged: list[abi.GetCmd] = []
        self.replies: list[abi.ReplyCmd] = []
        self.refuse: dict[int, int] = {}
        self.flushed = 0

    def ioctl(self, _: int, request: int, argument: Any = 0, mutate: bool = False) -> int:
        if request == abi.REPLY_AND_GET_CMD:
            assert mutate
            preply = abi.GetCmd.from_buffer_copy(argument).preply
            if preply:
                self._take(ctypes.string_at(preply, ctypes.sizeof(abi.ReplyCmd)))
            if not self.staged:
                raise BlockingIOError(errno.EAGAIN, "nothing staged")
            argument[:] = bytes(self.staged.pop(0))
        elif request == abi.REPLY_CMD:
            self._take(argument)
        elif request == abi.FLUSH_CACHE:
            self.flushed += 1
        else:
            raise AssertionError(f"ioctl {request:#x}")
        return 0

    def _take(self, reply: bytes) -> None:
        taken = abi.ReplyCmd.from_buffer_copy(reply)
        if taken.cmd_h in self.refuse:
            raise OSError(self.refuse.pop(taken.cmd_h), "refused")
        self.replies.append(taken)


class Bench:
    """A device on a stand-in kernel, with the test's end of its channel."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.kernel = Kernel()
        self.disk = RamDisk(str(folder / "medium"), 1 << 20, BLOCK, vendor="STF",
                            product="test", serial="1")
        self.memory = Memory()
        commands, self.orders = os.pipe()
        self._events, events = os.pipe()
        os.set_blocking(self._events, False)
        self.channel = Channel(commands, events)
        self.holds = Holds(self.channel)
        ready, self.bell = os.pipe()
        self.device = Device(ready, self.disk, self.memory, Options(**options), self.channel,
                             self.holds, ioctl=self.kernel.ioctl)
        self.lent = self.memory.taken

    def work(self, *commands: abi.GetCmd) -> list[abi.ReplyCmd]:
        """Stage commands, let the device serve, and return what it answered."""
        self.kernel.staged += commands
        before = len(self.kernel.replies)
        self.device.work()
        return self.kernel.replies[before:]

    def hold(self, point: str, count: int, opcodes: list[int] | None = None) -> None:
        """Order a hold, as the loop does."""
        self.holds.order(point, count, opcodes)
        self.device.holding = True

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events since the last call, of some kinds."""
        self.channel.flush()
        try:
            text = os.read(self._events, 1 << 16)
        except BlockingIOError:
            return []
        return [event for event in map(json.loads, text.splitlines())
                if not kinds or event["kind"] in kinds]

    @property
    def borrowed(self) -> int:
        """How many buffers the kernel has."""
        return self.memory.taken - self.lent


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.disk.close()


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
                   lba=lba, bufflen=blocks * BLOCK, pbuf=pbuf, data_direction=WRITE, sess_h=1)


def read(handle: int, lba: int, blocks: int, pbuf: int = 0) -> abi.GetCmd:
    return command(handle, Subcode.EXEC, "exec_cmd", cdb=cdb(Opcode.READ_10, lba, blocks),
                   lba=lba, bufflen=blocks * BLOCK, pbuf=pbuf, sess_h=1,
                   alloc_len=0 if pbuf else max(blocks * BLOCK, PAGE), data_direction=READ)


def on_free(handle: int, pbuf: int, cached: bool) -> abi.GetCmd:
    return command(handle, Subcode.ON_FREE_CMD, "on_free_cmd", pbuf=pbuf, buffer_cached=cached)


def test_what_is_written_is_read(bench: Bench) -> None:
    given, = bench.work(alloc(1, 2))
    pbuf = given.alloc_reply.pbuf
    bench.memory.view(pbuf)[:2 * BLOCK] = b"ab" * BLOCK
    done, = bench.work(write(1, 5, 2, pbuf))
    assert (done.cmd_h, done.exec_reply.status) == (1, GOOD)
    assert done.exec_reply.resp_data_len == 0
    assert bench.disk.data[5 * BLOCK:7 * BLOCK] == b"ab" * BLOCK
    got, = bench.work(read(2, 5, 2))
    assert got.exec_reply.resp_data_len == 2 * BLOCK
    assert bench.memory.view(got.exec_reply.pbuf)[:2 * BLOCK] == b"ab" * BLOCK


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


def test_a_wrong_command_gets_sense_data(bench: Bench) -> None:
    reply, = bench.work(read(1, bench.disk.blocks, 1))
    answer = reply.exec_reply
    assert answer.status == CHECK_CONDITION
    sense = ctypes.string_at(answer.psense_buffer, answer.sense_len)
    assert (sense[2], sense[12]) == (5, 0x21)
    assert (answer.resp_data_len, answer.pbuf, bench.borrowed) == (0, 0, 0)


def test_a_long_cdb_is_fetched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def ioctl(fd: int, request: int, argument: Any = 0, mutate: bool = False) -> int:
        if request != abi.GET_EXTENDED_CDB:
            return bench.kernel.ioctl(fd, request, argument, mutate)
        room = abi.GetExtCdb.from_buffer_copy(argument)
        asked.append(room.cmd_h)
        ctypes.memmove(room.ext_cdb_buffer, b"\1" * 16, 16)
        return 0

    monkeypatch.setattr(bench.device, "ioctl", ioctl)
    long = command(9, Subcode.EXEC, "exec_cmd", cdb=bytes([0x7F]), data_direction=NONE)
    long.exec_cmd.cdb_len = 32
    reply, = bench.work(long)
    assert asked == [9]
    assert reply.exec_reply.status == CHECK_CONDITION


@pytest.mark.parametrize(("on_free_type", "reuse"), [
    (OnFreeCmdType.CALL, MemoryReuseType.NONE), (OnFreeCmdType.CALL, MemoryReuseType.READ)])
def test_an_uncached_buffer_comes_back_with_its_command(
    tmp_path: Path, on_free_type: OnFreeCmdType, reuse: MemoryReuseType
) -> None:
    bench = Bench(tmp_path, on_free_cmd_type=on_free_type, memory_reuse_type=reuse)
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


def test_a_buffer_that_the_kernel_did_not_take_comes_back(bench: Bench) -> None:
    reply, = bench.work(read(1, 0, 1))
    assert reply.exec_reply.pbuf
    bench.work(on_free(1, 0, cached=True))  # the command had been aborted meanwhile
    assert bench.borrowed == 0


@pytest.mark.parametrize("direction", ["write", "read"])
def test_without_on_free_an_uncached_buffer_comes_back_at_once(
    tmp_path: Path, direction: str
) -> None:
    bench = Bench(tmp_path, on_free_cmd_type=OnFreeCmdType.IGNORE,
                  memory_reuse_type=MemoryReuseType.NONE)
    if direction == "write":
        given, = bench.work(alloc(1, 1))
        bench.work(write(1, 0, 1, given.alloc_reply.pbuf))
    else:
        bench.work(read(1, 0, 1))
    assert bench.borrowed == 0


def test_without_on_free_a_lost_buffer_comes_back_with_its_session(tmp_path: Path) -> None:
    bench = Bench(tmp_path, on_free_cmd_type=OnFreeCmdType.IGNORE,
                  memory_reuse_type=MemoryReuseType.NONE)
    bench.work(alloc(1, 1, sess=7), alloc(2, 1, sess=8))  # and both are aborted before EXEC
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


@pytest.mark.parametrize("subcode", [
    Subcode.TASK_MGMT_RECEIVED, Subcode.TASK_MGMT_DONE, Subcode.EXT_COPY_REMAP])
def test_other_subcommands_are_answered(bench: Bench, subcode: Subcode) -> None:
    reply, = bench.work(command(4, subcode))
    assert (reply.cmd_h, reply.subcode, reply.result) == (4, subcode, 0)


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


def test_held_commands_are_answered_in_any_order(bench: Bench) -> None:
    bench.hold("EXEC", 2, [Opcode.READ_10])
    answered = bench.work(read(1, 0, 1), read(2, 1, 1), read(3, 2, 1))
    assert [reply.cmd_h for reply in answered] == [3]
    assert bench.events("held")[0]["handles"] == [1, 2]
    bench.device.release(2)
    bench.device.release(1)
    assert [reply.cmd_h for reply in bench.kernel.replies] == [3, 2, 1]
    assert [(event["action"], event["handle"]) for event in bench.events("step")] == [
        ("answered", 2), ("answered", 1)]


@pytest.mark.parametrize("point", ["PARSE", "ALLOC_MEM", "ON_FREE_CMD", "ATTACH_SESS"])
def test_every_point_can_be_held(bench: Bench, point: str) -> None:
    bench.hold(point, 1)
    assert bench.work(command(1, Subcode[point])) == []
    bench.device.release(1)
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


@pytest.mark.parametrize("steps", [True, False])
def test_without_steps_commands_are_only_answered(bench: Bench, steps: bool) -> None:
    bench.device.steps = steps
    reply, = bench.work(read(1, 0, 1))
    assert reply.exec_reply.resp_data_len == BLOCK
    assert len(bench.events("step")) == 2 * steps


def test_close_drops_what_is_held(bench: Bench) -> None:
    bench.hold("EXEC", 1)
    bench.work(read(1, 0, 1))
    bench.device.close()
    bench.device.close()
    bench.device.release(1)
    assert bench.kernel.replies == []
    assert len(bench.events("closed")) == 1


def test_the_loop_obeys(bench: Bench) -> None:
    loop = Loop(bench.channel, bench.holds, bench.device)
    bench.kernel.staged.append(read(1, 0, 1))
    os.write(bench.bell, b"x")
    orders: list[dict[str, Any]] = [
        {"do": "serving"}, {"do": "flush_cache"}, {"do": "steps", "on": False},
        {"do": "nonsense"}, {"do": "close"}, {"do": "serving"}, {"do": "exit"}]
    for number, order in enumerate(orders):
        os.write(bench.orders, json.dumps({"id": number, **order}).encode() + b"\n")
    loop.run()
    replies = [(event["ok"], event.get("result")) for event in bench.events("reply")]
    assert replies == [(True, True), (True, None), (True, None), (False, None), (True, None),
                       (True, False), (True, None)]


def test_the_loop_ends_when_the_test_hangs_up(bench: Bench) -> None:
    loop = Loop(bench.channel, bench.holds, bench.device)
    os.close(bench.orders)
    loop.run()
    assert bench.device.fd == -1


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "x" * (abi.NAME_MAX + 1)])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(RegistrationError, match="1 to 48 characters"):
        register(name, BLOCK, "version", Options())


def test_without_the_module_there_is_no_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abi, "DEVICE_NODE", str(tmp_path / "nowhere"))
    with pytest.raises(RegistrationError, match="is the module scst_user loaded"):
        register("stf0", BLOCK, "version", Options())


@pytest.mark.parametrize(("error", "words"), [
    (errno.EPERM, "does not take the license 'GPL'"),
    (errno.EINVAL, "refuses the version string '4.0'"),
    (errno.EEXIST, "has a device of that name"),
    (errno.ENOENT, "/var/lib/scst/pr"),
])
def test_what_a_refused_registration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, words: str
) -> None:
    def ioctl(*_: object) -> int:
        raise OSError(error, "refused")

    (tmp_path / "node").touch()
    monkeypatch.setattr(abi, "DEVICE_NODE", str(tmp_path / "node"))
    monkeypatch.setattr("fcntl.ioctl", ioctl)
    with pytest.raises(RegistrationError, match=words):
        register("stf0", BLOCK, "4.0", Options(ParseType.CALL))
