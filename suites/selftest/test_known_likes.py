# SPDX-License-Identifier: GPL-2.0-or-later
"""Wide known issues, each tried against defects of its like that were planted.

An entry is wide when its signature is the symptom of many defects and it applies to many scenarios:
the same thread spins, the same WRITE has no answer. For each: the signatures and the facts of its
own defect are KNOWN, those of a planted one, with the same signatures, are FAIL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest

from results import command_facts
from results.command_facts import facts
from results.history import Event, History
from results.judge import Judgement
from results.known_issues import ENTRIES, KnownIssue, apply, load
from results.verdict import Check, Outcome, Signature, Verdict

FAULT = 10.0
"""Seconds: the fault."""

Found = tuple[str, Signature]

ISSUES = load(ENTRIES)

SPIN: Sequence[Found] = (
    ("threads", Signature("spinning", ("scst_usr_cleanu",))),
    ("threads", Signature("stuck", ("scst_usr_releas", "__dev_user_release"))),
    ("threads", Signature("stuck", ("khugepaged", "__lru_add_drain_all"))),
    ("operations", Signature("error", (
        "the kernel has not let go of device stfN after N.N s: the device is no longer listed",))),
)
"""As recorded: SCST master with a background command, and v-lockup3."""

NO_ANSWER: Sequence[Found] = (
    ("outcome", Signature("outcome", ("WRITE(16)", "unanswered"))),)


def step(
    point: str, handle: int = 7, device: str = "stf0", pbuf: int = 0, *, time: float = 5.0,
    action: str = "received",
) -> Event:
    """Return a step of a WRITE."""
    return Event(time, "backend", "step", {
        "point": point, "action": action, "handle": handle, "opcode": 0x8a, "direction": "write",
        "lba": 0, "bytes": 65536, "pbuf": pbuf, "device": device})


def buffer(of: str, handle: int, pbuf: int) -> list[Event]:
    """Return the steps of a WRITE whose device allots a buffer, until it is answered."""
    return [step("ALLOC_MEM", handle, of, time=2.0),
            step("ALLOC_MEM", handle, of, time=2.1, action="answered"),
            step("EXEC", handle, of, pbuf, time=2.2),
            step("EXEC", handle, of, pbuf, time=2.3, action="answered")]


def stuck(**row: Any) -> Event:
    """Return the evidence of a stalled guest with a command of scst_user."""
    return Event(30.0, "harness", "evidence", {
        "files": [], "missing": [], "seconds": {}, "waiters": [], "stuck": [{
            "kind": "scst_user", "handle": 7, "device": "stf1", "state": "EXECING", "ref": 2,
            "sent_to_user": 1, "seen_by_user": 1, "jammed": 0, "aborted": 0, "cmd": "0xff",
            "opcode": 0x8a, "buff_cached": 1, **row}]})


def function(name: str, response: str | None, time: float, number: int = 2) -> list[Event]:
    """Return a function of session "a" and its response."""
    job = {"job": "abort", "disk": None, "number": number}
    return [
        Event(min(time, FAULT) - 0.1, "workload", "function",
              {**job, "session": "a", "name": name, "command": None}),
        Event(time, "workload", "response", {
            **job, "seconds": 0.1, "response": response,
            "error": None if response else "unanswered"})]


def unanswered(session: str = "a") -> list[Event]:
    """Return a WRITE of a session that waits for its answer in vain."""
    job = {"job": "commands", "disk": None, "number": 1}
    return [Event(4.0, "workload", "command", {**job, "session": session, "name": "WRITE(16)"}),
            Event(20.0, "workload", "answer", {**job, "error": "unanswered"})]


LENT = [*buffer("stf0", 3, 0x7000), step("EXEC", 7, "stf1", 0x7000)]
"""The command of one device is held in EXEC, with a buffer of another device."""

OWN = [*buffer("stf0", 3, 0x7000), step("EXEC", 7, "stf0", 0x7000)]


@dataclass(frozen=True)
class Case:
    """A wide entry. ``own``: events of its own defect; ``like``: events of each planted one."""

    issue: str
    scenario: str
    failed: Sequence[Found]
    own: Sequence[Event]
    like: Mapping[str, Sequence[Event]]


CASES = (
    Case("scst-lender-closed", "scst-6.1-loopback-x-shared-t4-single-exec-write2-backend-kill",
         SPIN, LENT, {
             "83745c0a2: a command that no backend had received took the buffer":
                 [*buffer("stf0", 3, 0x7000)],
             "83745c0a2: it was received after the fault":
                 [*LENT[:-1], step("EXEC", 7, "stf1", 0x7000, time=FAULT + 1)],
             "83745c0a2, seen in the guest's memory": [*LENT, stuck(sent_to_user=0)],
             "v-lockup3: the last reference is not dropped": OWN,
             "v-lockup3 with a lent buffer, seen in the guest's memory":
                 [*LENT, stuck(jammed=1, cmd=None)],
             "the commands are held elsewhere":
                 [*LENT[:-1], step("ALLOC_MEM", 7, "stf1")],
             "the borrower was answered":
                 [*LENT, step("EXEC", 7, "stf1", 0x7000, time=6.0, action="answered")],
         }),
    Case("scst-user-background-abandoned",
         "scst-6.1-iscsi-x-shared-t1-multi-background-write2-backend-term", SPIN, [
             step("EXEC"), Event(6.0, "backend", "misanswered", {
                 "point": "EXEC", "handle": 7, "device": "stf0",
                 "fields": {"reply_type": "BACKGROUND"}})],
         {"no command was in the background": OWN,
          "it was completed": [
              step("EXEC"), Event(6.0, "backend", "misanswered", {
                  "point": "EXEC", "handle": 7, "device": "stf0",
                  "fields": {"reply_type": "BACKGROUND"}}),
              step("EXEC", time=7.0, action="answered")]}),
    Case("scst-abort-rejected-in-teardown",
         "scst-6.1-iscsi-abort-task-first-exec-write1-backend-kill", NO_ANSWER,
         [*function("ABORT_TASK", "FUNC_REJECTED", FAULT + 1), *unanswered()], {
             "the function was complete":
                 [*function("ABORT_TASK", "FUNC_COMPLETE", FAULT + 1), *unanswered()],
             "another session's WRITE":
                 [*function("ABORT_TASK", "FUNC_REJECTED", FAULT + 1), *unanswered("b")],
             "no function": unanswered(),
             "the kernel still has the command":
                 [*function("ABORT_TASK", "FUNC_REJECTED", FAULT + 1), *unanswered(), stuck()],
         }),
    Case("scst-user-reply-restarted", "scst-6.1-loopback-x-parse-write2-backend-stop",
         [("ledger", Signature("unexpected error", ("EIO",)))],
         [Event(12.0, "backend", "refused", {"handle": 7, "error": "EINVAL", "device": "stf0"})], {
             "no answer was refused": [],
             "an answer without a command, as in most healthy runs":
                 [Event(12.0, "backend", "refused", {"handle": 7, "error": "ESRCH"})],
         }),
    Case("scst-target-reset-before-commands",
         "scst-6.1-iscsi-target-warm-reset-first-parse-write1-backend-kill",
         [("task_management", Signature("breach", (
             "command N (8aN) was aborted, and then answered with status N",)))],
         function("TARGET_WARM_RESET", "FUNC_COMPLETE", FAULT + 1), {
             "the reset was complete while the backend was there":
                 function("TARGET_WARM_RESET", "FUNC_COMPLETE", FAULT - 1),
             "another function": function("LUN_RESET", "FUNC_COMPLETE", FAULT + 1),
         }),
    Case("scst-target-reset-strands-commands",
         "scst-6.1-iscsi-target-cold-reset-first-exec-write1-backend-kill",
         [("threads", Signature("stuck", ("scst_usr_releas", "scst_acg_del_lun"))),
          ("ledger", Signature("open", ("write",)))],
         function("TARGET_COLD_RESET", "FUNC_COMPLETE", FAULT - 1), {
             "the reset was not carried out":
                 function("TARGET_COLD_RESET", "FUNC_REJECTED", FAULT - 1),
             "the reset met the backend's end":
                 function("TARGET_COLD_RESET", "FUNC_COMPLETE", FAULT + 1),
             "no reset": OWN,
         }),
    Case("lio-rejected-reset-holds-lun",
         "lio-6.1-iscsi-target-cold-reset-first-exec-write1-backend-kill",
         [("teardown", Signature("error", (
             "TargetFailedError: unlink /sys/kernel/config/target/iscsi/iqn/tpgt_N/lun/lun_N/"
             "backs",)))],
         function("TARGET_COLD_RESET", "FUNC_REJECTED", FAULT - 1), {
             "the reset was carried out":
                 function("TARGET_COLD_RESET", "FUNC_COMPLETE", FAULT - 1),
             "no reset": [],
         }),
    Case("tgt-functions-forgotten", "tgt-6.1-iscsi-lun-reset-16-first-exec-write1-backend-kill",
         [("task_management", Signature("response", ("LUN_RESET", "unanswered")))],
         [*function("LUN_RESET", None, FAULT + 5),
          *function("LUN_RESET", "FUNC_COMPLETE", FAULT + 1, number=3)],
         {"no function is answered": [*function("LUN_RESET", None, FAULT + 5),
                                      *function("LUN_RESET", None, FAULT + 5, number=3)],
          "all are rejected, or not answered": [
              *function("LUN_RESET", None, FAULT + 5),
              *function("LUN_RESET", "FUNC_REJECTED", FAULT + 1, number=3)]}),
    Case("lio-no-lun-says-no-task", "lio-6.1-iscsi-lun-reset-second-exec-write1-backend-kill",
         [("task_management", Signature("response", ("LUN_RESET", "TASK_DOES_NOT_EXIST")))],
         function("LUN_RESET", "TASK_DOES_NOT_EXIST", FAULT + 0.02), {
             "the LUN was there": function("LUN_RESET", "TASK_DOES_NOT_EXIST", FAULT - 1),
             "one of two while the LUN was there": [
                 *function("LUN_RESET", "TASK_DOES_NOT_EXIST", FAULT - 1),
                 *function("LUN_RESET", "TASK_DOES_NOT_EXIST", FAULT + 0.02, number=3)],
         }),
)


def applied(case: Case, events: Sequence[Event]) -> Judgement:
    """Return the judgement of a case with these events."""
    marks = [Event(FAULT, "harness", "phase", {"name": "fault"}),
             Event(FAULT, "fault", "fired", {})]
    history = History.of([*marks, *events])
    checks = [Check(name, Verdict.FAIL, "",
                    signatures=[each for key, each in case.failed if key == name])
              for name in dict.fromkeys(name for name, _ in case.failed)]
    judgement = Judgement(case.scenario, tuple(checks), facts=facts(history))
    return apply(judgement, ISSUES, case.scenario.partition("-")[0], "3.11.0-pre", "6.1.0-57-amd64")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.issue)
def test_its_own_defect_is_known(case: Case) -> None:
    found = applied(case, case.own)
    assert found.known is not None
    assert found.known.id == case.issue
    assert any(words.startswith(f"{command_facts.NAME}: ") for words in found.matched)


@pytest.mark.parametrize(("case", "events"), [
    pytest.param(case, events, id=f"{case.issue}-{name}")
    for case in CASES for name, events in case.like.items()])
def test_a_defect_of_its_like_is_a_failure(case: Case, events: Sequence[Event]) -> None:
    assert applied(case, events).outcome is Outcome.FAIL


WIDE = (
    "scst-6.1-loopback-free.call-reuse.read-parse.call-{pool}-t4-single-{point}-write2-{fault}",
    "{target}-6.1-iscsi-{function}-{order}-exec-write1-backend-kill",
)
"""Scenarios of the large suites, with the parts by which an entry may select many."""

POOLS, POINTS = ("private", "shared"), ("parse", "exec", "background", "on-free-cmd")
FAULTS = ("backend-kill", "backend-close", "backend-stop", "lun-delete", "session-close")
FUNCTIONS = ("abort-task", "abort-task-set", "lun-reset", "target-warm-reset", "target-cold-reset",
             "abort-task-16", "lun-reset-16", "all-of-the-target")
WIDE_FROM = 2
"""Number of scenarios from which an entry's symptom needs evidence."""


