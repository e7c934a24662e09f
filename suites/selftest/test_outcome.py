# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario's expectations, and the possible ends of commands at the fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inject.catalogue import MECHANISMS
from inject.point import State
from results.checkers.outcome import outcome
from results.history import Event
from results.judge import judge
from results.verdict import Check, Signature, Verdict
from suites.selftest.stories import Story, healthy
from targets.catalogue import traits_of

SENSE = {"status": 2, "host": 0, "driver": 8, "key": 5, "asc": 0x25, "ascq": 0, "sense": "70"}


def commanded(*answers: dict[str, object], allowed: tuple[str, ...] = ("CHECK CONDITION 05/25/00",),
              issued: int = 2) -> Story:
    """Return a history with commands at the fault (14.0), answered from 14.5 on."""
    story = healthy()
    story = story.without("fault", "armed")
    story.at(13.5, "fault", "armed", fault="close", point="EXEC", count=issued, opcodes=None,
             direction="write", expect={"commands": list(allowed)})
    for number in range(1, issued + 1):
        story.at(13.6, "workload", "command", job="commands", disk="sda", number=number,
                 name="WRITE(16)", cdb="8a", direction="write", bytes=512, reset=None)
    for number, answer in enumerate(answers, 1):
        story.at(14.4 + number / 10, "workload", "answer", job="commands", disk="sda",
                 number=number, seconds=1.0, **{"error": None, **answer})
    return story


def check(story: Story) -> Check:
    """Return the check of outcomes."""
    return story.check("outcome")


def test_commands_that_prepare_are_not_judged() -> None:
    gone: dict[str, object] = {"status": 2, "key": 5, "asc": 0x25, "ascq": 0}
    story = commanded(gone, gone)
    story.at(12.0, "workload", "command", job="probe", disk="sda", number=1,
             name="EXTENDED COPY(LID1)", cdb="83", direction="write", bytes=48, reset=None)
    story.at(12.1, "workload", "answer", job="probe", disk="sda", number=1, seconds=0.1,
             error=None, status=2, key=5, asc=0x26, ascq=0)
    assert check(story).verdict is Verdict.PASS


def test_as_allowed() -> None:
    found = check(commanded(SENSE, SENSE))
    assert found.verdict is Verdict.PASS
    assert found.reason == "2 commands ended with CHECK CONDITION 05/25/00"


@pytest.mark.parametrize(("answer", "words"), [
    ({"status": 0, "host": 0}, "GOOD"),
    ({**SENSE, "key": 4, "asc": 0x44}, "CHECK CONDITION 04/44/00"),
    ({"status": 2, "host": 0}, "CHECK CONDITION without sense data"),
    ({"status": 0, "host": 3}, "host TIME_OUT"),
    ({"error": "ENXIO"}, "ENXIO"),
    ({"status": 0x22, "host": 0}, "status 0x22"),
    ({"status": 0x28, "host": 0}, "TASK SET FULL"),
])
def test_otherwise(answer: dict[str, object], words: str) -> None:
    found = check(commanded(SENSE, answer))
    assert found.verdict is Verdict.FAIL
    assert f"1 of 2 commands ended with {words}, allowed: CHECK CONDITION 05/25/00" in found.reason
    assert found.signatures == [Signature("outcome", ("WRITE(16)", words))]
    assert found.figures["outcome_detected_after"].value == pytest.approx(0.6)
    assert check(commanded(SENSE, answer, allowed=("CHECK*", words))).verdict is Verdict.PASS


def test_no_answer_in_time_is_a_failure() -> None:
    found = check(commanded(SENSE))
    assert found.verdict is Verdict.FAIL
    assert "1 commands had not ended" in found.reason
    assert found.signatures == [Signature("no answer", ("WRITE(16)",))]


def test_no_answer_yet_is_unknown() -> None:
    story = commanded(SENSE).until(15.0)
    story.at(15.2, "harness", "lost", what="QEMU was killed")
    assert check(story).verdict is Verdict.UNKNOWN


def test_what_was_not_asked_is_not_checked() -> None:
    assert "outcome" not in [each.name for each in judge(healthy().history()).checks]
    assert "outcome" not in [
        each.name for each in judge(commanded(allowed=()).history()).checks]


def test_a_status_with_reserved_bits_is_read_by_the_others() -> None:
    event = Event(1.0, "workload", "answer", {"status": 0x03, "host": 0, **{
        "key": 2, "asc": 4, "ascq": 1}})
    assert outcome(event.data) == "CHECK CONDITION 02/04/01"


def own(allowed: list[str], **answer: object) -> Check:
    """Return the check of commands that carry their own list of allowed outcomes."""
    story = commanded(allowed=())
    story.events = [replace(event, data={**event.data, "allowed": allowed})
                    if event.kind == "command" else event for event in story.events]
    for number in (1, 2):
        story.at(14.4 + number / 10, "workload", "answer", job="commands", disk="sda",
                 number=number, seconds=1.0, error=None, host=0, **answer)
    return check(story)


def test_a_command_has_its_own_word() -> None:
    assert own(["GOOD"], status=0).verdict is Verdict.PASS
    found = own(["CHECK CONDITION 05/20/00"], status=0)
    assert found.verdict is Verdict.FAIL
    assert found.reason.endswith("ended with GOOD, WRITE(16) allowed: CHECK CONDITION 05/20/00")


