# SPDX-License-Identifier: GPL-2.0-or-later
"""Each checker on a healthy history, on each way to fail, and on an empty history."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from results.checkers.deadline import percentile
from results.history import History
from results.judge import CHECKERS, judge
from results.ladder import Ladder
from results.verdict import Check, Signature, Verdict, deciding
from suites.selftest.stories import (
    END,
    FIRED,
    OPTIONAL,
    SCENARIO,
    STATED,
    Change,
    Story,
    healthy,
    io,
    sample,
)

LADDER = Ladder()


def lose_machine(story: Story, time: float) -> Story:
    """Kill QEMU in a history: its events end, and the harness reports the loss 0.2 s later."""
    story.until(time)
    return story.at(time + 0.2, "harness", "lost", what="QEMU was killed by signal 9")


@pytest.mark.parametrize("fault", ["close", "kill", "remove", "release"])
def test_healthy(fault: str) -> None:
    judgement = judge(healthy(fault).history())
    assert {check.name: check.verdict for check in judgement.checks} == dict.fromkeys(
        [name for name in CHECKERS if name not in STATED], Verdict.PASS
    ), judgement.reason
    assert judgement.verdict is Verdict.PASS
    assert judgement.scenario == SCENARIO
    json.dumps(judgement.to_json(), allow_nan=False)


def _never_ends(story: Story) -> None:
    story.without("block", "complete", disk="sda", io=21)


def _loses_a_workload(story: Story) -> None:
    story.without("block", "complete", disk="sda", io=21).without("workload", "end", job="load")


def _completes_twice(story: Story) -> None:
    story.at(14.9, "block", "complete", io=3, disk="sda", op="write", sector=24, error=None,
             seconds=3.0)


def _strays(story: Story) -> None:
    story.at(14.9, "block", "stray", disk="sda", op="write", sector=99, error=None)


def _is_refused_before_the_fault(story: Story) -> None:
    story.at(13.0, "block", "refused", disk="sda", op="write", sector=98, error="EIO")


def _never_issued(story: Story) -> None:
    story.at(14.9, "block", "complete", io=77, disk="sda", op="write", sector=99, error=None,
             seconds=1.0)


def _fails_early(story: Story) -> None:
    story.changed("block", "complete", {"disk": "sda", "io": 5}, error="EIO")


def _fails_at_the_control(story: Story) -> None:
    for serial in range(20, 24):
        story.changed("block", "complete", {"disk": "sda", "io": serial}, error="EIO")


def _is_late_at_the_fault(story: Story) -> None:
    story.without("block", "complete", disk="sda", io=21)
    story.at(FIRED + LADDER.command + 0.1, "block", "complete", io=21, disk="sda", op="write",
             sector=168, error="EIO", seconds=5.3)


def _is_late_after_the_fault(story: Story) -> None:
    io(story, 50, 15.0, LADDER.command + 0.1)


def _teardown_never_ends(story: Story) -> None:
    story.without("target", "end", operation="teardown")


def _teardown_is_late(story: Story) -> None:
    story.changed("target", "end", {"operation": "teardown"}, seconds=LADDER.teardown + 0.1)


def _teardown_fails(story: Story) -> None:
    story.changed("target", "end", {"operation": "teardown"}, error="device busy")


def _oopses(story: Story) -> None:
    story.at(15.0, "console", "line", text="[   15.000000] BUG: kernel NULL pointer dereference, "
             "address: 0000000000000008")


def _runs_out_of_memory(story: Story) -> None:
    story.at(15.0, "console", "line", text="[   15.000000] Out of memory: Killed process 321 "
             "(python3) total-vm:80000kB, anon-rss:60000kB, file-rss:0kB, shmem-rss:0kB")


def _spins(story: Story) -> None:
    story.without("sampler", after=16.0)
    for tick in range(32, 48):
        sample(story, tick / 2, {"scst_usr_cleanu": 0.49 if tick < 36 else 0.0})


def _blocks(story: Story) -> None:
    story.without("sampler", after=16.0)
    for tick in range(32, 48):
        stack = ["msleep+0x2d/0x40", "schedule", "wait"]
        sample(story, tick / 2, blocked={"scst_usr_releas": stack})


def _redeploy_fails(story: Story) -> None:
    story.changed("target", "end", {"operation": "redeploy"}, error="EEXIST: name in use")


def _redeploy_hangs(story: Story) -> None:
    story.without("target", "end", operation="redeploy")
    story.at(END + 60.0, "harness", "phase", name="late")
    story.without("harness", "phase", name="end").at(END + 60.0, "harness", "phase", name="end")


def _verify_fails(story: Story) -> None:
    story.changed("workload", "end", {"job": "verify"}, exit=1, error="verify: bad magic")


def _verify_errors(story: Story) -> None:
    story.changed("workload", "end", {"job": "verify"}, errors=2)


def _target_failed(story: Story) -> None:
    story.at(15.0, "harness", "error", family="TargetFailedError", message="module in use")


def step(story: Story, time: float, action: str, handle: int, **other: object) -> None:
    """Add a step of the backend at EXEC."""
    story.at(time, "backend", "step", point="EXEC", action=action, handle=handle, opcode=0x2A,
             direction="write", lba=0, bytes=4096, **other)


def _answers_twice(story: Story) -> None:
    for time, action in ((13.8, "received"), (13.9, "held"), (15.0, "answered"),
                         (15.1, "answered")):
        step(story, time, action, 21)


def _fails_otherwise(story: Story) -> None:
    story.changed("fault", "armed", {}, expect={"errors": ["EIO"]})
    story.changed("block", "complete", {"disk": "sda", "io": 21}, error="ETIMEDOUT")


@pytest.mark.parametrize(("name", "change", "words"), [
    ("ledger", _never_ends, "1 of 34 never ended, first: write of 4096 bytes at sector 168 of sda"),
    ("ledger", _loses_a_workload, "stuck with them: workload load"),
    ("ledger", _completes_twice, "twice, first: write at sector 24 of sda"),
    ("ledger", _strays, "without having been issued, first: write at sector 99"),
    ("ledger", _is_refused_before_the_fault, "refused when nothing was broken"),
    ("ledger", _never_issued, "without having been issued"),
    ("ledger", _fails_early, "1 failed when nothing was broken, first: write of 4096 bytes"),
    ("ledger", _answers_twice, "the backend answered twice at EXEC: handle 21"),
    ("ledger", _fails_otherwise, "1 failed as the fault does not allow (EIO), first: write"),
    ("deadline", _never_ends, "1 of 14 later than 5 s"),
    ("deadline", _is_late_at_the_fault, "took 5.3 s"),
    ("deadline", _is_late_after_the_fault, "took 5.1 s"),
    ("teardown", _teardown_never_ends, "had not ended after 9.9 s"),
    ("teardown", _teardown_is_late, "took 7.1 s, allowed are 7 s"),
    ("teardown", _teardown_fails, "failed: device busy"),
    ("kernel_health", _oopses, "NULL pointer dereference"),
    ("kernel_health", _runs_out_of_memory, "out of memory"),
    ("threads", _spins, "scst_usr_cleanu:100 burnt 98% of a CPU for 2.0 s"),
    ("threads", _blocks, "scst_usr_releas:200 (msleep < schedule < wait) in D state"),
    ("recovery", _redeploy_fails, "EEXIST: name in use"),
    ("recovery", _redeploy_hangs, "had not ended after 65.8 s"),
    ("recovery", _verify_fails, "verify: bad magic"),
    ("recovery", _verify_errors, "2 errors"),
    ("operations", _target_failed, "module in use"),
])
def test_fails(name: str, change: Change, words: str) -> None:
    story = healthy()
    change(story)
    check = story.check(name)
    assert check.verdict is Verdict.FAIL, check.reason
    assert words in check.reason
    assert judge(story.history()).verdict is Verdict.FAIL


def test_no_io_may_fail_under_the_control() -> None:
    story = healthy("release")
    _fails_at_the_control(story)
    check = story.check("ledger")
    assert check.verdict is Verdict.FAIL
    assert "4 failed when nothing was broken" in check.reason


@pytest.mark.parametrize(("recorded", "fault", "verdict"), [
    ({"breaks": False}, "another-control", Verdict.FAIL),
    ({"breaks": True}, "release", Verdict.PASS),
    ({}, "release", Verdict.FAIL),  # older histories have the name only
    ({}, "close", Verdict.PASS),
])
def test_the_history_records_whether_a_fault_breaks_anything(
    recorded: dict[str, bool], fault: str, verdict: Verdict,
) -> None:
    story = healthy("release").changed("fault", "armed", {}, fault=fault, **recorded)
    story.changed("fault", "fired", {}, fault=fault)
    _fails_at_the_control(story)
    assert story.verdict("ledger") is verdict


def test_a_fault_fires_after_the_commands_are_held() -> None:
    """The harness stamps the fault with a clock that may be behind the guest's."""
    story = healthy().without("backend", "held").without("fault", "fired")
    story.at(13.75, "fault", "fired", fault="close", point="exec", held=4)
    assert story.verdict("deadline") is Verdict.UNKNOWN
    story.at(13.9, "backend", "held", point="exec", count=4, handles=[20, 21, 22, 23])
    assert story.verdict("deadline") is Verdict.PASS


