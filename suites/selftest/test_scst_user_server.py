# SPDX-License-Identifier: GPL-2.0-or-later
"""The scst_user backend's process on a stand-in for the kernel.

The stand-in's ioctls block, and signals interrupt them, as real ones.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from suites.selftest.test_scst_user import (
    BLOCK,
    SIZE,
    Kernel,
    alloc,
    command,
    read,
    write,
)
from targets.backend.control_guest import Channel
from targets.scst import abi
from targets.scst.abi import Subcode
from targets.scst.user_guest import operation
from targets.scst.user_guest.device import Device
from targets.scst.user_guest.getter import CALL_OUT, Getter
from targets.scst.user_guest.registration import RegistrationError
from targets.scst.user_guest.server import Server, start
from targets.scst.user_spec import OPT, DeviceSpec

SOON = 5.0
libc = ctypes.CDLL(None, use_errno=True)


class BlockingKernel(Kernel):
    """The kernel of one device. ``stage`` wakes a thread that waits for a command."""

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.bell = os.pipe()
        self.options = abi.Opt(memory_reuse_type=3, queue_alg=1)
        self.errors: dict[int, int] = {}
        self.slow: dict[int, threading.Event] = {}
        self.done: list[int] = []

    def stage(self, *commands: abi.GetCmd) -> None:
        """Stage commands for the waiting threads."""
        self.staged += commands
        os.write(self.bell, b"x" * len(commands))

    def _must_have_some(self) -> None:
        if libc.read(self.waits, ctypes.create_string_buffer(1), 1) < 0:
            raise OSError(ctypes.get_errno(), "left")

    def ioctl(self, fd: int, request: int, argument: Any = 0, mutate: bool = False) -> int:
        if request in self.slow:
            self.slow[request].wait(SOON)
        if request in self.errors:
            raise OSError(self.errors[request], "refused")
        if request == abi.GET_OPTIONS:
            ctypes.memmove(ctypes.addressof(argument), ctypes.addressof(self.options),
                           ctypes.sizeof(abi.Opt))
        elif request == abi.SET_OPTIONS:
            self.options = abi.Opt.from_buffer_copy(argument)
        elif request == abi.PREALLOC_BUFFER:
            self.done.append(getattr(argument, "in").bufflen)
            argument.out.cmd_h = 40 + len(self.done)
        elif request in (abi.FLUSH_CACHE, abi.UNREGISTER_DEVICE, abi.DEVICE_CAPACITY_CHANGED):
            self.done.append(request)
        else:
            return super().ioctl(fd, request, argument, mutate)
        return 0


class Stage:
    """A server of two devices, run by a thread, with the test's end of its channel."""

    def __init__(self, folder: Path) -> None:
        self.kernels = {"stf0": BlockingKernel(), "stf1": BlockingKernel()}
        self._folder = folder
        self._by_fd: dict[int, BlockingKernel] = {}
        commands, self._orders = os.pipe()
        self._news, events = os.pipe()
        self._others = (commands, self._news, events)
        self.refusal: RegistrationError | None = None
        self.server = Server(Channel(commands, events), "4.0", register=self._register,
                             ioctl=self._ioctl)
        start(self.server, [self.spec("stf0"), self.spec("stf1")])
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        self._poll = select.poll()
        self._poll.register(self._news, select.POLLIN)
        self._unread = b""
        self.events: list[dict[str, Any]] = []
        self._number = 0

    def spec(self, name: str, **fields: Any) -> DeviceSpec:
        return DeviceSpec(name, str(self._folder / name), SIZE, BLOCK, "STF", "p", name, **fields)

    def _register(self, spec: DeviceSpec, version: str) -> int:
        assert version == "4.0"
        if self.refusal is not None:
            raise self.refusal
        descriptor = os.eventfd(0)
        self._by_fd[descriptor] = self.kernels[spec.name]
        return descriptor

    def _ioctl(self, fd: int, *arguments: Any) -> int:
        return self._by_fd[fd].ioctl(fd, *arguments)

    def order(self, do: str, **arguments: Any) -> int:
        """Send a request; return its number."""
        self._number += 1
        line = json.dumps({"id": self._number, "do": do, **arguments})
        os.write(self._orders, line.encode() + b"\n")
        return self._number

    def call(self, do: str, **arguments: Any) -> Any:
        """Send a request and return its result. Raises ValueError when it is refused."""
        number = self.order(do, **arguments)
        reply = self.wait(lambda event: event["kind"] == "reply" and event["id"] == number)
        if not reply["ok"]:
            raise ValueError(reply["error"])
        return reply["result"]

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for an event that the predicate accepts, and return it."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                if wanted(event):
                    return event
            seen = len(self.events)
            assert self._poll.poll(SOON * 1000), f"nothing comes any more after {self.events[-3:]}"
            *lines, self._unread = (self._unread + os.read(self._news, 65536)).split(b"\n")
            self.events += map(json.loads, lines)

    def seen(self, kind: str, **data: Any) -> dict[str, Any]:
        """Wait for the first event of a kind with these data, and return it."""
        return self.wait(lambda event: event["kind"] == kind and all(
            event.get(name) == value for name, value in data.items()))

    def device(self, name: str = "stf0") -> Device:
        return self.server._served[name].device

    def getters(self, name: str = "stf0") -> list[Getter]:
        return self.server._served[name].getters._getters

    def answered(self, count: int, name: str = "stf0") -> list[int]:
        """Wait until ``count`` replies were given; return their handles."""
        until = time.monotonic() + SOON
        while len(self.kernels[name].replies) < count:
            assert time.monotonic() < until
            time.sleep(0.002)
        return [reply.cmd_h for reply in self.kernels[name].replies]

    def ended(self) -> bool:
        """Wait for the end of the server; return whether it ended within SOON."""
        self._thread.join(SOON)
        return not self._thread.is_alive()

    def hang_up(self) -> None:
        os.close(self._orders)
        self._orders = -1

    def close(self) -> None:
        """Stop all threads and close all descriptors."""
        for kernel in self.kernels.values():
            for event in kernel.slow.values():
                event.set()
        for served in self.server._served.values():
            served.getters.set(0)
        if self._orders >= 0:
            self.hang_up()
        assert self.ended()
        pipes = [end for kernel in self.kernels.values() for end in (kernel.waits, kernel.bell)]
        for descriptor in (*pipes, *self._others, *self._by_fd, self.server._bell):
            with suppress(OSError):  # the server has closed it
                os.close(descriptor)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    before = signal.signal(CALL_OUT, lambda *_: None)
    made = Stage(tmp_path)
    yield made
    made.close()
    signal.signal(CALL_OUT, before)


