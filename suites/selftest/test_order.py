# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing that has to wait for held commands ends early, and a device that has gone is silent."""

from __future__ import annotations

import pytest

from results.checkers.order import LATE
from results.judge import judge
from results.verdict import Signature, Verdict
from suites.selftest.stories import FIRED, Story, healthy, sample

GONE = 15.6
"""End of the teardown in the healthy history."""


def waiting(*, ended: bool, source: str = "README of SCST") -> Story:
    """Return a history in which an operation that has to wait was observed."""
    story = healthy()
    story.changed("fault", "armed", {}, expect={"waits": source})
    story.at(FIRED + 0.02, "target", "begin", operation="lun-delete")
    story.at(FIRED + 0.1, "target", "observed", operation="lun-delete", ended=ended)
    return story.at(FIRED + 0.5, "target", "end", operation="lun-delete", seconds=0.48, error=None)


def answered(seconds: float, *, issued: float = 13.6, **answer: object) -> Story:
    """Return a history with a command that was answered some seconds after its device had gone."""
    story = healthy()
    story.at(issued, "workload", "command", job="commands", disk="sda", number=1,
             name="WRITE(16)", cdb="8a", direction="write", bytes=512, reset=None)
    return story.at(GONE + seconds, "workload", "answer", job="commands", disk="sda", number=1,
                    seconds=GONE + seconds - issued,
                    **{"error": None, "status": 0, "host": 0, **answer})


def function(seconds: float, **response: object) -> Story:
    """Return a history with a function that was answered some seconds after the device had gone."""
    story = healthy()
    story.at(13.6, "workload", "function", job="a", disk=None, number=1, name="LUN_RESET",
             command=None)
    return story.at(GONE + seconds, "workload", "response", job="a", disk=None, number=1,
                    seconds=GONE + seconds - 13.6,
                    **{"response": "FUNC_COMPLETE", "error": None, **response})


def test_an_operation_that_waits() -> None:
    check = waiting(ended=False).check("order")
    assert check.verdict is Verdict.PASS
    assert check.reason == "lun-delete waited for the held commands"


def test_an_operation_that_does_not_wait() -> None:
    check = waiting(ended=True).check("order")
    assert check.verdict is Verdict.FAIL
    assert check.reason == (
        "lun-delete had ended 0.080 s after its begin, while the backend held 4 commands; it has "
        "to wait for them (README of SCST)")
    assert check.signatures == [Signature("not waited", ("lun-delete",))]


def test_an_operation_that_need_not_wait() -> None:
    story = waiting(ended=True, source="")
    assert not [each for each in judge(story.history()).checks if each.name == "order"]


def test_an_operation_that_was_not_observed() -> None:
    story = waiting(ended=False).without("target", "observed")
    story.at(14.2, "harness", "error", family="MachineLostError", message="gone")
    assert story.verdict("order") is Verdict.UNKNOWN


@pytest.mark.parametrize("story", [
    answered(-0.3), answered(LATE - 0.1), function(LATE - 0.1),
    answered(LATE + 0.6).changed("workload", "answer", {}, seconds=1.0)],  # recorded later
    ids=["before", "on its way", "a function", "recorded later"])
def test_an_answer_in_time(story: Story) -> None:
    assert story.verdict("order") is Verdict.PASS


@pytest.mark.parametrize(("story", "what"), [
    (answered(LATE + 0.1), "WRITE(16) was answered with GOOD"),
    (answered(LATE + 0.1, status=2, key=5, asc=0x25, ascq=0),
     "WRITE(16) was answered with CHECK CONDITION 05/25/00"),
    (function(LATE + 0.1), "LUN_RESET was answered with FUNC_COMPLETE")])
def test_an_answer_after_the_device_has_gone(story: Story, what: str) -> None:
    check = story.check("order")
    assert check.verdict is Verdict.FAIL
    assert check.reason.startswith(f"{what} 1.1 s after its device had gone, allowed: 1 s")


@pytest.mark.parametrize("story", [
    answered(LATE + 1, host=1, status=0),  # the initiator ended it
    answered(LATE + 1, error="aborted"),
    answered(LATE + 1, issued=GONE + 0.1),  # another logical unit answers
    function(LATE + 1, response=None, error="lost"),
    answered(LATE + 1).at(13.0, "fault", "cut", how="silent", seconds=3.0, keeps_session=True,
                          reported_after=None)])  # the answer is delivered late
def test_an_answer_that_proves_nothing(story: Story) -> None:
    assert not [each for each in judge(story.history()).checks
                if each.name == "order" and each.verdict is Verdict.FAIL]


def kept(cpu: float) -> Story:
    """Return a history of a control whose backend kept all commands from 14 s to 16.25 s."""
    story = healthy("release").without("sampler", "threads", after=FIRED)
    story = story.changed("block", "complete", {"op": "write"})
    story.events = [event for event in story.events
                    if not (event.source == "block" and event.kind == "complete"
                            and event.data["io"] in range(20, 24) and event.data["disk"] == "sda")]
    for serial in range(20, 24):
        story.at(16.3, "block", "complete", io=serial, disk="sda", op="write", sector=serial * 8,
                 error=None, seconds=2.5)
    for tick in range(2 * 14 + 1, 2 * 24):
        held = 14.5 <= tick / 2 <= 16.25
        sample(story, tick / 2, {"scst_uid": cpu if held else 0.01})
    return story.at(16.25, "harness", "kept", since=FIRED)


def test_a_thread_that_spins_while_every_command_is_kept() -> None:
    check = kept(0.49).check("threads")
    assert check.verdict is Verdict.FAIL
    assert check.reason.startswith("scst_uid:100 burnt 98% of a CPU")


def test_a_thread_that_rests_while_every_command_is_kept() -> None:
    assert kept(0.1).verdict("threads") is Verdict.PASS


def test_a_held_command_alone_is_no_reason_to_spin_only_where_all_are_kept() -> None:
    story = kept(0.49).without("harness", "kept")
    assert story.verdict("threads") is Verdict.PASS