def test_an_error_while_commands_are_held_is_the_tests_own_doing() -> None:
    story = healthy()
    io(story, 50, 13.0, 0.95, error="EIO")
    check = story.check("ledger")
    assert check.verdict is Verdict.UNKNOWN
    assert "1 failed while commands were being held" in check.reason


def test_a_completion_from_before_the_trace_is_no_stray() -> None:
    story = healthy()
    story.at(11.3, "block", "stray", disk="sda", op="read", sector=0, error=None)
    assert story.verdict("ledger") is Verdict.PASS


def test_a_disk_announced_again_has_a_trace_of_its_own() -> None:
    """A device is deployed again under the name of the first: its early reads are no strays."""
    story = healthy()
    end = story.history().events[-1].time
    story.at(end - 0.2, "target", "disk", name="sda", device="8:0", identity="STF stf-stf0")
    story.at(end - 0.1, "block", "stray", disk="sda", op="read", sector=0, error=None)
    assert story.verdict("ledger") is Verdict.PASS
    story.at(end - 0.09, "workload", "begin", job="again", disk="sda", options={})
    story.at(end - 0.08, "block", "stray", disk="sda", op="read", sector=8, error=None)
    check = story.check("ledger")
    assert "1 completed without having been issued, first: read at sector 8" in check.reason