def test_a_command_is_answered_with_the_next_one(stage: Stage) -> None:
    kernel = stage.kernels["stf0"]
    kernel.stage(read(1, 0, 1), read(2, 1, 1))
    assert stage.answered(2) == [1, 2]
    assert stage.seen("step", action="answered", handle=2)["device"] == "stf0"


@pytest.mark.parametrize("name", ["stf0", "stf1"])
def test_each_device_is_held_by_itself(stage: Stage, name: str) -> None:
    stage.call("hold", point="EXEC", count=1, device=name)
    for kernel in stage.kernels.values():
        kernel.stage(read(1, 0, 1))
    assert stage.seen("held")["device"] == name
    other, = {"stf0", "stf1"} - {name}
    assert stage.answered(1, other) == [1]
    assert stage.kernels[name].replies == []
    stage.call("release", device=other)
    stage.call("release", device=name)
    assert stage.answered(1, name) == [1]
    assert [event["device"] for event in stage.events if event["kind"] == "released"] == [
        other, name]


def test_without_a_device_all_are_held_and_released(stage: Stage) -> None:
    stage.call("hold", point="EXEC", count=2)
    for kernel in stage.kernels.values():
        kernel.stage(read(1, 0, 1))
    assert "device" not in stage.seen("held", handles=[1, 1])
    stage.call("release")
    assert stage.answered(1, "stf0") + stage.answered(1, "stf1") == [1, 1]
    assert not any(device.holds.wanted(device.name) for device in (
        stage.device("stf0"), stage.device("stf1")))


def test_answers_of_the_test(stage: Stage) -> None:
    stage.call("hold", point="EXEC", count=3)
    stage.kernels["stf0"].stage(*(read(handle, 0, 1) for handle in (1, 2, 3)))
    stage.seen("held")
    assert stage.call("answer", count=2, fields={"status": "BUSY"}) == [
        {"handle": 1, "errors": [None]}, {"handle": 2, "errors": [None]}]
    assert stage.call("answer", handle=3, times=2) == [{"handle": 3, "errors": [None, None]}]
    assert stage.answered(4) == [1, 2, 3, 3]
    with pytest.raises(ValueError, match="no command of stf0 is held"):
        stage.call("answer")
    with pytest.raises(ValueError, match="no device stf9; there are: stf0, stf1"):
        stage.call("answer", device="stf9")


