# SPDX-License-Identifier: GPL-2.0-or-later
"""Initiators in addition to the load's, and the disturbances they cause, against tgtd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.context import Lun, ScenarioContext
from fixtures.initiators import Functions, Initiators, NexusEnd, port
from fixtures.steps import settled
from fixtures.workload.commands import CommandJob
from fixtures.workload.sessions import Sessions
from inject.nexus import DROP, LOGOUT, REINSTATE
from results.errors import TargetFailedError
from results.history import Recorder
from results.ladder import Ladder
from suites.selftest.test_agent import LocalAgent, local_agent
from suites.selftest.tgtd import BLOCK, LUN, SOON, Tgtd, running_tgtd
from targets.target import Address, Transport


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


class Context(SimpleNamespace):
    """The part of a ScenarioContext that initiators and disturbances use."""

    must = staticmethod(ScenarioContext.must)

    def expect(self, what: str, met: bool, seen: str = "", clause: str = "") -> bool:
        """Record an expectation; return whether it was met."""
        self.expected[what] = met
        assert clause, what
        return met

    def note(self, kind: str, **data: Any) -> None:
        """Record a note."""
        self.notes.append((kind, data))


@pytest.fixture
def initiators(agent: LocalAgent, tgtd: Tgtd, tmp_path: Path) -> Iterator[Initiators]:
    """Provide initiators of tgtd's LUN, with "a" and "b" logged in."""
    address = Address(Transport.ISCSI, LUN, "STF", None, tgtd.portal, tgtd.iqn)
    deployment = SimpleNamespace(address=address, removal_waits=lambda: False)
    with Recorder(tmp_path / "history.jsonl") as recorder:
        ctx: Any = Context(
            client=agent.machine, recorder=recorder, ladder=Ladder(command=SOON, step=SOON),
            fault=SimpleNamespace(breaks=False), expected={}, notify=[], notes=[])
        lun: Any = Lun(deployment)
        made = Initiators(ctx, lun)
        for name in "ab":
            made.login(name, **port(name))
        yield made
        made.end()
        assert not lun.loads


def issue(initiators: Initiators) -> Sessions:
    """Issue a WRITE on both initiators; return their sessions once both are issued."""
    for name in "ab":
        initiators.issuer(name, ("GOOD",), "SBC-4 5.40")(CommandJob("write", 1).commands(BLOCK))
    sessions = initiators.sessions
    assert sessions.wait_issued(2, SOON)
    return sessions


def expectations(initiators: Initiators) -> dict[str, bool]:
    """Return the recorded expectations, and whether each was met."""
    context: Any = initiators.ctx
    found: dict[str, bool] = context.expected
    return found


def test_initiators_of_a_lun_share_its_program(initiators: Initiators) -> None:
    again = Initiators(initiators.ctx, initiators.lun)
    assert again.sessions is initiators.sessions and again.sessions in initiators.lun.loads


@pytest.mark.parametrize(("action", "states"), [
    (LOGOUT, "a logout is answered"), (DROP, None), (REINSTATE, "a session is reinstated")])
def test_the_end_of_a_nexus(
    initiators: Initiators, tgtd: Tgtd, action: str, states: str | None,
) -> None:
    """The end of a nexus ends its own command, as the initiator does it, and no other command."""
    ending = NexusEnd(initiators, "a", action, "c")
    with tgtd.io_held():
        sessions = issue(initiators)
        ending.begin()
        ending.end()
    initiators.wait_settled()
    own, = sessions.issued["a"]
    other, = sessions.issued["b"]
    assert (sessions.answers[own]["error"] == "unanswered") == (action != REINSTATE)
    assert sessions.answers[other]["status"] == 0
    assert list(expectations(initiators)) == ([states] if states else [])


def test_one_that_has_not_begun_does_not_end(initiators: Initiators) -> None:
    NexusEnd(initiators, "a", LOGOUT).end()
    Functions(initiators, "a", ("LUN_RESET",)).end()
    assert not expectations(initiators)
    assert initiators.sessions.nexus["a"]["action"] == "logged in"


def test_settled_after_an_error(initiators: Initiators) -> None:
    """The step is taken, its error is recorded, and the first error is raised."""
    context: Any = initiators.ctx
    fetched: list[str] = []
    initiators.lun.held = SimpleNamespace(  # type: ignore[assignment]
        fetch_again=lambda: fetched.append("fetched"))

    def settle() -> None:
        fetched.append("settled")
        raise TargetFailedError("second")

    with pytest.raises(TargetFailedError, match="first"), settled(
            context, initiators.lun, settle):
        raise TargetFailedError("first")
    assert fetched == ["fetched", "settled"]
    assert context.notes == [("error", {"family": "TargetFailedError", "message": "second"})]