def test_after_the_fault_an_io_may_be_refused() -> None:
    story = healthy()
    story.at(14.5, "block", "refused", disk="sda", op="write", sector=99, error="ENODEV")
    check = story.check("ledger")
    assert check.verdict is Verdict.PASS
    assert check.figures["io_refused"].value == 1


def test_verification_need_not_be_traced() -> None:
    story = healthy().without("block", disk="sdb")
    assert judge(story.history()).verdict is Verdict.PASS


def _no_disk(story: Story) -> None:
    story.without("target", "disk")


def _no_io(story: Story) -> None:
    story.without("block")


def _no_fault(story: Story) -> None:
    story.without("fault")


def _no_teardown(story: Story) -> None:
    story.without("target", operation="teardown")


def _no_console(story: Story) -> None:
    story.without("console")


def _other_marker(story: Story) -> None:
    story.without("console").at(10.0, "console", "line", text="stf: scenario other begins")
    _oopses(story)


def _no_samples(story: Story) -> None:
    story.without("sampler", after=FIRED)


def _samples_end_early(story: Story) -> None:
    story.without("sampler", after=15.5)


def _no_blocked_samples(story: Story) -> None:
    story.without("sampler", "blocked")


def _no_redeploy(story: Story) -> None:
    story.without("target", operation="redeploy")


def _no_verify(story: Story) -> None:
    story.without("workload", job="verify")


def _no_verify_end(story: Story) -> None:
    story.without("workload", "end", job="verify")


def _verify_of_nothing(story: Story) -> None:
    story.changed("workload", "end", {"job": "verify"}, ios=0)


def _no_workload_end(story: Story) -> None:
    story.without("workload", "end", job="load")


def _no_end(story: Story) -> None:
    story.without("harness", "phase", name="end")


def _tool_broken(story: Story) -> None:
    story.at(15.0, "harness", "error", family="MachineLostError", message="fio is not there")


def _harness_broken(story: Story) -> None:
    story.at(15.0, "harness", "error", family="KeyError", message="'x'")


def _lost(story: Story) -> None:
    lose_machine(story, 15.0)


def _trace_overrun(story: Story) -> None:
    _strays(story)
    story.at(15.0, "block", "lost", count=12)


def _trace_repeats(story: Story) -> None:
    story.at(14.1, "block", "issue", io=21, disk="sda", op="write", sector=168, bytes=4096)


def _held_elsewhere(story: Story) -> None:
    for serial in range(20, 24):
        story.without("block", disk="sda", io=serial)


def _no_operations(story: Story) -> None:
    story.without("target", "begin", "end")


def _busy_throughout(story: Story) -> None:
    for serial in range(60, 75):
        io(story, serial, 11.0 + serial - 60, 1.2)
    io(story, 75, 23.5, None)