def test_close_calls_the_threads_out_of_the_kernel(stage: Stage) -> None:
    getter, = stage.getters()
    descriptor = stage.device().fd
    result = stage.call("close", device="stf0")
    assert result["done"] is True
    assert result["devices"]["stf0"]["error"] is None
    assert not getter.alive
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert stage.seen("closed")["device"] == "stf0"
    assert (stage.call("serving"), stage.call("serving", device="stf1")) == (False, True)
    assert list(stage.call("close")["devices"]) == ["stf1"]
    assert stage.call("close") == {"done": True, "devices": {}}
    with pytest.raises(ValueError, match="stf0 is closed"):
        stage.call("flush_cache")


def test_a_close_that_does_not_end_is_no_obstacle(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "ANSWER_WITHIN", 0.05)
    stage.call("steps", on=False)
    stuck = stage.kernels["stf0"].slow[abi.REPLY_AND_GET_CMD] = threading.Event()
    stage.kernels["stf0"].stage(read(1, 0, 1))  # its thread returns, and blocks again
    time.sleep(0.05)
    result = stage.call("close")
    assert result["done"] is False
    assert result["devices"]["stf0"] == {"done": False}
    assert result["devices"]["stf1"]["done"] is True
    assert stage.call("serving") is True
    stuck.set()
    assert stage.seen("closed", device="stf0")["error"] is None


@pytest.mark.parametrize(("do", "kind", "request_"), [
    ("flush_cache", "flushed", abi.FLUSH_CACHE),
    ("unregister", "unregistered", abi.UNREGISTER_DEVICE),
    ("capacity_changed", "capacity_changed", abi.DEVICE_CAPACITY_CHANGED)])
def test_what_may_block(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, do: str, kind: str, request_: int
) -> None:
    kernel = stage.kernels["stf1"]
    assert stage.call(do, device="stf1")["error"] is None
    assert kernel.done == [request_]
    assert stage.seen(kind)["device"] == "stf1"
    stage.events.clear()
    monkeypatch.setattr(operation, "ANSWER_WITHIN", 0.05)
    blocked = kernel.slow[request_] = threading.Event()
    assert stage.call(do, device="stf1") == {"done": False}
    assert stage.call("serving", device="stf1") is True
    kernel.errors[request_] = errno.ENODEV
    blocked.set()
    assert stage.seen(kind)["error"] == "ENODEV"


def test_options(stage: Stage) -> None:
    kernel = stage.kernels["stf0"]
    result = stage.call("set_options", options={"qerr": "ABORT_ALL", "on_free_cmd_type": 1})
    assert result["error"] is None
    assert stage.seen("options_set")["device"] == "stf0"
    answered = stage.call("get_options")
    assert (answered["qerr"], answered["on_free_cmd_type"], answered["memory_reuse_type"]) \
        == (1, 1, 3)
    assert set(answered) == set(OPT)
    assert not stage.device()._reports_end
    kernel.errors[abi.SET_OPTIONS] = errno.EINVAL
    refused = stage.call("set_options", options={"qerr": 2, "on_free_cmd_type": 0})
    assert refused["error"] == "EINVAL"
    assert not stage.device()._reports_end
    with pytest.raises(ValueError, match="no option sgv_name"):
        stage.call("set_options", options={"sgv_name": "x"})


def test_options_that_the_kernel_does_not_keep(stage: Stage) -> None:
    stage.call("get_options")
    assert not [event for event in stage.events if event["kind"] == "breach"]
    stage.kernels["stf0"].options.qerr = 3
    stage.call("get_options")
    event = stage.seen("breach", device="stf0")
    assert (event["rule"], event["point"]) == ("field-value", "GET_OPTIONS")
    assert event["seen"] == "qerr 3"


def test_a_continuation_is_reported(stage: Stage) -> None:
    stage.server.note_continuation()
    assert stage.seen("continued")["signal"] == "SIGCONT"


