# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side of a backend, with backends that cooperate, refuse, hang and exit."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from results.errors import MachineLostError, StfError, TargetFailedError
from results.history import Recorder
from suites.selftest.fakes import FakeMachine, FakeProgram, Script, cooperative, deaf
from targets.backend.client import BackendProcess

SOON = 5.0
"""Seconds; no test here needs as many."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Provide an exit stack for the resources of a test."""
    with ExitStack() as opened:
        yield opened


class Stage:
    """A backend on a fake machine. ``program``: the backend's end; ``backend``: the host's end."""

    def __init__(
        self, stack: ExitStack, tmp_path: Path, script: Script = cooperative,
        born: Callable[[FakeProgram], None] = lambda program: program.emit("ready", size=16),
    ) -> None:
        self.machine = stack.enter_context(FakeMachine(tmp_path / "console"))
        self.machine.script, self.machine.born = script, born
        self.recorder = stack.enter_context(Recorder(tmp_path / "history.jsonl"))
        self.backend = BackendProcess(
            self.machine.machine, "fake", "a.module", ["--x"], self.recorder)
        self.program = self.machine.programs[0]

    def kinds(self) -> list[str]:
        """Return the kinds of the recorded backend events."""
        return [event.kind for event in self.recorder.history().select("backend")]


def took(action: Callable[[], Any]) -> float:
    """Return the seconds that an action takes to raise a StfError."""
    began = time.monotonic()
    with pytest.raises(StfError):
        action()
    return time.monotonic() - began


def test_a_cooperative_backend(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path)
    assert stage.backend.wait_ready(SOON) == {"size": 16}
    assert stage.backend.call("echo", deadline=SOON, word=1) is True
    stage.backend.hold("EXEC", 4, deadline=SOON, opcodes=[0x2A], direction="write")
    stage.backend.release(SOON)
    stage.backend.close(SOON)
    assert [message["do"] for message in stage.program.received] == [
        "echo", "hold", "release", "close"]
    assert stage.program.received[1] == {
        "id": 2, "do": "hold", "point": "EXEC", "count": 4, "opcodes": [0x2A],
        "direction": "write"}
    assert stage.kinds() == ["ready", "reply", "reply", "reply", "reply"]
    assert stage.machine.requested[0] == ("spawn", {"name": "fake", "module": "a.module",
                                                    "argv": ["--x"]})


def test_held_commands_are_waited_for(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path)
    assert not stage.backend.wait_held(1, 0.02)
    stage.program.emit("held", point="EXEC", count=3, handles=[1, 2, 3])
    assert stage.backend.wait_held(3, SOON)
    assert not stage.backend.wait_held(4, 0.02)
    stage.program.emit("held", point="EXEC", count=1, handles=[4])
    assert stage.backend.wait_held(4, SOON)


def test_a_hold_for_one_device(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path)
    stage.backend.hold("EXEC", 1, deadline=SOON, device="stf1")
    assert stage.program.received[0]["device"] == "stf1"


def test_events_can_be_asked_and_waited_for(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path)
    assert not stage.backend.wait_seen("closed", 0.02)
    stage.program.emit("closed", device="stf0", error=None)
    stage.program.emit("step", point="EXEC")
    assert stage.backend.wait_seen("closed", SOON, device="stf0")
    assert not stage.backend.wait_seen("closed", 0.02, device="stf1")
    assert not stage.backend.wait_seen("closed", 0.02, count=2)
    assert stage.backend.seen("closed") == [{"device": "stf0", "error": None}]
    assert stage.backend.seen("step") == []


def test_no_event_is_waited_for_once_it_has_gone(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path)
    stage.program.exit(0)
    began = time.monotonic()
    assert not stage.backend.wait_seen("closed", SOON)
    assert time.monotonic() - began < SOON / 2


def test_one_that_does_not_come_up_says_why(stack: ExitStack, tmp_path: Path) -> None:
    def dies(program: FakeProgram) -> None:
        program.emit("text", text="no such device")
        program.exit(1)

    stage = Stage(stack, tmp_path, born=dies)
    began = time.monotonic()
    with pytest.raises(TargetFailedError, match="did not come up: no such device"):
        stage.backend.wait_ready(SOON)
    assert time.monotonic() - began < SOON / 2
    assert stage.kinds() == ["text", "exit"]


def test_one_that_never_comes_up(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path, born=lambda program: None)
    with pytest.raises(TargetFailedError, match="did not come up: it printed nothing"):
        stage.backend.wait_ready(0.05)


def test_one_that_refuses(stack: ExitStack, tmp_path: Path) -> None:
    def refuses(program: FakeProgram, message: Mapping[str, Any]) -> None:
        program.emit("reply", id=message["id"], ok=False, error="ValueError: no such point")

    stage = Stage(stack, tmp_path, script=refuses)
    with pytest.raises(TargetFailedError, match="refused 'hold': ValueError: no such point"):
        stage.backend.hold("NOWHERE", 1, deadline=SOON)


def test_one_that_dies_in_the_middle_of_a_call(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path, script=lambda program, message: program.exit(-11))
    assert took(lambda: stage.backend.close(SOON)) < SOON / 2
    last = stage.recorder.history().last("backend", "exit")
    assert last is not None
    assert last.data["status"] == -signal.SIGSEGV


def test_one_that_hangs_is_no_failure_of_the_target(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path, script=deaf)
    with pytest.raises(MachineLostError, match=r"did not answer 'close' in 0\.05 s"):
        stage.backend.close(0.05)


def test_a_late_answer_is_not_taken_for_the_next(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path, script=deaf)
    assert 0.05 <= took(lambda: stage.backend.call("first", deadline=0.05)) < SOON
    stage.program.reply(stage.program.received[0], "late")
    stage.program._script = lambda program, message: program.reply(message, "second")
    assert stage.backend.call("second", deadline=SOON) == "second"


def test_the_end_of_one_that_lives(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path, script=deaf)
    stage.backend.end(SOON)
    assert stage.backend.process.status == -signal.SIGKILL
    requested = list(stage.machine.requested)
    stage.backend.end(SOON)
    assert stage.machine.requested == requested


def test_one_that_survives_its_killing(stack: ExitStack, tmp_path: Path) -> None:
    stage = Stage(stack, tmp_path)
    stage.machine.verbs["signal"] = lambda pid, number: None  # a process in D state does not end
    with pytest.raises(MachineLostError, match="has not ended"):
        stage.backend.end(0.05)
