# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that panic, fall silent, are slow or vanish: the reported cause, and its delay."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fixtures.background import Background
from fixtures.context import ScenarioContext
from fixtures.program import Program
from fixtures.run_scenario import run_scenario
from fixtures.scenario import Plan
from fixtures.steps import fault_at_point
from fixtures.watcher import hung_tasks
from fixtures.watcher.console import PANIC_REPORT, ConsoleWatcher
from fixtures.watcher.resources import FREE
from inject.catalogue import FAULTS
from inject.waiting import wait_until
from results.errors import MachineLostError, TargetFailedError
from results.history import History, Recorder
from results.judge import Judgement
from results.ladder import Ladder
from results.store import ScenarioRecord
from results.verdict import Verdict
from suites.selftest.fakes import PANIC, SHORT_LADDER, FakeMachine, FakePool
from targets.lio.target import Lio

SOON = 5.0


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeMachine]:
    """Provide a machine that answers."""
    with FakeMachine(tmp_path / "guest.console") as machine:
        yield machine


# --- one verb -------------------------------------------------------------------------------------


def test_a_slow_verb_that_is_in_time(fake: FakeMachine) -> None:
    fake.verbs["read"] = lambda path: "words"
    fake.slow("read", 0.1)
    began = time.monotonic()
    pending = fake.machine.begin("read", "/x")
    assert time.monotonic() - began < 0.1
    assert pending.result(SOON) == "words"
    assert pending.seconds == pytest.approx(0.1, abs=0.05)


def test_a_slow_verb_that_is_late(fake: FakeMachine) -> None:
    fake.slow("rmdir", 0.8)
    pending = fake.machine.begin("rmdir", "/x")
    with pytest.raises(TimeoutError, match=r"rmdir /x on the fake has not ended after 0\.05 s"):
        pending.result(0.05)
    assert pending.result(SOON) is None
    with pytest.raises(MachineLostError, match=r"rmdir /x on the fake has not ended after 0\.2 s"):
        fake.machine.rmdir("/x")


def test_silence_is_bounded(fake: FakeMachine) -> None:
    fake.fall_silent()
    began = time.monotonic()
    with pytest.raises(MachineLostError):
        fake.machine.exists("/")
    assert SHORT_LADDER.step <= time.monotonic() - began < SOON
    assert fake.alive  # the connection is still open: the machine can be inspected from outside


def test_a_machine_that_vanishes_keeps_nobody_waiting(fake: FakeMachine) -> None:
    fake.slow("read", 60)
    pending = fake.machine.begin("read", "/x")
    fake.vanish()
    with pytest.raises(MachineLostError, match="is gone"):
        pending.result(SOON)
    assert not fake.alive


def test_the_console_is_heard_although_the_agent_is_silent(
    fake: FakeMachine, tmp_path: Path,
) -> None:
    fake.write_console("from before")
    before = fake.console.stat().st_size
    with (Recorder(tmp_path / "history.jsonl") as recorder,
          ConsoleWatcher(fake.console, before, recorder, lambda: 5.0) as watcher):
        fake.panic()
        assert watcher.wait_for(PANIC[1], SOON)
        assert not watcher.wait_for("from before", 0.01)
        with fake.console.open("a") as file:
            file.write("without a stamp, and cut off")
    first, *panic = recorder.history().events  # in order of time
    assert (first.time, first.data["text"]) == (5.0, "without a stamp, and cut off")
    assert [event.data["text"].partition("] ")[2] for event in panic] == list(PANIC)
    assert all(event.time == pytest.approx(time.monotonic(), abs=SOON) for event in panic)


# --- a whole scenario -----------------------------------------------------------------------------


HELD = "taint is 0\n" + "".join(f"memory {field} 1000\n" for field in FREE)
"""The machine's output when its resources are sampled."""