@pytest.mark.parametrize(("name", "change", "words"), [
    ("ledger", _no_disk, "no disk of the target was announced"),
    ("ledger", _no_io, "no I/O was seen on sda, sdb"),
    ("ledger", _no_workload_end, "no end was recorded of: workload load"),
    ("ledger", _trace_overrun, "lost 12 events"),
    ("ledger", _trace_repeats, "issued twice"),
    ("deadline", _no_fault, "the fault never fired"),
    ("deadline", _no_io, "no I/O was in flight"),
    ("deadline", _held_elsewhere, "4 commands were held at the fault, but no I/O was in flight"),
    ("deadline", _trace_overrun, "not whole"),
    ("teardown", _no_teardown, "no teardown was begun"),
    ("kernel_health", _no_console, "the console has no marker"),
    ("kernel_health", _other_marker, "the console has NULL pointer dereference"),
    ("threads", _no_fault, "the fault never fired"),
    ("threads", _no_samples, "no sample of the threads"),
    ("threads", _no_blocked_samples, "no sample was taken after the teardown"),
    ("threads", _samples_end_early, "no sample was taken after the teardown"),
    ("threads", _busy_throughout, "commands were in flight in every sample"),
    ("recovery", _no_redeploy, "not attempted"),
    ("recovery", _no_verify, "not verified"),
    ("recovery", _no_verify_end, "did not end"),
    ("recovery", _verify_of_nothing, "no I/O"),
    ("machine", _no_end, "did not run to its end (last phase: recover)"),
    ("machine", _tool_broken, "fio is not there"),
    ("machine", _harness_broken, "KeyError: 'x'"),
    ("machine", _lost, "the machine was lost: QEMU was killed by signal 9"),
    ("operations", _no_operations, "no operation on the target"),
])
def test_cannot_tell(name: str, change: Change, words: str) -> None:
    story = healthy()
    change(story)
    check = story.check(name)
    assert check.verdict is Verdict.UNKNOWN, check.reason
    assert words in check.reason
    assert judge(story.history()).verdict is not Verdict.PASS


@pytest.mark.parametrize("name", sorted(set(CHECKERS) - OPTIONAL))
def test_nothing_at_all_is_unknown(name: str) -> None:
    assert Story().verdict(name) is Verdict.UNKNOWN


def test_what_was_not_asked_is_not_checked() -> None:
    story = healthy().without("sampler", "resources")
    story.without("workload", "writing", "wrote", "read", "found")
    judgement = judge(story.history())
    assert {check.name for check in judgement.checks} == {*CHECKERS} - OPTIONAL
    assert judgement.verdict is Verdict.PASS


@pytest.mark.parametrize("time", [10.4, 12.05, 13.85, 14.02, 15.0, 15.3, 17.0, 18.3, 19.55, 22.0])
def test_a_machine_lost_at_any_time_is_unknown(time: float) -> None:
    story = lose_machine(healthy(), time)
    judgement = judge(story.history())
    assert judgement.verdict is Verdict.UNKNOWN, judgement.reason
    assert judgement.decided_by is not None
    assert judgement.decided_by.name == "machine"


def test_what_the_harness_notes_after_the_loss_blames_nobody() -> None:
    story = lose_machine(healthy(), 15.0)
    story.at(15.3, "target", "end", operation="teardown", seconds=1.2, error="MachineLostError: x")
    story.at(23.0, "harness", "error", family="TargetFailedError", message="still there after 8 s")
    story.at(24.0, "target", "begin", operation="redeploy")
    story.at(25.0, "target", "end", operation="redeploy", seconds=1.0, error="no machine")
    story.at(60.0, "harness", "phase", name="end")
    judgement = judge(story.history())
    assert judgement.verdict is Verdict.UNKNOWN, judgement.reason


def test_a_stall_seen_before_the_loss_is_a_failure() -> None:
    story = healthy()
    _never_ends(story)
    lose_machine(story, FIRED + LADDER.command + 0.5)
    assert story.verdict("ledger") is Verdict.FAIL
    assert story.verdict("deadline") is Verdict.FAIL


def test_teardown_names_who_is_blocked() -> None:
    story = healthy()
    _teardown_never_ends(story)
    _blocks(story)
    check = story.check("teardown")
    assert "; in D state: scst_usr_releas:200 (msleep < schedule < wait)" in check.reason
    assert check.evidence[0]["comm"] == "scst_usr_releas"


@pytest.mark.parametrize(("grace", "verdict"), [(0.0, Verdict.FAIL), (2.0, Verdict.PASS)])
def test_a_teardown_may_be_later_by_what_is_beside_it(grace: float, verdict: Verdict) -> None:
    story = healthy().without("target", "end", operation="teardown")
    story.changed("harness", "scenario", {}, ladder=asdict(LADDER.extended(grace)))
    seconds = LADDER.teardown + 1.5
    story.at(14.1 + seconds, "target", "end", operation="teardown", seconds=seconds, error=None)
    assert story.verdict("teardown") is verdict


