# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's end of an agent's connection, and its behaviour when the agent misbehaves."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fixtures.machine import connection
from fixtures.machine.connection import Connection
from results.errors import MachineLostError
from suites.selftest.fakes import FakeMachine


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeMachine]:
    """Provide a machine that answers."""
    with FakeMachine(tmp_path / "console") as machine:
        yield machine


def test_an_agent_that_does_not_answer_is_called_again_until_the_deadline(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path / "console")
    machine.answers_sync = False
    with pytest.raises(MachineLostError, match=r"the agent of the fake did not answer in 0\.05 s"):
        machine.connection.sync(0.05)
    machine.answers_sync = True
    machine.connection.sync(1.0)
    machine.vanish()


def test_a_line_that_is_closed_ends_the_wait_for_the_agent(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path / "console")
    machine.vanish()
    began = time.monotonic()
    with pytest.raises(MachineLostError, match=r"the fake (is gone|broke)"):
        machine.connection.sync(30.0)
    assert time.monotonic() - began < 5.0


def test_the_machines_clock_is_its_own(fake: FakeMachine) -> None:
    fake.clock_ahead = 1000.0
    fake.connection.sync(1.0)
    assert fake.machine.now() == pytest.approx(time.monotonic() + 1000.0, abs=0.2)


@pytest.mark.parametrize("garbage", [
    b"\xff\xfe}{\n", b"5\nnull\n[1]\n\"x\"\n", b"\n", b'{"id": 1, "began": 1, "en\n', b"{}\n"])
def test_garbage_is_passed_over(fake: FakeMachine, garbage: bytes) -> None:
    fake.emit_bytes(garbage)
    assert fake.machine.exists("/") is False


def test_an_answer_to_nobody_is_passed_over(fake: FakeMachine) -> None:
    fake.emit({"id": 1 << 40, "began": 0, "ended": 0, "result": "for someone else"})
    assert fake.machine.exists("/") is False


def test_what_was_said_before_a_restore_is_not_heard_after_it(fake: FakeMachine) -> None:
    received: list[Any] = []
    fake.answers_sync = False
    fake.emit({"pid": 7, "exit": 1, "t": 0})
    with pytest.raises(MachineLostError):
        fake.connection.sync(0.05)
    fake.emit({"pid": 7, "exit": 2, "t": 0})
    fake.emit({"synced": 1, "t": 0})  # of an earlier epoch
    fake.emit({"pid": 7, "exit": 3, "t": 0})
    fake.answers_sync = True
    fake.connection.sync(1.0)
    fake.emit({"pid": 7, "exit": 4, "t": 0})
    fake.machine.exists("/")
    fake.connection.listen(7, received.append)
    assert [message["exit"] for message in received] == [4]


def test_a_listener_that_fails_ends_the_line_and_nobody_waits_on(fake: FakeMachine) -> None:
    def fails(message: Mapping[str, Any]) -> None:
        raise KeyError("kind")

    fake.slow("read", 60)
    fake.connection.watch("tasks", fails)
    pending = fake.machine.begin("read", "/x")
    fake.emit({"watch": "tasks", "t": 0})
    with pytest.raises(MachineLostError, match=r"the fake sent was not understood: KeyError"):
        pending.result(5.0)


def test_a_timeout_that_the_kernel_reports_is_not_a_lost_machine(fake: FakeMachine) -> None:
    def late(path: str, text: str) -> None:
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    fake.verbs["write"] = late
    with pytest.raises(OSError, match="timed out") as raised:
        fake.machine.write("/sys/x", "1")
    assert raised.value.errno == errno.ETIMEDOUT


def test_hanging_up_tells_everybody_why(fake: FakeMachine) -> None:
    fake.slow("read", 60)
    pending = fake.machine.begin("read", "/x")
    fake.connection.close()
    with pytest.raises(MachineLostError, match="the machine was stopped"):
        pending.result(5.0)
    with pytest.raises(MachineLostError, match="the machine was stopped"):
        fake.machine.exists("/")


def test_a_machine_that_reads_nothing_does_not_stop_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "SEND_SECONDS", 1)
    ours, theirs = socket.socketpair()
    line = Connection(ours, "the stuffed")
    with theirs, pytest.raises(MachineLostError, match="the line to the stuffed broke"):
        for _ in range(1000):
            line.request("write", path="/x", text="x" * (1 << 16))
    line.close()


def test_messages_of_several_threads_do_not_mix(fake: FakeMachine) -> None:
    text = "x" * (1 << 20)  # more than the socket buffers
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda number: fake.machine.write(str(number), text, deadline=5.0), range(4)))
    assert sorted((verb, args["path"]) for verb, args in fake.requested) == [
        ("write", str(number)) for number in range(4)]
    assert all(args["text"] == text for _, args in fake.requested)