def run(
    fake: FakeMachine, tmp_path: Path, deploy: Callable[..., Any], fault: str = "backend-close", *,
    within: float = SOON,
) -> Judgement:
    """Run a scenario on the fake machine, ``within`` seconds; check that its records are kept."""
    record = ScenarioRecord(tmp_path / "record")
    record.path.mkdir()
    fake.verbs["run"] = lambda argv, stdin: {"status": 0, "stdout": HELD, "stderr": ""}
    target: Any = Lio()
    target.deploy = lambda machine, *_: deploy(machine)
    pool: Any = FakePool(fake, target)
    scenario = Plan(FAULTS[fault]).on(target.name, "6.1")
    began = time.monotonic()
    judgement, _ = run_scenario(scenario, pool, record, fault_at_point)
    assert time.monotonic() - began < within
    assert judgement.verdict is not Verdict.PASS
    assert record.load().verdict is judgement.verdict
    assert History.load(record.history).first("harness", "scenario") is not None
    return judgement


def test_a_target_that_fails_is_a_failure(fake: FakeMachine, tmp_path: Path) -> None:
    def refused(machine: Any) -> None:
        raise TargetFailedError("mkdir: Invalid argument")

    judgement = run(fake, tmp_path, refused)
    assert judgement.verdict is Verdict.FAIL
    assert "Invalid argument" in judgement.reason
    console = (tmp_path / "record/console.log").read_text()
    assert "begins" in console
    assert "ends" in console


@pytest.mark.parametrize(("fault", "more"), [("backend-close", None), ("cpu-hog+backend-close", 6)])
def test_nobody_is_called_hung_whose_teardown_is_in_time(
    fake: FakeMachine, tmp_path: Path, fault: str, more: int | None,
) -> None:
    fake.verbs["exists"] = lambda path: path == hung_tasks.TIMEOUT

    def refused(machine: Any) -> None:
        raise TargetFailedError("refused")

    run(fake, tmp_path, refused, fault)
    written = [args["text"] for verb, args in fake.requested
               if verb == "write" and args["path"] == hung_tasks.TIMEOUT]
    assert written == ([] if more is None else [str(SHORT_LADDER.hung_task + more)])
    scenario = History.load(tmp_path / "record/history.jsonl").first("harness", "scenario")
    assert scenario is not None
    assert scenario.data["ladder"]["teardown"] == SHORT_LADDER.teardown + (more or 0)


def test_what_the_kernel_refuses_is_a_failure(fake: FakeMachine, tmp_path: Path) -> None:
    def refused(machine: Any) -> None:
        raise PermissionError(13, "Permission denied", "/sys/kernel/config")

    assert run(fake, tmp_path, refused).verdict is Verdict.FAIL


def test_a_panic_is_a_failure(fake: FakeMachine, tmp_path: Path) -> None:
    def panics(machine: Any) -> None:
        fake.panic()
        machine.mkdir("/sys/kernel/config/target")

    judgement = run(fake, tmp_path, panics)
    assert judgement.verdict is Verdict.FAIL
    assert "panic" in judgement.reason
    assert PANIC[0] in (tmp_path / "record/console.log").read_text()


def waits(machine: Any) -> None:
    """Wait as a step does for an operation that never ends, for two minutes."""
    running = machine.begin("read", "/slow")
    wait_until(lambda: running.done, 120.0)


def sends_and_waits(machine: Any) -> None:
    """Wait for the result of a request, for two minutes."""
    machine.read("/slow", deadline=120.0)


@pytest.mark.parametrize("step", [waits, sends_and_waits])
@pytest.mark.parametrize("seen", ["console", "pvpanic"])
def test_a_panic_ends_its_scenario_within_5_s(
    tmp_path: Path, step: Callable[[Any], None], seen: str,
) -> None:
    """``run`` checks the time; the bounds are those of a real guest."""
    with FakeMachine(tmp_path / "guest.console", Ladder()) as fake:
        def panics(machine: Any) -> None:
            fake.slow("read", 120.0)
            alarm = threading.Timer(0.3, fake.panic if seen == "console" else fake.pvpanic)
            alarm.start()
            step(machine)

        judgement = run(fake, tmp_path, panics)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.decided_by is not None
    assert judgement.decided_by.name == "kernel_health"
    assert "kernel panic" in judgement.reason