def test_an_extended_ladder_is_a_ladder() -> None:
    extended = LADDER.extended(12.5)
    assert extended.teardown == LADDER.teardown + 12.5
    assert extended.hung_task == LADDER.hung_task + 13  # a whole number of seconds
    waits = [seconds for name, seconds in extended.rungs() if name != "soft lockup"]
    assert waits == sorted(waits)
    assert extended.soft_lockup == LADDER.soft_lockup
    assert LADDER.extended(0.0) == LADDER


@pytest.mark.parametrize(("worn", "verdict"), [(False, Verdict.UNKNOWN), (True, Verdict.PASS)])
def test_what_is_aborted_more_often_than_it_is_tried_may_fail(
    worn: bool, verdict: Verdict,
) -> None:
    story = healthy()
    _fails_early(story)
    story.at(10.05, "fault", "armed", fault="it", point="exec", count=4, opcodes=None,
             direction="write", expect={"wears_others_out": worn})
    story.events.sort(key=lambda event: event.time)
    assert story.verdict("ledger") is verdict


def test_teardown_time_is_a_figure() -> None:
    assert healthy().check("teardown").figures["teardown_time"].value == 1.5


def test_latency_by_phase() -> None:
    figures = {name: figure.value for name, figure in healthy().check("deadline").figures.items()}
    assert figures["latency_before_count"] == 20
    assert figures["latency_before_p50"] == pytest.approx(0.019)
    assert figures["latency_before_max"] == pytest.approx(0.029)
    assert figures["latency_during_count"] == 4
    assert figures["latency_during_max"] == pytest.approx(1.43)
    assert figures["latency_after_count"] == 10
    assert figures["latency_after_p99"] == pytest.approx(0.02)
    assert figures["longest_command"] == pytest.approx(1.43)


def test_what_is_under_way_when_a_story_breaks_off_is_not_stuck() -> None:
    """After an error the trace is not recorded: only commands already late by then are stuck."""
    story = healthy()
    story.at(END - 2.0, "harness", "error", family="TargetFailedError", message="it hung up")
    io(story, 90, END - 2.1, None, "read")
    assert story.verdict("ledger") is Verdict.UNKNOWN
    io(story, 91, END - 2.1 - LADDER.command, None, "read")
    assert story.verdict("ledger") is Verdict.FAIL


def test_an_open_command_counts_as_long_as_it_was_seen() -> None:
    story = healthy()
    _never_ends(story)
    assert story.check("deadline").figures["longest_command"].value == pytest.approx(END - 13.8)


def test_a_command_held_before_the_fault_is_not_late() -> None:
    story = healthy()
    story.without("block", disk="sda", io=21)
    io(story, 21, FIRED - 2 * LADDER.command, 2 * LADDER.command + 1.0, error="EIO")
    assert story.verdict("deadline") is Verdict.PASS


