# SPDX-License-Identifier: GPL-2.0-or-later
"""The headline: the earliest cause of a FAIL, on recorded and on synthetic histories.

The recorded histories (``histories``) are of real guests, without what the judge does not need for
their FAILs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from results.checkers import deadline, kernel_health, ledger, partition, teardown, threads
from results.headline import CONSEQUENCES_MAX, Headline, headline
from results.history import Event, History
from results.judge import Judgement, judge
from results.verdict import Check, Figure, Signature, Verdict
from suites.selftest.stories import FIRED, Story, healthy, io
from suites.selftest.test_report import LOCKUP, UCMD, blocked, logged, stalled

RECORDED = Path(__file__).parent / "histories"


def found(story: Story) -> Headline:
    """Return the headline of a history that fails."""
    led = judge(story.history()).headline
    assert led is not None
    return led


@pytest.mark.parametrize(("name", "check", "words"), [
    ("scst-lender-closed", ledger.NAME, (
        "1 of 2 never ended, first: write of 65536 bytes at sector 0 of sdb, open for 13.8 s, "
        "allowed are 7.5 s",
        "its command (handle 43 of stf1, opcode 0x2a, at EXEC) was held by the backend, which then "
        "ended with status -9",
        "scst_usr_cleanupd spins; scst_usr_released waits for it in D; chain waits in D in "
        "submit_bio_wait")),
    ("scst-lie-drop", ledger.NAME, (
        "1 of 6 never ended, first: write of 4096 bytes at sector 26408 of sda, open for 16.7 s, "
        "allowed are 7.5 s",
        "its command (handle 159 of stf0, opcode 0x2a, at EXEC) was received by the backend and "
        "never answered", "iscsi_conn_cleanup waits in D in close_conn")),
    ("scst-83745c0a2", "expectations", (
        "expected: the cleanup thread makes at most 10000 iterations; seen: 153133 or more",)),
    ("lio-reset-no-lun", threads.NAME, ("iscsi_ttx:168 (target_wait_for_cmds < ",)),
    ("lio-partition-blip", partition.NAME, (
        "the initiator dropped its connection, although the partition healed before its timers",)),
])
def test_recorded(name: str, check: str, words: tuple[str, ...]) -> None:
    judgement = judge(History.load(RECORDED / f"{name}.jsonl"))
    assert judgement.decided_by is not None
    assert judgement.decided_by.name == check
    assert judgement.reason == f"{check}: {judgement.cause}"
    for each in words:
        assert each in judgement.cause
    assert judgement.cause.startswith(words[0])


def test_a_consequence_is_listed_once() -> None:
    led = judge(History.load(RECORDED / "scst-lender-closed.jsonl")).headline
    assert led is not None
    checks = [each.partition(": ")[0] for each in led.consequences]
    assert checks == ["threads", "teardown"]  # operations repeats teardown, deadline the ledger
    assert "in D state" not in led.consequences[1]


def test_a_command_that_the_test_itself_holds_is_no_cause() -> None:
    history = History.load(RECORDED / "scst-83745c0a2.jsonl")
    led = judge(history).headline
    assert led is not None
    assert led.consequences[-1].endswith("the test's own backend holds it, for want of a release")
    stuck = judge(History.of([*history.events, Event(
        history.events[-1].time, "harness", "evidence",
        {"files": [], "missing": [], "seconds": {}, "stuck": [UCMD]})])).headline
    assert stuck is not None
    assert "; ucmd h=25 of stf0 (state ON_CACHE_FREEING, ref 1, " in stuck.cause
    assert stuck.cause.endswith(" never ends; scst_usr_cleanupd spins for it")


def opened(story: Story, serial: int = 900) -> Story:
    """Leave an I/O open that was issued with the fault."""
    io(story, serial, FIRED - 0.1, None)
    return story


def test_an_unanswered_command_explains_a_waiting_task() -> None:
    story = opened(blocked(["close_conn+0x1/0x2 [iscsi_scst]"], "iscsi_conn_clea"))
    led = found(story)
    assert led.check == ledger.NAME
    assert led.cause.endswith("; iscsi_conn_clea waits in D in close_conn")


def test_a_report_before_the_commands_deadline_is_the_cause() -> None:
    crash = "BUG: kernel NULL pointer dereference, address: 08"
    early, late = (opened(healthy()).at(time, "console", "line", text=f"[   {time:.6f}] {crash}")
                   for time in (15.0, 22.0))
    assert found(early).check == kernel_health.NAME
    assert found(late).check == ledger.NAME
    assert found(late).consequences[0] == "kernel_health: NULL pointer dereference"


def test_a_stall_report_is_never_the_cause_of_an_unanswered_command() -> None:
    story = opened(logged(LOCKUP))
    assert found(story).check == ledger.NAME
    assert found(logged(LOCKUP)).check == kernel_health.NAME


def step(story: Story, time: float, action: str, **other: object) -> Story:
    """Add a step of the command that carries the I/O of ``opened``."""
    return story.at(time, "backend", "step", **{
        "point": "EXEC", "action": action, "handle": 7, "opcode": 0x2A, "direction": "write",
        "lba": 900, "bytes": 4096, "device": "stf0", **other})


@pytest.mark.parametrize(("change", "words"), [
    (lambda story: step(step(story, 13.95, "received"), 14.2, "answered", status=0),
     "the backend answered its command (handle 7 of stf0, opcode 0x2a, at EXEC) with status 0x00 "
     "0.30 s after its issue"),
    (lambda story: step(step(story, 13.95, "received"), 13.96, "held").at(
        14.5, "backend", "closed", device="stf0", error=None, seconds=0.0),
     "was held by the backend, which then closed the device"),
    (lambda story: step(story, 13.95, "received").at(
        14.5, "backend", "closed", device="stf1", error=None, seconds=0.0),
     "was received by the backend and never answered"),
    (lambda story: step(story, 13.95, "received", lba=77), "no command for it reached the backend"),
    (lambda story: step(story, 13.95, "received", point="ALLOC_MEM", lba=None),
     "its command (handle 7 of stf0, opcode 0x2a, at ALLOC_MEM) was received"),
])
def test_the_fate_of_a_command(change: object, words: str) -> None:
    assert callable(change)
    assert words in found(change(opened(healthy().without("backend", "step")))).cause


def test_a_loop_of_answers() -> None:
    story = opened(healthy().without("backend", "step"))
    for number in range(3):
        step(story, 14.0 + number, "received", handle=number)
        step(story, 14.1 + number, "answered", handle=number, status=0)
    assert "the backend answered 3 commands for it, the last (handle 2 of stf0" in found(
        story).cause


def test_operations_that_fail_while_io_is_open() -> None:
    story = opened(healthy()).without("fault").without("target", "end", operation="redeploy")
    story.at(23.0, "harness", "error", family="TargetFailedError", message="the load made no I/O")
    failed = [check for check in judge(story.history()).checks if check.name == "operations"]
    led = headline(failed, story.history())
    assert led is not None
    assert led.cause.startswith("the load made no I/O; 1 I/Os had no end, first: write of 4096 ")


def test_who_waits_for_commands_comes_before_who_waits_for_a_task() -> None:
    story = blocked([])
    story.changed("sampler", "blocked", {}, tasks=[
        {"pid": pid, "comm": comm, "state": "D", "wchan": "", "stack": stack}
        for pid, comm, stack in (
            (1, "iscsi_np", ["iscsit_stop_session"]), (2, "iscsi_ttx", ["target_wait_for_cmds"]))])
    assert found(story).cause.startswith("iscsi_ttx:2 (target_wait_for_cmds) in D state; iscsi_np")


def test_a_spinning_thread_is_named_with_its_function() -> None:
    story = stalled()
    for words in LOCKUP:
        story.at(22.0, "console", "line", text=f"[   22.000000] {words}")
    assert "; scst_usr_cleanupd was seen in sgv_pool_flush" in found(story).cause


def fail(name: str, after: float | None = None) -> Check:
    """Return a FAIL with its first evidence some seconds after the fault."""
    figures = {} if after is None else {f"{name}_detected_after": Figure(after, "s")}
    return Check(name, Verdict.FAIL, f"{name} is wrong", (), figures, [Signature(name)])


def test_the_earlier_breach_is_the_cause() -> None:
    history = healthy().history()
    for first, second in (("outcome", deadline.NAME), (deadline.NAME, "outcome")):
        led = headline([fail("resources"), fail(teardown.NAME, 0.5), fail(second, 9.0),
                        fail(first, 1.0)], history)
        assert led == Headline(first, f"{first} is wrong", tuple(
            f"{name}: {name} is wrong" for name in (second, teardown.NAME, "resources")))


def test_evidence_without_a_time_comes_last() -> None:
    led = headline([fail("protocol"), fail("outcome", 3.0)], healthy().history())
    assert led is not None and led.check == "outcome"


def test_consequences_are_limited() -> None:
    led = headline([fail(f"check{number}", number) for number in range(40)], healthy().history())
    assert led is not None and len(led.consequences) == CONSEQUENCES_MAX


def test_no_failure_has_no_headline() -> None:
    judgement = judge(healthy().history())
    assert judgement.headline is None
    assert judgement.consequences == ()
    assert headline((), Story().history()) is None


def test_without_a_history() -> None:
    led = headline([fail("outcome", 3.0)], Story().history())
    assert led == Headline("outcome", "outcome is wrong")


def test_verdict_json_keeps_it() -> None:
    judgement = judge(opened(blocked(["close_conn+0x1/0x2"])).history())
    again = Judgement.from_json(judgement.to_json())
    assert again.headline == judgement.headline
    assert again.reason == judgement.reason
    record = {**judgement.to_json(), "headline": None}  # of a run before there were headlines
    old = Judgement.from_json(record)
    failed = next(check for check in old.checks if check.name == ledger.NAME)
    assert old.reason == f"{ledger.NAME}: {failed.reason}"
    assert old.reason in judgement.reason


def test_a_doubted_failure_has_its_own_reason() -> None:
    judgement = judge(opened(healthy()).history())
    doubted = replace(judgement, checks=tuple(
        replace(check, verdict=Verdict.UNKNOWN, reason=f"starved: {check.reason}")
        if check.verdict is Verdict.FAIL else check for check in judgement.checks))
    assert doubted.reason.startswith("ledger: starved: ")
    assert doubted.consequences == ()


def test_a_headline_that_cannot_be_made() -> None:
    story = opened(healthy()).at(20.0, "harness", "evidence", files=[], missing=[], seconds={},
                                 stuck=[{"handle": 1}], waiters=[{"task": "no state"}])
    judgement = judge(story.history())
    assert judgement.verdict is Verdict.FAIL
    assert judgement.consequences[0].startswith("no headline: KeyError")