def test_the_death_of_an_agent_ends_its_scenario(tmp_path: Path) -> None:
    """No fault of the target: UNKNOWN. ``run`` checks the time."""
    with FakeMachine(tmp_path / "guest.console", Ladder()) as fake:
        def dies(machine: Any) -> None:
            fake.slow("read", 120.0)
            threading.Timer(0.3, fake.connection.abandon, ["its agent has died"]).start()
            waits(machine)

        judgement = run(fake, tmp_path, dies)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "its agent has died" in judgement.reason


FLOOD = 30_000
"""Lines: more than a console's watcher records."""


@pytest.mark.parametrize(("last", "verdict", "reason"), [
    ("nothing more", Verdict.PASS, "30002 console lines, no report"),
    ("BUG: unable to handle page fault for address: ffffc90000000000", Verdict.FAIL, "page fault"),
    ("** 17 printk messages dropped **", Verdict.UNKNOWN,
     "30002 console lines, no report, but the kernel dropped 17 messages before they were printed"),
])
def test_a_flooded_console_is_read_to_its_end(
    fake: FakeMachine, tmp_path: Path, last: str, verdict: Verdict, reason: str,
) -> None:
    def floods(machine: Any) -> None:
        with fake.console.open("a") as file:
            file.writelines(f"[    1.000000] dev_vdisk: Unjamming dev {number}\n"
                            for number in range(FLOOD))
        fake.write_console(last)
        raise TargetFailedError("refused")

    run(fake, tmp_path, floods, within=60.0)
    (health,) = (check for check in ScenarioRecord(tmp_path / "record").load().checks
                 if check.name == "kernel_health")
    assert (health.verdict, health.reason) == (verdict, reason)


@dataclass
class Backlog:
    """A console on which lines come for a while before the mark of a scenario's end.

    ``lines``: their number; the mark never comes if it is None.
    """

    fake: FakeMachine
    lines: int | None
    over: threading.Event = field(default_factory=threading.Event)

    def write(self, path: str, text: str) -> None:
        """Write to a file of the machine's; before the end mark write the backlog, in a thread."""
        if text.endswith(" ends\n"):
            threading.Thread(target=self._flood, args=[text.strip()]).start()
        elif path == "/dev/kmsg":
            self.fake.write_console(text.strip())

    def _flood(self, mark: str) -> None:
        for number in count():
            if number == self.lines:
                self.fake.write_console(mark)
                return
            self.fake.write_console(f"dev_vdisk: Unjamming dev {number}")
            if self.over.wait(self.fake.ladder.silence / 10):
                return


@pytest.mark.parametrize(("lines", "health", "reason"), [
    (15, Verdict.PASS, "16 console lines, no report"),
    (None, Verdict.UNKNOWN, "but the console was followed to no mark of the scenario's end"),
])
def test_a_console_is_followed_for_as_long_as_its_backlog_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int | None, health: Verdict,
    reason: str,
) -> None:
    """The end mark comes after more seconds than a silent console gets, or it never comes."""
    monkeypatch.setattr("fixtures.run_scenario.BACKLOG", 1500)
    with FakeMachine(tmp_path / "guest.console") as fake:
        backlog = Backlog(fake, lines)

        def refused(machine: Any) -> None:
            fake.verbs["write"] = backlog.write
            raise TargetFailedError("refused")

        run(fake, tmp_path, refused)
        backlog.over.set()
    record = ScenarioRecord(tmp_path / "record")
    (found,) = (check for check in record.load().checks if check.name == "kernel_health")
    assert found.verdict is health
    assert reason in found.reason
    errors = [event.data["message"] for event in
              History.load(record.history).select("harness", "error")]
    assert any("does not end" in error for error in errors) is (lines is None)


@pytest.mark.parametrize("stage", [FakeMachine.fall_silent, FakeMachine.vanish])
def test_a_machine_that_is_lost_is_unknown(
    fake: FakeMachine, tmp_path: Path, stage: Callable[[FakeMachine], None],
) -> None:
    def lost(machine: Any) -> None:
        stage(fake)
        machine.mkdir("/sys/kernel/config/target")

    assert run(fake, tmp_path, lost).verdict is Verdict.UNKNOWN


def test_a_machine_that_cannot_be_had_is_unknown(fake: FakeMachine, tmp_path: Path) -> None:
    fake.answers_sync = False
    judgement = run(fake, tmp_path, lambda machine: None)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "did not answer" in judgement.reason


