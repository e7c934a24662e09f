# SPDX-License-Identifier: GPL-2.0-or-later
"""Sessions of libiscsi in a separate program, against tgtd; the judgement of functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fixtures.context import ScenarioContext
from fixtures.initiator.disk import Disk
from fixtures.workload.commands import CommandJob
from fixtures.workload.sessions import Sessions
from inject import task_management
from inject.catalogue import fault_by_name
from inject.point import State
from inject.task_management import FUNCTIONS, grace, outcomes_beside, responses
from results.history import Recorder
from results.verdict import Check, Verdict
from suites.abort.steps import expect_functions
from suites.selftest.stories import Story, healthy
from suites.selftest.test_agent import LocalAgent, local_agent
from suites.selftest.tgtd import BLOCK, LUN, SOON, Tgtd, running_tgtd
from targets.catalogue import traits_of
from targets.target import Address, Transport

DISK = Disk("none", "8:0", "2:0:0:0", "STF x")


@pytest.fixture
def agent() -> Iterator[LocalAgent]:
    """Provide an agent on this host with a known clock."""
    with local_agent() as running:
        running.machine.connection.sync(SOON)
        yield running


@pytest.fixture
def tgtd() -> Iterator[Tgtd]:
    """Provide a target."""
    with running_tgtd() as running:
        yield running


def test_commands_and_functions_end_once(
    agent: LocalAgent, tgtd: Tgtd, tmp_path: Path
) -> None:
    address = Address(Transport.ISCSI, LUN, "STF", None, tgtd.portal, tgtd.iqn)
    with Recorder(tmp_path / "history.jsonl") as recorder:
        sessions = Sessions(agent.machine, "commands", address, DISK, recorder)
        assert sessions.login("a", SOON), sessions.nexus
        sessions.issue("a", CommandJob("write", 3).commands(BLOCK))
        assert sessions.wait_issued(3, SOON) and sessions.wait_settled(SOON)
        assert [sessions.answers[number]["status"] for number in sessions.commands] == [0, 0, 0]
        with tgtd.io_held():
            sessions.issue("a", CommandJob("write", 1).commands(BLOCK))
            assert sessions.wait_issued(4, SOON)
            sessions.manage("a", "LUN_RESET")
            assert sessions.wait_requested(1, SOON)
        assert sessions.wait_settled(SOON)
        assert list(sessions.responses) == [5]
        tgtd.process.kill()
        assert sessions.wait_nexus("a", "lost", SOON)
        sessions.issue("a", CommandJob("read", 1).commands(BLOCK))
        assert sessions.wait_issued(5, SOON) and sessions.wait_settled(SOON)
        assert sessions.answers[6]["error"] == "lost"
        sessions.stop()
        assert sessions.wait(SOON) is not None
        kinds = [event.kind for event in recorder.history().select("workload")]
    # tgtd sometimes answers the write after the reset that ended it: a breach, recorded as one.
    assert {kind: kinds.count(kind) for kind in set(kinds) - {"breach"}} == {
        "begin": 1, "command": 5, "answer": 5, "function": 1, "response": 1, "nexus": 2, "end": 1}


def test_a_login_that_is_refused(agent: LocalAgent, tgtd: Tgtd, tmp_path: Path) -> None:
    address = Address(Transport.ISCSI, LUN, "STF", None, tgtd.portal, "iqn.2026-01.no:such")
    with Recorder(tmp_path / "history.jsonl") as recorder:
        sessions = Sessions(agent.machine, "commands", address, DISK, recorder)
        assert not sessions.login("a", SOON)
        assert sessions.nexus["a"]["action"] == "refused"
        sessions.stop()
        assert sessions.wait(SOON) is not None


def test_a_session_ends_with_commands_in_flight(
    agent: LocalAgent, tgtd: Tgtd, tmp_path: Path
) -> None:
    """A logout and a dropped connection end all commands; another initiator's commands succeed."""
    address = Address(Transport.ISCSI, LUN, "STF", None, tgtd.portal, tgtd.iqn)
    port: dict[str, str | int] = {"initiator": "iqn.2026-11.faults.stf:one", "isid": 7}
    with Recorder(tmp_path / "history.jsonl") as recorder:
        sessions = Sessions(agent.machine, "commands", address, DISK, recorder)
        assert sessions.login("b", SOON)
        for number, end in enumerate(("logged out", "dropped"), 1):
            assert sessions.login("a", SOON, **port), sessions.nexus
            with tgtd.io_held():
                for name in "ab":
                    sessions.issue(name, CommandJob("write", 1).commands(BLOCK))
                assert sessions.wait_issued(2 * number, SOON)
                if end == "dropped":
                    sessions.drop("a")
                else:
                    sessions.begin_logout("a", SOON)
                assert sessions.wait_nexus("a", end, SOON)
            assert sessions.wait_settled(SOON)
            mine, others = sessions.issued["a"][-1], sessions.issued["b"][-1]
            assert sessions.answers[mine]["error"] == "unanswered"
            assert sessions.answers[others]["status"] == 0
        sessions.stop()
        assert sessions.wait(SOON) is not None


def managed(*ends: dict[str, object], allowed: tuple[str, ...] = ("FUNC_COMPLETE",)) -> Story:
    """Return a history with functions at the fault (14.0), answered after ``after`` seconds."""
    story = healthy().without("fault", "armed")
    story.at(13.5, "fault", "armed", fault="close", point="EXEC", count=1, opcodes=None,
             direction="write", expect={"functions": list(allowed)})
    for number, end in enumerate(ends, 1):
        story.at(13.9, "workload", "function", job="commands", disk="sda", number=number,
                 session="a", name="LUN_RESET", command=None)
        if end:
            data = {"response": None, "error": None, **end}
            story.at(14.0 + float(str(data.pop("after", 0.5))), "workload", "response",
                     job="commands", disk="sda", number=number, seconds=0.5, **data)
    return story


