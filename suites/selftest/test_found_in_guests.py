# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples and traces as recorded in failing guests."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.watcher.resources import FREE, Holdings, ResourceWatcher
from fixtures.watcher.trace import BlockLedger
from results.history import Recorder
from results.judge import judge
from results.verdict import Verdict
from suites.selftest.stories import Story, healthy, io
from targets.machine import Completed


def sampled(story: Story, samples: list[tuple[float, float, float, float]]) -> None:
    """Sample one thread from 19 s on: interval, cpu, over, waited of each (seconds)."""
    story.without("sampler", "threads", "blocked", after=18.9)
    time = 19.0
    for interval, cpu, over, waited in samples:
        time += interval
        story.at(time, "sampler", "threads", interval=interval, threads=[
            {"pid": 7, "comm": "stf_sick_spin", "state": "R", "cpu": cpu, "over": over,
             "waited": waited}])
        story.at(time, "sampler", "blocked", tasks=[])


@pytest.mark.parametrize(("samples", "verdict"), [
    # lio-6.1 on a host with a load of 9: the walk over /proc took from 10 to 300 ms
    ([(0.758, 0.54, 0.543, 0.0), (0.688, 0.75, 0.755, 0.0)], Verdict.FAIL),
    # a thread that yields, on a guest whose CPUs are contended
    ([(0.528, 0.43, 0.565, 0.126), (0.58, 0.54, 0.553, 0.01)], Verdict.FAIL),
    ([(0.536, 0.24, 0.547, 0.319), (0.536, 0.56, 0.631, 0.063)], Verdict.FAIL),
    # a thread that works a little and waits for a CPU most of the time
    ([(0.536, 0.1, 0.547, 0.44), (0.536, 0.1, 0.547, 0.44)], Verdict.PASS),
    # a thread that is idle part of the time, or always
    ([(0.536, 0.4, 0.5, 0.0), (0.536, 0.4, 0.5, 0.0)], Verdict.PASS),
    ([(0.536, 0.0, 0.0, 0.0), (0.536, 0.0, 0.0, 0.0)], Verdict.PASS),
])
def test_who_spins(samples: list[tuple[float, float, float, float]], verdict: Verdict) -> None:
    story = healthy()
    story.without("block", disk="sdb")
    quiet = [(0.5, 0.0, 0.5, 0.0)] * 5
    sampled(story, [*samples, *quiet])
    check = story.check("threads")
    assert check.verdict is verdict, check.reason


def test_an_oops_turns_tracing_off_and_no_command_is_late_for_it() -> None:
    """oops_enter(), kernel/panic.c: the trace never shows the end of in-flight commands."""
    story = healthy()
    io(story, 50, 15.0, None)
    assert story.verdict("deadline") is Verdict.FAIL
    story.at(15.1, "block", "lost", count=1)
    assert story.verdict("deadline") is Verdict.UNKNOWN
    assert story.verdict("ledger") is Verdict.UNKNOWN


def test_what_was_seen_late_is_late_in_a_trace_with_holes_too() -> None:
    story = healthy()
    io(story, 50, 14.2, 8.0)
    story.at(15.1, "block", "lost", count=1)
    assert story.verdict("deadline") is Verdict.FAIL


def test_nobody_waits_for_what_the_trace_lost() -> None:
    ledger = BlockLedger("sda")
    ledger.take(1.0, "block_rq_issue", "8,0 W 4096 () 8 + 8 [fio]")
    assert ledger.open_since(2.0) == 1
    ledger.forget()
    assert ledger.open_since(2.0) == 0


def test_a_console_that_talks_on_does_not_tell_how_the_io_ended() -> None:
    """The agent was killed: TCMU's timeouts and the initiator's errors went on for a minute."""
    story = healthy().until(14.05)
    for second in range(15, 80):
        story.at(second, "console", "line",
                 text=f"[{second:5}.000000] I/O error, dev sda, sector 15312 op 0x1:(WRITE)")
    story.at(60.0, "harness", "error", family="MachineLostError", message="signal on guest 6.1 "
             "has not ended after 15 s")
    judgement = judge(story.history())
    assert judgement.verdict is Verdict.UNKNOWN, judgement.reason
    assert "lost" in judgement.reason


def test_a_console_that_reports_when_all_else_is_silent_is_believed() -> None:
    story = healthy().until(14.05)
    story.at(20.0, "console", "line",
             text="[   20.000000] Kernel panic - not syncing: sysrq triggered crash")
    story.at(60.0, "harness", "error", family="MachineLostError", message="silent")
    assert story.verdict("kernel_health") is Verdict.FAIL


# --- resources ------------------------------------------------------------------------------------


class Holder:
    """A machine whose target frees one object at every sample."""

    def __init__(self, objects: int) -> None:
        self.objects = objects
        self.argv: list[str] = []

    def now(self) -> float:
        """Return a constant time."""
        return 1.0

    def run(self, argv: list[str], **_: Any) -> Completed:
        """Return the resources in SCRIPT's output format."""
        self.argv = argv
        words = [f"slab tcmu_cmd_cache {self.objects}", "module tcm_loop 1", "taint is 12288",
                 *(f"memory {field} 10" for field in FREE), "memory MemTotal 999"]
        self.objects = max(0, self.objects - 1)
        return Completed(tuple(argv), 0, "\n".join(words) + "\n", "")


def watched(machine: Any, tmp_path: Any, deadline: float) -> list[dict[str, Any]]:
    """Record a baseline of no objects, then the machine's objects; return all samples."""
    with Recorder(tmp_path / "history.jsonl") as recorder:
        watcher = ResourceWatcher(machine, recorder, ("tcmu_cmd_cache", "x"), ("tcm_loop",))
        objects, machine.objects = machine.objects, 0
        watcher.baseline()
        machine.objects = objects
        watcher.after(deadline)
        return [dict(event.data) for event in recorder.history().select("sampler", "resources")]


def test_what_is_held_is_recorded(tmp_path: Any) -> None:
    machine = Holder(0)
    baseline, after = watched(machine, tmp_path, 0.0)
    assert baseline == {"when": "baseline", "slabs": {"tcmu_cmd_cache": 0},
                        "modules": {"tcm_loop": 1}, "free_kib": 10 * len(FREE), "taint": 12288}
    assert after == {**baseline, "when": "after"}
    assert machine.argv[-2:] == ["tcmu_cmd_cache x", "tcm_loop"]


@pytest.mark.parametrize(("objects", "deadline", "left"), [(3, 5.0, 0), (3, 0.0, 3)])
def test_what_is_on_its_way_back_is_waited_for(
    tmp_path: Any, objects: int, deadline: float, left: int,
) -> None:
    _, after = watched(Holder(objects), tmp_path, deadline)
    assert after["slabs"] == {"tcmu_cmd_cache": left}


def test_what_exceeds_the_baseline() -> None:
    baseline = Holdings({"a": 1}, {"m": 2}, free_kib=10)
    assert not Holdings({"a": 1}, {"m": 2}, free_kib=1).exceeds(baseline)
    assert not Holdings({"a": 0}, {}).exceeds(baseline)
    assert Holdings({"a": 2}, {"m": 2}).exceeds(baseline)
    assert Holdings({"a": 1}, {"m": 3}).exceeds(baseline)
    assert Holdings({"a": 1, "b": 1}, {}).exceeds(baseline)