@pytest.mark.parametrize(("count", "verdict"), [(512, Verdict.PASS), (0, Verdict.FAIL),
                                                (-512, Verdict.FAIL)])
def test_a_residual_that_is_asked_for(count: int, verdict: Verdict) -> None:
    assert own(["GOOD residual 512"], status=0, residual=count).verdict is verdict


def citing(story: Story, clause: str) -> Story:
    """Add a clause to the fault's expectation."""
    for event in story.events:
        if event.kind == "armed":
            event.data["expect"]["clause"] = clause
    return story


@pytest.mark.parametrize("answers", [(SENSE, {"status": 0}), (SENSE,)])
def test_a_wrong_end_cites_its_clause(answers: tuple[dict[str, object], ...]) -> None:
    plain = check(commanded(*answers))
    found = check(citing(commanded(*answers), "SPC-4 6.33"))
    assert found.reason == f"{plain.reason} (SPC-4 6.33)"
    assert found.signatures == plain.signatures
    assert check(citing(commanded(SENSE, SENSE), "SPC-4 6.33")).reason == \
        check(commanded(SENSE, SENSE)).reason


def test_a_command_with_its_own_word_cites_its_own_clause() -> None:
    story = citing(commanded(SENSE, {"status": 0}), "SPC-4 6.33")
    story.events = [replace(event, data={**event.data, "allowed": ["BUSY"], "clause": "SAM-5 5.3"})
                    if event.kind == "command" else event for event in story.events]
    assert check(story).reason.endswith("WRITE(16) allowed: BUSY (SAM-5 5.3)")


def test_an_unmet_expectation_cites_its_clause() -> None:
    story = expecting(True)
    story.at(15.3, "harness", "expectation", what="a logout is answered", met=False, seen="lost",
             clause="RFC 7143 11.15")
    found = story.check("expectations")
    assert found.reason == "expected: a logout is answered (RFC 7143 11.15); seen: lost"
    assert found.signatures == [Signature("unmet", ("a logout is answered",))]


def expecting(*met: bool) -> Story:
    """Return a history with expectations from 15.0 on."""
    story = healthy()
    for number, each in enumerate(met):
        story.at(15.0 + number / 10, "harness", "expectation", what=f"thing {number}", met=each,
                 seen="" if each else "another thing")
    return story


def test_expectations_that_are_met() -> None:
    found = expecting(True, True).check("expectations")
    assert (found.verdict, found.reason) == (Verdict.PASS, "2 were met, last: thing 1")


def test_an_expectation_that_is_not() -> None:
    found = expecting(True, False).check("expectations")
    assert found.verdict is Verdict.FAIL
    assert found.reason == "expected: thing 1; seen: another thing"
    assert found.signatures == [Signature("unmet", ("thing 1",))]
    assert found.figures["expectations_detected_after"].value == pytest.approx(1.1)


def test_what_a_lost_machine_did_not_meet_blames_nobody() -> None:
    story = healthy().until(15.0)
    story.at(15.2, "harness", "lost", what="QEMU was killed")
    story.at(15.3, "harness", "expectation", what="thing", met=False, seen="")
    assert story.check("expectations").verdict is Verdict.UNKNOWN


def test_a_fault_that_swallows_commands_leaves_them_their_initiators_time() -> None:
    story = commanded(SENSE)
    for event in story.events:
        if event.kind == "armed":
            event.data["expect"]["patience"] = 30.0
    assert check(story).verdict is Verdict.UNKNOWN


def test_every_fault_says_how_commands_may_end() -> None:
    """Each fault defines the outcomes of a held command in each state with a waiting initiator."""
    for fault in MECHANISMS:
        for state in (State.QUEUED, State.PARSE, State.ALLOC_MEM, State.EXEC):
            assert fault.expected(state, traits_of("scst")).outcomes, (fault.name, state)
        assert fault.expected(State.ON_FREE_CMD, traits_of("scst")).outcomes == ("GOOD",)


@pytest.mark.parametrize(("residual", "verdict"), [(0, Verdict.PASS), (512, Verdict.FAIL)])
def test_good_alone_allows_no_residual(residual: int, verdict: Verdict) -> None:
    answer: dict[str, object] = {"status": 0, "host": 0, "residual": residual}
    found = check(commanded(answer, answer, allowed=("GOOD",)))
    assert found.verdict is verdict
    if residual:
        assert found.reason.startswith(
            "2 of 2 commands ended with GOOD residual 512, allowed: GOOD")


@pytest.mark.parametrize(("answer", "verdict"), [
    ({"status": 0, "host": 0, "differs": None}, Verdict.PASS),
    ({"status": 0, "host": 0, "differs": 32768}, Verdict.FAIL),
    ({"status": 0, "host": 1, "differs": 0}, Verdict.PASS)])  # the initiator ended it: no data
def test_the_data_of_a_read_are_those_that_were_written(
    answer: dict[str, object], verdict: Verdict,
) -> None:
    found = check(commanded(answer, answer, allowed=("GOOD", "host NO_CONNECT")))
    assert found.verdict is verdict
    if verdict is Verdict.FAIL:
        assert found.reason.startswith(
            "2 of 2 commands returned other data than were written: WRITE(16) from byte 32768 of "
            "512 on (SBC-4 5.16")
        assert found.signatures == [Signature("other data", ("WRITE(16)",))] * 2
