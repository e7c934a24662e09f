# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario in rounds: each round is judged separately, and the results become one check."""

from __future__ import annotations

from dataclasses import asdict

from results.checkers import outcome, teardown
from results.history import History
from results.judge import judge
from results.ladder import Ladder
from results.rounds import in_rounds, merge, rounds
from results.verdict import Check, Figure, Signature, Verdict
from suites.selftest.stories import Story, healthy

P, F, U = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


def recorded(*ends: str, teardowns: tuple[float, ...] = (), over: bool = True) -> History:
    """Return a history of rounds with these outcomes of their command, every 10 s from 10.0 on."""
    story = Story()
    story.at(1.0, "harness", "scenario", id="x", ladder=asdict(Ladder()))
    story.at(1.5, "fault", "armed", fault="backend-kill", point="EXEC", count=1, opcodes=None,
             direction=None, expect={"commands": ["GOOD", "aborted"]})
    for number, ended in enumerate(ends):
        begin = 10.0 * (number + 1)
        story.at(begin, "harness", "round", number=number + 1)
        story.at(begin + 1, "workload", "command", job="commands", disk=None, number=1,
                 name="WRITE(16)", cdb="8a", direction="write", bytes=512, session="a")
        story.at(begin + 2, "fault", "fired", fault="backend-kill", point="EXEC", held=1)
        story.at(begin + 2, "target", "begin", operation="teardown")
        if ended != "nothing":
            story.at(begin + 3, "workload", "answer", job="commands", disk=None, number=1,
                     error=ended, seconds=2.0)
        seconds = teardowns[number] if teardowns else 1.0
        story.at(begin + 2 + seconds, "target", "end", operation="teardown", seconds=seconds,
                 error=None)
    end = 10.0 * (len(ends) + 1)
    if over:
        story.at(end, "harness", "phase", name="recover")
    story.at(end + 20, "harness", "phase", name="end")
    return story.history()


def test_a_story_without_rounds_has_none() -> None:
    history = healthy().history()
    assert rounds(history) == []
    assert in_rounds(teardown.check)(history) == teardown.check(history)


def test_each_round_has_its_own_command_fault_and_end() -> None:
    history = recorded("aborted", "unanswered", "aborted")
    parts = rounds(history)
    assert len(parts) == 3
    for part in parts:
        assert len(list(part.select("workload", "command"))) == 1
        assert len(list(part.select("fault", "fired"))) == 1
        assert part.first("harness", "scenario") is not None
        assert [event.data["name"] for event in part.select("harness", "phase")] == ["end"]
    assert [part.events[-1].time for part in parts] == [20.0, 30.0, 40.0]


def test_a_round_that_went_wrong_is_named_and_the_others_do_not_hide_it() -> None:
    check = in_rounds(outcome.check)(recorded("aborted", "unanswered", "aborted"))
    assert check is not None
    assert check.verdict is F
    assert check.reason.startswith("in 1 of 3 rounds, first in round 2: 1 of 1 commands ended with")
    assert check.signatures == [Signature("outcome", ("WRITE(16)", "unanswered"))]
    assert check.figures["outcome_rounds"] == Figure(3, "1")
    assert check.figures["outcome_rounds_failed"] == Figure(1, "1")
    assert check.figures["commands_issued"] == Figure(3, "1")


def test_a_command_without_an_answer_is_late_in_its_round_not_in_the_next() -> None:
    check = in_rounds(outcome.check)(recorded("nothing", "aborted"))
    assert check is not None
    assert check.verdict is F
    assert "had not ended 8.0 s after the fault" in check.reason


def test_the_slowest_teardown_is_the_figure() -> None:
    check = in_rounds(teardown.check)(recorded("aborted", "aborted", teardowns=(0.5, 2.5)))
    assert check is not None
    assert check.verdict is P
    assert check.figures["teardown_time"] == Figure(2.5, "s")


def test_a_round_that_broke_off_has_all_that_came_after() -> None:
    history = recorded("aborted", "nothing", over=False)
    last = rounds(history)[-1]
    assert last.events[-1].time == 50.0
    check = in_rounds(outcome.check)(history)
    assert check is not None
    assert check.verdict is F
    assert "28.0 s after the fault" in check.reason


def test_rounds_that_pass_are_counted_by_what_they_say() -> None:
    check = merge([Check("x", P, "fine"), Check("x", P, "fine"), Check("x", P, "well")])
    assert check.reason == "3 rounds: fine (2); well (1)"


def test_unknown_outweighs_pass_and_fail_both() -> None:
    found = [Check("x", P, "fine"), Check("x", U, "who knows"), Check("x", F, "wrong")]
    assert merge(found[:2]).verdict is U
    assert merge(found).reason == "in 1 of 3 rounds, first in round 3: wrong"
    assert merge(found).figures["x_rounds_failed"] == Figure(1, "1")


def test_the_judge_asks_every_round() -> None:
    judgement = judge(recorded("aborted", "unanswered"))
    by_name = {check.name: check for check in judgement.checks}
    assert by_name["outcome"].verdict is F
    assert by_name["teardown"].reason.startswith("2 rounds: the teardown took")