def test_a_buffer_without_a_handle(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = stage.kernels["stf0"]
    monkeypatch.setattr(kernel, "ioctl", lambda *_: 0)  # leaves the output as it was
    stage.call("prealloc", bytes=8192)
    assert stage.seen("breach", point="PREALLOC_BUFFER")["rule"] == "field-unwritten"


def test_buffers_can_be_given_beforehand(stage: Stage) -> None:
    result = stage.call("prealloc", bytes=8192, count=2)
    assert (result["handles"], result["error"]) == ([41, 42], None)
    assert stage.kernels["stf0"].done == [8192, 8192]
    stage.kernels["stf0"].errors[abi.PREALLOC_BUFFER] = errno.EINVAL
    assert stage.call("prealloc", bytes=8192)["error"] == "EINVAL"


def test_threads_come_and_go(stage: Stage) -> None:
    assert stage.call("threads", count=3)["count"] == 3
    stage.kernels["stf0"].stage(*(read(handle, 0, 1) for handle in range(1, 9)))
    assert sorted(stage.answered(8)) == list(range(1, 9))
    assert stage.call("threads", count=0)["count"] == 0
    stage.kernels["stf0"].stage(read(9, 0, 1))
    assert stage.call("threads", count=1)["count"] == 1
    assert 9 in stage.answered(9)


def test_a_thread_that_leaves_gives_what_it_has_answered(stage: Stage) -> None:
    kernel = stage.kernels["stf0"]
    getter, = stage.getters()
    getter._leaving = True
    kernel.stage(read(1, 0, 1))
    assert stage.answered(1) == [1]


def test_registration_in_the_running_process(stage: Stage) -> None:
    stage.refusal = RegistrationError("taken", "EEXIST")
    result = stage.call("register", spec={"name": "stf0"})
    assert (result["error"], result["words"]) == ("EEXIST", "taken")
    assert stage.seen("registered")["error"] == "EEXIST"
    stage.refusal = None
    stage.call("close", device="stf0")
    assert stage.call("register", spec={"name": "stf0", "threads": 2})["error"] is None
    assert (stage.call("serving"), len(stage.getters())) == (True, 2)
    assert stage.device().spec.serial == "stf0"
    stage.kernels["stf0"].stage(read(5, 0, 1))
    assert stage.answered(1) == [5]
    with pytest.raises(ValueError, match="missing"):
        stage.call("register", spec={"name": "stf7"})


def test_a_forked_child_sleeps(stage: Stage) -> None:
    child = stage.call("fork")
    try:
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        assert stage.call("serving") is True
    finally:
        os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_what_the_test_orders_about_answers(stage: Stage) -> None:
    stage.call("write_same", by="kernel", device="stf1")
    stage.call("background", on=True, device="stf1")
    stage.call("misbehave", how="skip", count=1, device="stf1")
    device = stage.device("stf1")
    assert (device.write_same, device.background) == ("kernel", True)
    assert device.misbehaviours.armed
    stage.call("behave", device="stf1")
    assert not device.misbehaviours.armed
    assert not stage.device("stf0").background
    with pytest.raises(ValueError, match="'nobody' is not a valid WriteSame"):
        stage.call("write_same", by="nobody")


def test_exit_leaves_with_the_threads_in_the_kernel(stage: Stage) -> None:
    assert stage.call("exit") is None
    assert stage.ended()
    assert all(getter.alive for getter in stage.getters())
    assert stage.device().fd >= 0


def test_when_the_test_hangs_up(stage: Stage) -> None:
    stage.hang_up()
    assert stage.ended()


def test_a_device_that_cannot_be_registered_ends_it(
    stage: Stage, tmp_path: Path
) -> None:
    stage.refusal = RegistrationError("taken", "EEXIST")
    with pytest.raises(SystemExit, match="taken"):
        start(stage.server, [stage.spec("stf0")])


def test_events_of_idle_times_are_sent(stage: Stage) -> None:
    stage.kernels["stf0"].stage(read(1, 0, 1))
    assert stage.seen("step", action="answered")["handle"] == 1


def test_writes_of_many_threads(stage: Stage) -> None:
    stage.call("steps", on=False)
    stage.call("threads", count=4)
    kernel = stage.kernels["stf0"]
    kernel.stage(*(alloc(handle, 1) for handle in range(16)))
    stage.answered(16)
    lent = {reply.cmd_h: reply.alloc_reply.pbuf for reply in kernel.replies}
    for handle, pbuf in lent.items():
        stage.device().memory.view(pbuf)[:BLOCK] = bytes([handle]) * BLOCK
    kernel.stage(*(write(handle, handle, 1, pbuf) for handle, pbuf in lent.items()))
    stage.answered(32)
    data = stage.device().disk.data
    assert all(data[handle * BLOCK:(handle + 1) * BLOCK] == bytes([handle]) * BLOCK
               for handle in range(16))
    kernel.stage(command(99, Subcode.DETACH_SESS, "sess", sess_h=1))
    stage.answered(33)