def scenarios(target: str) -> list[str]:
    """Return scenarios of the matrix and of abort."""
    matrix = [WIDE[0].format(pool=pool, point=point, fault=fault)
              for pool in POOLS for point in POINTS for fault in FAULTS]
    abort = [WIDE[1].format(target=target, function=name, order=order)
             for name in FUNCTIONS for order in ("first", "second")]
    return abort + (matrix if target == "scst" else [])


def is_symptom(issue: KnownIssue) -> bool:
    """Return whether an entry of many scenarios has a signature without a function or a title.

    A kernel report names a function; an expectation and an operation are those of one scenario.
    """
    named = {"kernel_health", "expectations"}
    return bool(issue.only) and not any(each.check in named for each in issue.signature)


def test_every_wide_entry_has_evidence_and_a_case() -> None:
    tried = {case.issue for case in CASES}
    for issue in filter(is_symptom, ISSUES):
        covered = [each for each in scenarios(issue.target)
                   if any(fnmatchcase(each, only) for only in issue.only)]
        if len(covered) >= WIDE_FROM:
            assert issue.evidence, issue.id
            assert issue.id in tried, issue.id


@pytest.mark.parametrize("spoil", [
    lambda event: Event(event.time, event.source, event.kind, {}),
    lambda event: Event(event.time, event.source, event.kind, {**event.data, "handle": "x"}),
])
def test_a_record_that_cannot_be_read_proves_nothing(spoil: Callable[[Event], Event]) -> None:
    with pytest.raises((KeyError, ValueError)):
        facts(History.of([spoil(event) for event in LENT]))


def test_a_buffer_belongs_to_the_device_that_allotted_it() -> None:
    held, = facts(History.of([Event(FAULT, "fault", "fired", {}), *LENT]))
    assert held == Signature("held", ("at EXEC", "write", "device stf1",
                                      "received before the fault", "a buffer of stf0"))
    own, = facts(History.of([Event(FAULT, "fault", "fired", {}), *OWN]))
    assert "its device's buffer" in own.anchors