@pytest.mark.parametrize(("percent", "expected"), [(50, 2.0), (99, 4.0), (100, 4.0), (1, 1.0)])
def test_percentile(percent: float, expected: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == expected


def test_percentile_of_nothing() -> None:
    assert percentile([], 50) is None


def _after_teardown(threads: list[float], blocked: list[bool]) -> Check:
    story = healthy()
    story.without("sampler", after=16.0)
    for tick, (cpu, is_blocked) in enumerate(zip(threads, blocked, strict=True)):
        stack = {"kworker/0:1": ["__schedule"]} if is_blocked else {}
        sample(story, 16.5 + 0.5 * tick, {"stf_test": cpu}, stack)
    return story.check("threads")


@pytest.mark.parametrize(("cpu", "verdict"), [
    ([0.5, 0.5, 0.0, 0.0], Verdict.FAIL),
    ([0.45, 0.45, 0.0, 0.0], Verdict.FAIL),
    ([0.44, 0.5, 0.0, 0.0], Verdict.PASS),
    ([0.5, 0.0, 0.5, 0.0], Verdict.PASS),
    ([0.0, 0.0, 0.5, 0.5], Verdict.FAIL),
])
def test_spinning_needs_consecutive_samples(cpu: list[float], verdict: Verdict) -> None:
    assert _after_teardown(cpu, [False] * 4).verdict is verdict


@pytest.mark.parametrize(("blocked", "verdict"), [
    ([True, True, True, True], Verdict.FAIL),
    ([False, True, True, True], Verdict.FAIL),
    ([False, False, True, True], Verdict.PASS),
    ([True, True, True, False], Verdict.PASS),
    ([True, True, False, True], Verdict.PASS),
])
def test_stuck_means_blocked_until_the_end(blocked: list[bool], verdict: Verdict) -> None:
    assert _after_teardown([0.0] * 4, blocked).verdict is verdict


def test_blocked_when_the_record_ends_too_soon_to_tell() -> None:
    """Found on LIO: the scenario ended 0.6 s after a late teardown."""
    story = healthy().without("sampler", "threads", "blocked", after=15.0)
    for time in (15.2, 15.7, 16.1):
        sample(story, time, blocked={"stf:unlink": ["core_tpg_remove_lun"]})
    check = story.check("threads")
    assert check.verdict is Verdict.UNKNOWN
    assert "stf:unlink" in check.reason


def test_a_thread_may_burn_a_cpu_for_commands() -> None:
    story = healthy()
    story.without("sampler", after=16.0)
    io(story, 50, 16.0, 3.0)
    for tick in range(33, 48):
        sample(story, tick / 2, {"fileio": 0.5 if tick <= 38 else 0.0})
    assert story.verdict("threads") is Verdict.PASS


def test_a_thread_may_not_burn_a_cpu_for_a_command_that_is_lost() -> None:
    story = healthy()
    _never_ends(story)
    story.without("block", disk="sdb").without("sampler", "threads", "blocked", after=16.0)
    for tick in range(32, 48):
        sample(story, tick / 2, {"scst_usr_cleanu": 0.49})
    check = story.check("threads")
    assert check.verdict is Verdict.FAIL
    assert "burnt 98% of a CPU for 4.5 s" in check.reason
    assert check.figures["threads_detected_after"].value == pytest.approx(
        LADDER.command + LADDER.spin_window)


def test_a_thread_may_burn_a_cpu_before_the_fault() -> None:
    story = healthy()
    story.without("sampler").without("block", after=10.0)
    for tick in range(20, 48):
        sample(story, tick / 2, {"fileio": 0.5 if tick / 2 <= FIRED else 0.0})
    assert story.verdict("threads") is Verdict.PASS


def test_a_thread_never_woken_is_not_stuck() -> None:
    story = healthy()
    for tick in range(32, 48):
        sample(story, tick / 2, blocked={"scst_initd": ["kthread+0x80/0x110", "ret_from_fork"]})
    assert story.verdict("threads") is Verdict.PASS


def test_reports_before_the_marker_or_after_the_end_are_not_the_scenarios() -> None:
    story = healthy()
    oops = "BUG: unable to handle page fault for address: ffffdead00000000"
    story.at(9.0, "console", "line", text=f"[    9.000000] {oops}")
    story.at(END + 1, "console", "line", text=f"[   25.000000] {oops}")
    assert story.verdict("kernel_health") is Verdict.PASS
    story.at(END - 1, "console", "line", text=f"[   23.000000] {oops}")
    assert story.verdict("kernel_health") is Verdict.FAIL


def test_printk_may_be_ahead_of_the_clock() -> None:
    story = healthy().without("console", after=END - 0.1)
    story.at(END + 0.02, "console", "line", text=f"[   24.020000] stf: scenario {SCENARIO} ends")
    assert story.verdict("kernel_health") is Verdict.PASS


def test_a_cut_history_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    text = "".join(event.to_json() + "\n" for event in healthy().history().events)
    path.write_text(text[:-10])
    assert judge(History.load(path)).verdict is Verdict.UNKNOWN


def test_a_handle_may_be_used_again() -> None:
    story = healthy()
    for time, action in ((12.0, "received"), (12.1, "answered"), (12.2, "received"),
                         (12.3, "answered")):
        step(story, time, action, 7)
    for time in (12.3, 12.4):  # at other points a repeated answer is allowed
        story.at(time, "backend", "step", point="ON_FREE_CMD", action="answered", handle=7)
    for device in ("a", "b"):
        step(story, 12.4, "received", 8, device=device)
        step(story, 12.5, "answered", 8, device=device)
    assert story.verdict("ledger") is Verdict.PASS


def test_a_double_answer_needs_no_trace() -> None:
    story = healthy()
    _trace_overrun(story)
    _answers_twice(story)
    check = story.check("ledger")
    assert check.verdict is Verdict.FAIL
    assert check.signatures == [Signature("answered twice", ("EXEC", "write"))]


@pytest.mark.parametrize("errors", [["EIO", "ENODEV"], None])
def test_errors_that_the_fault_allows(errors: list[str] | None) -> None:
    story = healthy().changed("fault", "armed", {}, expect={"errors": errors})
    assert story.verdict("ledger") is Verdict.PASS


def test_errors_of_the_clean_up_are_not_the_faults() -> None:
    story = healthy().changed("fault", "armed", {}, expect={"errors": ["EIO"]})
    io(story, 70, 16.6, 0.1, error="ENODEV")
    assert story.verdict("ledger") is Verdict.PASS


def with_bystander() -> Story:
    """Return a healthy history with I/O on a second LUN, 0.1 s each."""
    story = healthy().at(11.2, "target", "disk", name="sdc", device="8:32", identity="stf1",
                         role="bystander")
    for serial in range(40):
        io(story, serial, 12.0 + serial * 0.1, 0.1, disk="sdc")
    return story


def test_a_bystander_is_not_disturbed() -> None:
    story = with_bystander()
    check = story.check("deadline")
    assert check.verdict is Verdict.PASS, check.reason
    assert check.figures["bystander_max"].value == pytest.approx(0.1)
    assert check.figures["latency_during_count"].value == 4
    assert judge(story.history()).verdict is Verdict.PASS


def test_a_bystander_of_no_fault() -> None:
    check = with_bystander().without("fault").check("deadline")
    assert check.verdict is Verdict.UNKNOWN
    assert check.figures["bystander_max"].value is None


def test_a_bystander_that_is_late() -> None:
    story = with_bystander().without("block", "complete", disk="sdc", io=10)
    check = story.check("deadline")
    assert check.verdict is Verdict.FAIL
    assert " on a LUN that the fault does not concern later than 2 s" in check.reason
    assert check.signatures == [Signature("bystander late", ("write",))]
    assert check.figures["bystander_max"].value == pytest.approx(END - 13.0)


@pytest.mark.parametrize(("seconds", "verdict"), [(1.9, Verdict.PASS), (2.1, Verdict.FAIL)])
def test_the_bound_of_a_bystander_is_the_ladders(seconds: float, verdict: Verdict) -> None:
    story = with_bystander()
    io(story, 90, FIRED + 0.1, seconds, disk="sdc")
    assert story.verdict("deadline") is verdict


@pytest.mark.parametrize(("seconds", "verdict"), [(3.9, Verdict.PASS), (4.1, Verdict.FAIL)])
def test_the_bound_of_a_slow_bystander_follows_from_its_own_baseline(
    seconds: float, verdict: Verdict,
) -> None:
    story = with_bystander()
    io(story, 90, FIRED - 1, 0.4, disk="sdc")
    io(story, 91, FIRED + 0.1, seconds, disk="sdc")
    assert story.verdict("deadline") is verdict


def test_a_bystander_that_fails() -> None:
    story = with_bystander().changed("block", "complete", {"disk": "sdc", "io": 25}, error="EIO")
    story.at(15.5, "block", "refused", disk="sdc", op="read", sector=8, error="ENODEV")
    check = story.check("deadline")
    assert check.verdict is Verdict.FAIL
    assert "2 failed on a LUN that the fault does not concern, first: write of" in check.reason
    assert check.signatures == [Signature("bystander error", ("write", "EIO")),
                                Signature("bystander error", ("read", "ENODEV"))]
    assert check.figures["deadline_detected_after"].value == pytest.approx(0.6)


def test_a_bystander_that_is_refused_only() -> None:
    story = with_bystander()
    story.at(15.5, "block", "refused", disk="sdc", op="read", sector=8, error="ENODEV")
    assert "first: read at sector 8 of sdc with ENODEV" in story.check("deadline").reason


def test_a_bystander_without_io_proves_nothing() -> None:
    story = with_bystander().without("block", disk="sdc", after=FIRED)
    story.without("block", disk="sdc", io=19).without("block", disk="sdc", io=20)
    check = story.check("deadline")
    assert check.verdict is Verdict.UNKNOWN
    assert "no I/O was seen after the fault on the LUN" in check.reason


@pytest.mark.parametrize(("name", "change", "signatures"), [
    ("ledger", _never_ends, [("open", "write")]),
    ("ledger", _completes_twice, [("twice", "write")]),
    ("ledger", _strays, [("stray", "write")]),
    ("ledger", _is_refused_before_the_fault, [("refused", "write", "EIO")]),
    ("ledger", _fails_early, [("early error", "write", "EIO")]),
    ("ledger", _fails_otherwise, [("unexpected error", "write", "ETIMEDOUT")]),
    ("deadline", _never_ends, [("late", "write")]),
    ("teardown", _teardown_never_ends, [("endless", "teardown")]),
    ("teardown", _teardown_is_late, [("late", "teardown")]),
    ("teardown", _teardown_fails, [("error", "teardown", "device busy")]),
    ("threads", _spins, [("spinning", "scst_usr_cleanu")]),
    ("threads", _blocks, [("stuck", "scst_usr_releas", "wait")]),
    ("kernel_health", _oopses, [("NULL pointer dereference", "NULL pointer dereference")]),
    ("recovery", _redeploy_fails, [("redeploy error", "redeploy", "EEXIST: name in use")]),
    ("recovery", _redeploy_hangs, [("redeploy endless", "redeploy")]),
    ("recovery", _verify_errors, [("verification", "redeploy")]),
    ("operations", _target_failed, [("error", "module in use")]),
])
def test_signatures(name: str, change: Change, signatures: list[tuple[str, ...]]) -> None:
    story = healthy()
    change(story)
    assert [(each.kind, *each.anchors) for each in story.check(name).signatures] == signatures


def test_signatures_name_all_that_is_wrong() -> None:
    story = healthy()
    for change in (_completes_twice, _never_ends, _fails_early):
        change(story)
    assert [each.kind for each in story.check("ledger").signatures] == [
        "twice", "early error", "open",
    ]


def test_a_report_is_known_by_the_functions_it_came_through() -> None:
    story = healthy()
    for words in ("watchdog: BUG: soft lockup - CPU#1 stuck for 8s! [scst_usr_cleanu:158]",
                  "CPU: 1 PID: 158 Comm: scst_usr_cleanu Tainted: G O 6.1.0", "Call Trace:",
                  " <TASK>", " _raw_spin_lock+0x1/0x2", " sgv_pool_flush+0x10/0x20 [scst]",
                  " dev_user_cleanup_thread+0x10/0x20 [scst_user]", " kthread+0x1/0x2"):
        story.at(15.0, "console", "line", text=f"[   15.000000] {words}")
    (signature,) = story.check("kernel_health").signatures
    assert signature == Signature("soft lockup", (
        "soft lockup in sgv_pool_flush (scst_usr_cleanu)", "sgv_pool_flush",
        "dev_user_cleanup_thread"))


@pytest.mark.parametrize(("name", "change", "seconds"), [
    ("ledger", _never_ends, LADDER.command),
    ("ledger", _completes_twice, 0.9),
    ("ledger", _fails_early, None),
    ("deadline", _never_ends, LADDER.command),
    ("teardown", _teardown_never_ends, 0.1 + LADDER.teardown),
    ("teardown", _teardown_fails, 1.6),
    ("threads", _spins, 2.5),
    ("threads", _blocks, 3.0),
    ("kernel_health", _oopses, 1.0),
    ("recovery", _redeploy_fails, 4.5),
    ("operations", _target_failed, 1.0),
])
def test_seconds_from_the_fault_to_the_evidence(
    name: str, change: Change, seconds: float | None,
) -> None:
    story = healthy()
    change(story)
    figure = story.check(name).figures.get(f"{name}_detected_after")
    assert (figure.value if figure else None) == (
        None if seconds is None else pytest.approx(seconds))


def test_how_long_it_takes_to_see_a_spin() -> None:
    story = healthy()
    _spins(story)
    check = story.check("threads")
    assert check.figures["spin_seen_after"].value == pytest.approx(LADDER.spin_window)
    assert "spin_seen_after" not in healthy().check("threads").figures


def test_a_spinning_threads_stack_is_kept() -> None:
    story = healthy()
    _spins(story)
    thread = {"pid": 100, "comm": "scst_usr_cleanu", "state": "R", "cpu": 0.49,
              "stack": ["sgv_pool_flush+0x1/0x2 [scst]", "kthread+0x1/0x2"]}
    story.at(17.6, "sampler", "threads", interval=0.1, threads=[{**thread, "cpu": 0.099}])
    check = story.check("threads")
    assert check.signatures == [Signature("spinning", ("scst_usr_cleanu", "sgv_pool_flush"))]


def test_stamped_blocks_do_not_disturb_the_verification() -> None:
    story = healthy().at(19.5, "workload", "found", disk="sdb", block=9, version=None, torn=False,
                         foreign=None)
    assert story.verdict("recovery") is Verdict.PASS


def test_an_unknown_is_decided_by_the_step_that_failed() -> None:
    """What could not be judged because of it comes after it, whatever the checks' order."""
    late, step, lost = (Check(name, Verdict.UNKNOWN, name) for name in (
        "integrity", "operations", "machine"))
    assert deciding([late, step]) == step
    assert deciding([late, step, lost]) == lost
    broken = Check("threads", Verdict.FAIL, "threads")
    assert deciding([late, broken, step]) == broken
