# SPDX-License-Identifier: GPL-2.0-or-later
"""The judgement of suites/abi: what became of a call meets or does not meet its expectation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.context import ScenarioContext
from results.errors import TargetFailedError
from results.ladder import Ladder
from suites.abi.batches import Batch, Case
from suites.abi.making import (
    ARRANGED,
    IN_TIME,
    RELEASED,
    UNFETCHED,
    UNKILLABLE,
    Expected,
    make_calls,
)

REFUSED = Expected(refused=True, why="it is refused")

Event = dict[str, Any]


class Scripted:
    """A context whose program has emitted some events already."""

    ladder = Ladder()

    def __init__(self, *events: Event) -> None:
        self.events = list(events)
        self.met: dict[str, bool] = {}
        self.orders: list[int] = []

    def program(self, name: str, module: str, argument: object) -> Any:
        """Return the program."""
        def events_of(kind: str) -> list[Event]:
            return [event for event in self.events if event["kind"] == kind]

        return SimpleNamespace(
            events=self.events, events_of=events_of, last_words="", wait=lambda reached, _: True,
            wait_event=lambda kind, _: bool(events_of(kind)),
            order=self._order)

    def _order(self, go: int) -> None:
        self.orders.append(go)

    def expect(self, what: str, met: bool, seen: str = "", clause: str = "") -> bool:
        """Record the expectation."""
        self.met[what] = self.met.get(what, True) and met
        return met

    must = staticmethod(ScenarioContext.must)


def make(*events: Event, expected: Expected = REFUSED) -> Scripted:
    """Judge the events of one call."""
    scripted = Scripted({"kind": "arranging", "number": 1}, {"kind": "call", "number": 1}, *events,
                        {"kind": "end", "cases": 1})
    for event in scripted.events:
        event.setdefault("number", 1)
    make_calls(cast(ScenarioContext, scripted), "", Batch((Case(1, {"call": "x"}),)), {},
               lambda case: expected)
    return scripted


def done(*errors: str) -> Event:
    """Return the event of a call that returned."""
    return {"kind": "done", "errors": list(errors)}


RELEASE: Event = {"kind": "released", "seconds": 0.1}


def test_a_refused_call_that_leaves_nothing_is_right() -> None:
    assert make(done("EFAULT"), RELEASE).met == {
        RELEASED: True, "it is refused": True, ARRANGED: True}


@pytest.mark.parametrize(("events", "unmet"), [
    ([done(""), RELEASE], "it is refused"),
    ([done("EFAULT", ""), RELEASE], "it is refused"),
    ([{"kind": "late", "wchan": "f"}, RELEASE], IN_TIME),
    ([done("EINVAL"), {"kind": "removal", "error": ""}, RELEASE],
     "a module is not removed while its descriptor is open"),
])
def test_what_a_call_must_not_do(events: list[Event], unmet: str) -> None:
    assert [what for what, met in make(*events).met.items() if not met] == [unmet]


def test_an_unfetched_command_must_not_be_answered() -> None:
    for errors, met in (["ESRCH", ""], False), (["ESRCH", "ESRCH"], True):
        scripted = Scripted({"kind": "arranging", "number": 1}, {"kind": "call", "number": 1},
                            {"kind": "again", "number": 1, "errors": errors}, {"kind": "end"})
        make_calls(cast(ScenarioContext, scripted), "", Batch((Case(1, {"then": "answer"}),)), {},
                   lambda case: Expected())
        assert scripted.met[UNFETCHED] is met


def test_a_call_that_may_wait_may_be_late() -> None:
    assert all(make({"kind": "late", "wchan": "f"}, dict(RELEASE),
                    expected=Expected(waits=True)).met.values())


@pytest.mark.parametrize(("event", "unmet"), [
    ({"kind": "kept", "what": "a reference", "seconds": 7.0}, RELEASED),
    ({"kind": "unkillable", "wchan": "f"}, UNKILLABLE)])
def test_a_batch_ends_with_what_a_call_leaves_behind(event: Event, unmet: str) -> None:
    scripted = Scripted({"kind": "arranging", "number": 1}, {"kind": "call", "number": 1},
                        {**event, "number": 1}, {"kind": "end"})
    with pytest.raises(TargetFailedError, match="call 1: call x"):
        make_calls(cast(ScenarioContext, scripted), "", Batch((Case(1, {"call": "x"}),)), {},
                   lambda case: Expected())
    assert scripted.met[unmet] is False


def test_calls_that_were_not_made_prove_nothing() -> None:
    scripted = Scripted({"kind": "arranging", "number": 1},
                        {"kind": "unready", "number": 1, "why": "ENODEV"}, {"kind": "end"})
    make_calls(cast(ScenarioContext, scripted), "", Batch((Case(1, {"call": "x"}),)), {},
               lambda case: REFUSED)
    assert scripted.met == {ARRANGED: False}


def test_the_host_lets_each_call_go() -> None:
    assert make(done("EFAULT"), dict(RELEASE)).orders == [1]
