# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of suites/abi: cases in processes, memory of each kind, arguments, ring values."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from targets.backend.cases_guest import Bounds, run
from targets.backend.pointers import Access, Pointer, usable
from targets.backend.pointers_guest import place
from targets.lio.interface import Value
from targets.lio.interface_guest import number as ring_number
from targets.lio.netlink_guest import attribute, message
from targets.scst import abi
from targets.scst.arguments_guest import Setting, argument, number
from targets.scst.interface import BY_NAME, CALLS, Amount
from targets.scst.victim_guest import Victim, honest

TOP = Path(__file__).parents[2]


class Rig:
    """A rig whose cases are functions of this process; ``left``: what it never releases."""

    def __init__(self, calls: dict[int, Callable[[], None]], left: str = "") -> None:
        self.calls, self.left = calls, left

    def arrange(self, case: Any) -> Callable[[], None]:
        """Return the case's function."""
        if case["number"] not in self.calls:
            raise ValueError("not to be had")
        return self.calls[case["number"]]

    def tidy(self, case: Any) -> None:
        """Do nothing."""

    def kept(self) -> str:
        """Return what is left."""
        return self.left


def events(rig: Rig, numbers: list[int], capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Run cases with short bounds; return the events."""
    run(rig, [{"number": number} for number in numbers], Bounds(2.0, 0.5, 2.0, 0.5), lambda: None)
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_case_is_recorded_before_its_call(capfd: pytest.CaptureFixture[str]) -> None:
    found = events(Rig({1: lambda: None}), [1], capfd)
    assert [each["kind"] for each in found] == ["arranging", "call", "ended", "released", "end"]


def test_the_call_waits_for_the_host(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "made"
    seen: list[bool] = []

    def answer() -> None:
        time.sleep(0.2)
        seen.append(made.exists())

    run(Rig({1: made.touch}), [{"number": 1}], Bounds(2.0, 2.0, 2.0, 0.5), answer)
    assert seen == [False] and made.exists()


def test_a_late_process_is_killed(capfd: pytest.CaptureFixture[str]) -> None:
    found = events(Rig({1: lambda: time.sleep(60)}), [1], capfd)
    kinds = {each["kind"]: each for each in found}
    assert "late" in kinds and kinds["ended"]["status"] == -signal.SIGKILL
    assert "released" in kinds


def test_an_arrangement_that_fails_makes_no_call(capfd: pytest.CaptureFixture[str]) -> None:
    found = events(Rig({}), [1], capfd)
    assert "call" not in [each["kind"] for each in found]
    assert next(each for each in found if each["kind"] == "unready")["why"].endswith("to be had")


def test_nothing_follows_a_case_that_leaves_something(capfd: pytest.CaptureFixture[str]) -> None:
    found = events(Rig({1: lambda: None, 2: lambda: None}, "a reference"), [1, 2], capfd)
    assert [each["kind"] for each in found if each.get("number") == 2] == []
    assert next(each for each in found if each["kind"] == "kept")["what"] == "a reference"


READ = """
import os, sys
from targets.backend.pointers import Pointer
from targets.backend.pointers_guest import place, _libc
import ctypes
null, zero = os.open("/dev/null", os.O_RDWR), os.open("/dev/zero", os.O_RDWR)
pipe = os.pipe()
address = place(Pointer(sys.argv[1]), b"x" * 64)
written = _libc.write(pipe[1], ctypes.c_void_p(address), ctypes.c_size_t(64))
read = _libc.read(zero, ctypes.c_void_p(address), ctypes.c_size_t(64))
print(written == 64, read == 64)
"""


@pytest.mark.parametrize("pointer", list(Pointer))
def test_the_kernel_can_do_at_a_pointer_what_its_kind_promises(pointer: Pointer) -> None:
    """This host's kernel reads and writes there, or refuses to."""
    done = subprocess.run([sys.executable, "-c", READ, pointer], cwd=TOP, check=True,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
    assert done.stdout.split() == [str(usable(pointer, Access.READS)),
                                   str(usable(pointer, Access.WRITES))]


def setting(name: str, amount: Amount = Amount.USUAL, pointer: Pointer = Pointer.GOOD) -> Setting:
    """Return a setting for a call without a device."""
    return Setting(BY_NAME[name], pointer, amount, Victim(-1), 5, "abi1", "version")


@pytest.mark.parametrize("call", [call for call in CALLS if call.ioctl not in (
    "READ", "WRITE", "MMAP", "LSEEK", "POLL", "EPOLL")], ids=lambda call: call.name)
def test_every_ioctl_has_arguments(call: Any) -> None:
    for amount in Amount:
        request, address = argument(setting(call.name, amount))
        assert request and address


def test_the_field_under_test_has_the_pointer() -> None:
    _, address = argument(setting("REPLY_CMD.exec_reply.psense_buffer", pointer=Pointer.NULL))
    reply = abi.ReplyCmd.from_address(address)
    assert (reply.cmd_h, reply.exec_reply.psense_buffer, reply.exec_reply.sense_len) == (5, 0, 18)
    assert argument(setting("GET_OPTIONS.arg", pointer=Pointer.NULL))[1] == 0


@pytest.mark.parametrize(("amount", "value"), [
    (Amount.USUAL, 512), (Amount.ZERO, 0), (Amount.NEGATIVE, -1), (Amount.LEAST, -(1 << 31)),
    (Amount.OVER, (1 << 30) + 1), (Amount.HUGE, (1 << 31) - 1)])
def test_amounts(amount: Amount, value: int) -> None:
    assert number(BY_NAME["REGISTER_DEVICE.block_size"], amount, ctypes.c_uint32) == value


class ScriptedKernel:
    """scst_user's side of a device: gives out commands, and takes replies."""

    def __init__(self, *commands: abi.GetCmd) -> None:
        self.commands = list(commands)
        self.replies: list[abi.ReplyCmd] = []

    def __call__(self, fd: int, request: int, argument: Any) -> int:
        if request == abi.REPLY_CMD:
            self.replies.append(abi.ReplyCmd.from_buffer_copy(argument))
            return 0
        if not self.commands:
            raise OSError(errno.EAGAIN, "none")
        ctypes.memmove(ctypes.addressof(argument), bytes(self.commands.pop(0)),
                       ctypes.sizeof(argument))
        return 0


def command(handle: int, subcode: abi.Subcode, opcode: int) -> abi.GetCmd:
    """Return a command of the kernel's."""
    get = abi.GetCmd(cmd_h=handle, subcode=subcode)
    get.exec_cmd.cdb[0] = opcode
    get.exec_cmd.bufflen = mmap.PAGESIZE
    get.exec_cmd.data_direction = abi.DataDirection.READ if opcode == 0x12 else \
        abi.DataDirection.WRITE
    return get


def test_a_command_is_kept_in_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan's INQUIRY is answered; the WRITE stays in EXEC."""
    kernel = ScriptedKernel(command(1, abi.Subcode.EXEC, 0x12), command(2, abi.Subcode.EXEC, 0x2A))
    monkeypatch.setattr("targets.scst.victim_guest.fcntl.ioctl", kernel)
    victim = Victim(os.open("/dev/zero", os.O_RDONLY))
    from targets.scst.interface import Handle  # noqa: PLC0415

    assert victim.serve(1.0, Handle.EXEC, 0x2A)
    assert (victim.handle, victim.last) == (2, 2)
    answered, = kernel.replies
    assert answered.cmd_h == 1
    assert ctypes.string_at(answered.exec_reply.pbuf, 1) == b"\3"


def test_honest_replies_are_for_their_commands() -> None:
    reply = honest(command(9, abi.Subcode.ALLOC_MEM, 0x2A), 4096)
    assert (reply.cmd_h, reply.subcode, reply.alloc_reply.pbuf) == (
        9, abi.Subcode.ALLOC_MEM, 4096)


@pytest.mark.parametrize(("value", "result"), [
    (Value.SAME, 128), (Value.BEHIND, 64), (Value.BEYOND, 192), (Value.MINUS_ONE, 0xFFFFFFFF),
    (Value.MISALIGNED, 131), (Value.OVER, 1001), (Value.HUGE, 0x7FFFFFFF)])
def test_ring_values(value: Value, result: int) -> None:
    assert ring_number(value, 128, 64, 1000, 32) == result


def test_netlink_messages_have_their_lengths() -> None:
    """A truncated attribute has a wrong length in its header, in a message of the right one."""
    right, wrong = attribute(8, bytes(4)), attribute(8, bytes(4), 2)
    assert (right[:2], wrong[:2], len(right), len(wrong)) == (b"\x08\0", b"\2\0", 8, 8)
    assert len(message(20, 4, right)) == int.from_bytes(message(20, 4, right)[:4], "little") == 28


def test_what_was_unmapped_stays_unmapped() -> None:
    """Memory that is made later does not come to lie there."""
    hole = place(Pointer.UNMAPPED, bytes(64))
    assert all(abs(place(Pointer.GOOD, bytes(64)) - hole) > 1 << 20 for _ in range(16))


def test_memory_beside_a_page_is_of_its_kind() -> None:
    assert place(Pointer.UNALIGNED, b"abc") % mmap.PAGESIZE == 3