def check(story: Story) -> Check:
    """Return the check of task management functions."""
    return story.check("task_management")


@pytest.mark.parametrize("end", [{"response": "FUNC_REJECTED"}, {}])
def test_a_wrong_function_cites_its_clause(end: dict[str, object]) -> None:
    story, plain = managed(end), check(managed(end))
    for event in story.events:
        if event.kind == "armed":
            event.data["expect"]["function_clause"] = "RFC 7143 4.2.3.2"
    found = check(story)
    assert found.reason == f"{plain.reason} (RFC 7143 4.2.3.2)"
    assert found.signatures == plain.signatures


def test_functions_that_are_answered_pass() -> None:
    found = check(managed({"response": "FUNC_COMPLETE"}, {"response": "FUNC_COMPLETE"}))
    assert (found.verdict, found.reason) == (
        Verdict.PASS, "2 functions ended with FUNC_COMPLETE")


@pytest.mark.parametrize("end", [{"response": "FUNC_REJECTED"}, {"error": "lost"}])
def test_another_response_fails(end: dict[str, object]) -> None:
    found = check(managed({"response": "FUNC_COMPLETE"}, end))
    assert found.verdict is Verdict.FAIL
    assert "1 of 2 functions: LUN_RESET had another response" in found.reason


@pytest.mark.parametrize(("function", "verdict"), [
    ("LUN_RESET", Verdict.PASS), ("ABORT_TASK", Verdict.FAIL)])
def test_one_that_a_reset_terminates_may_stay_unanswered(function: str, verdict: Verdict) -> None:
    story = managed({"response": "FUNC_COMPLETE"}, {"error": "unanswered", "after": 9.0},
                    allowed=("FUNC_COMPLETE", f"{function} unanswered"))
    assert check(story).verdict is verdict


def test_what_a_storm_of_resets_may_do() -> None:
    requested = ("ABORT_TASK", "LUN_RESET")
    release, lost = fault_by_name("release"), "ABORT_TASK unanswered"

    def answers(target: str, *requested: str) -> tuple[str, ...]:
        return task_management.responses_to_all(
            traits_of(target), requested, release, State.EXEC)

    assert lost in answers("lio", *requested)
    assert lost not in answers("scst", *requested)
    assert lost not in answers("lio", *requested[:1])
    assert task_management.wears_others_out(("LUN_RESET",) * 6)
    assert not task_management.wears_others_out(("LUN_RESET",) * 5 + ("ABORT_TASK",) * 9)


@pytest.mark.parametrize(("count", "errors"), [(5, ()), (6, None)])
def test_io_may_fail_only_in_a_storm_that_outlasts_its_retries(
    count: int, errors: tuple[str, ...] | None,
) -> None:
    release, traits = fault_by_name("release"), traits_of("scst")
    ctx = SimpleNamespace(
        traits=traits, fault=release, plan=SimpleNamespace(point=SimpleNamespace(state=State.EXEC)),
        expected=release.expected(State.EXEC, traits))
    expect_functions(cast(ScenarioContext, ctx), ("LUN_RESET",) * count)
    assert ctx.expected.errors == errors


def test_a_late_response_fails() -> None:
    found = check(managed({"response": "FUNC_COMPLETE", "after": 9.0}))
    assert found.verdict is Verdict.FAIL and "LUN_RESET had no response in" in found.reason


def test_one_that_is_never_answered_fails() -> None:
    found = check(managed({"response": "FUNC_COMPLETE"}, {}))
    assert found.verdict is Verdict.FAIL and "had no response in" in found.reason


def test_a_broken_program_of_sessions_is_unknown() -> None:
    story = managed({})
    story.at(15.0, "workload", "end", job="commands", exit=1, error="Traceback", ios=0, bytes=0,
             seconds=1.0, errors=0)
    assert check(story).verdict is Verdict.UNKNOWN


def test_a_command_that_ends_twice_fails() -> None:
    story = managed({"response": "FUNC_COMPLETE"})
    story.at(14.8, "workload", "breach", job="commands", disk="sda", session="a",
             words="command 1 ended twice")
    found = check(story)
    assert (found.verdict, found.reason) == (
        Verdict.FAIL,
        "command 1 ended twice (SAM-5, Send Command Complete: a command ends with one status)")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_fault_allows_more(function: str) -> None:
    alone, racing = fault_by_name("release"), fault_by_name("backend-kill")
    held, over = State.EXEC, State.ON_FREE_CMD
    assert set(responses(traits_of("scst"), function, alone, held)) < set(
        responses(traits_of("scst"), function, racing, held))
    assert ("TASK_DOES_NOT_EXIST" in responses(traits_of("scst"), function, alone, over)) == (
        function == "ABORT_TASK")
    assert responses(traits_of("lio"), "CLEAR_TASK_SET", alone, held) == ("TMF_NOT_SUPPORTED",)
    assert outcomes_beside(traits_of("lio"), "CLEAR_TASK_SET", alone, held) == ("GOOD",)
    assert {"GOOD", "aborted"} <= set(outcomes_beside(traits_of("scst"), function, alone, held))
    assert "CHECK CONDITION 05/25/00" in outcomes_beside(traits_of("scst"), function, racing, held)
    assert "CHECK CONDITION 02/08/00" in outcomes_beside(traits_of("lio"), function, racing, held)
    assert (grace(function) > 0) == (not function.startswith("ABORT_TASK"))