def test_an_interrupt_keeps_what_is_known(fake: FakeMachine, tmp_path: Path) -> None:
    def interrupted(machine: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(fake, tmp_path, interrupted)
    record = ScenarioRecord(tmp_path / "record")
    phases = History.load(record.history).select("harness", "phase")
    assert [event.data["name"] for event in phases] == ["restore", "deploy"]
    assert record.load().verdict is not Verdict.PASS


def test_a_panic_ends_every_wait_at_once(fake: FakeMachine, tmp_path: Path) -> None:
    with (Recorder(tmp_path / "history.jsonl") as recorder,
          ConsoleWatcher(fake.console, 0, recorder, lambda: 5.0,
                         on_panic=fake.connection.abandon)):
        program = Program(fake.machine, "p", "m", [], on_event=lambda event: None)
        fake.slow("read", 60.0)
        slow = fake.machine.begin("read", "/slow")
        began = time.monotonic()
        fake.panic()
        for wait in (lambda: program.wait(lambda: False, 60.0),
                     lambda: program.process.wait(60.0),
                     lambda: slow.result(60.0),
                     lambda: fake.machine.read("/anything")):
            with pytest.raises(MachineLostError, match="Kernel panic - not syncing"):
                wait()
        assert PANIC_REPORT <= time.monotonic() - began < 3.0
    assert [event for event in recorder.history().events if "---[ end" in str(event.data)]


def never() -> bool:
    """Return False."""
    return False


def context(fake: FakeMachine, tmp_path: Path, recorder: Recorder) -> ScenarioContext:
    """Return a scenario's context on the fake machine."""
    pool: Any = FakePool(fake, Lio())
    guest: Any = fake
    return ScenarioContext(Plan(FAULTS["release"]).on("lio", "6.1"), pool, guest, recorder,
                           ScenarioRecord(tmp_path))


def test_a_lost_machine_ends_the_waits_of_a_scenario(fake: FakeMachine, tmp_path: Path) -> None:
    with (Recorder(tmp_path / "history.jsonl") as recorder,
          ConsoleWatcher(fake.console, 0, recorder, lambda: 5.0) as watcher):
        ctx = context(fake, tmp_path, recorder)
        fake.slow("read", 60.0)
        slow = fake.machine.begin("read", "/slow")
        background = Background(lambda: None, never, 60.0, ctx.wait_until)
        began = time.monotonic()
        threading.Timer(0.2, fake.connection.abandon, ["given up"]).start()
        for wait in (lambda: ctx.sleep(60.0),
                     lambda: ctx.wait_until(never, 60.0),
                     background.join,
                     lambda: wait_until(lambda: slow.done, 60.0),
                     lambda: watcher.wait_for("no such line", 60.0, fake.machine)):
            with pytest.raises(MachineLostError, match="given up"):
                wait()
        assert 0.2 <= time.monotonic() - began < 2.0


def test_a_machine_that_was_given_up_is_back_after_a_restore(fake: FakeMachine) -> None:
    fake.connection.abandon("given up")
    assert not fake.alive and not fake.connection.closed
    with pytest.raises(MachineLostError, match="given up"):
        fake.machine.exists("/")
    fake.connection.sync(SOON)
    assert fake.alive
    fake.connection.sleep(0.01)
    assert not fake.machine.exists("/")


def test_one_that_has_vanished_is_not(fake: FakeMachine) -> None:
    fake.vanish()
    with pytest.raises(MachineLostError, match="is gone"):
        fake.connection.sleep(SOON)
    with pytest.raises(MachineLostError, match="is gone"):
        fake.connection.sync(SOON)
    assert fake.connection.closed


def test_two_machines_of_a_scenario_are_lost_together(fake: FakeMachine, tmp_path: Path) -> None:
    with FakeMachine(tmp_path / "other.console") as other:
        fake.connection.share_loss(other.connection)
        other.connection.abandon("the initiator's kernel panicked")
        with pytest.raises(MachineLostError, match="the initiator's kernel panicked"):
            fake.connection.sleep(SOON)
        for machine in (fake, other):
            machine.connection.sync(SOON)
        assert fake.alive and other.alive
