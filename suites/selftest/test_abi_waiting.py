# SPDX-License-Identifier: GPL-2.0-or-later
"""Waits of suites/abi: registrations of each way on a pipe, the matrix, and the judgement."""

from __future__ import annotations

import os
import select
from typing import Any, cast

import pytest

from fixtures.context import ScenarioContext
from suites.abi import wait_matrix
from suites.abi.batches import Case
from suites.abi.making import Report
from suites.abi.wait_matrix import IDLE, REQUESTED, WOKEN
from targets.scst.waiting import AVOIDED, EVENTS, INPUT, REPRODUCERS, Way, avoided
from targets.scst.waiting_guest import STAGES, waiter


def test_events_are_the_kernels() -> None:
    """The names and numbers of Linux on x86, which poll(2) and epoll(7) share."""
    for name in ("in", "pri", "out", "err", "hup", "rdnorm", "rdband", "wrnorm", "wrband", "msg"):
        assert EVENTS[name] == getattr(select, f"EPOLL{name.upper()}")
        assert EVENTS["all"] & EVENTS[name]
    assert (EVENTS["nval"], EVENTS["rdhup"]) == (select.POLLNVAL, select.POLLRDHUP)
    assert not EVENTS["all"] & EVENTS["nval"]


@pytest.mark.parametrize("way", list(Way))
def test_each_way_reports_input(way: Way) -> None:
    """A pipe is written, emptied and written again: two reports, and none between."""
    read, write = os.pipe()
    waiting = waiter(way, read, EVENTS["in"])
    assert not waiting.wait(0)
    for _ in range(2):
        waiting.renew()
        os.write(write, b"c")
        assert waiting.wait(1.0) & INPUT
        os.read(read, 1)
        waiting.renew()
        assert not waiting.wait(0)


def test_a_change_of_the_requested_events() -> None:
    read, write = os.pipe()
    os.write(write, b"c")
    for way in (Way.POLL, Way.LEVEL, Way.EDGE, Way.ONESHOT, Way.NESTED):
        waiting = waiter(way, read, 0)
        assert not waiting.wait(0)
        waiting.request(EVENTS["in"])
        assert waiting.wait(0) == EVENTS["in"]


def judged(idle: int, woke: int, events: str = "in") -> dict[str, bool]:
    """Judge one wait; return the expectations."""
    met: dict[str, bool] = {}

    class Context:
        """Records expectations."""

        def expect(self, what: str, is_met: bool, seen: str = "") -> None:
            """Record one."""
            met[what] = is_met

    event: dict[str, Any] = {"kind": "waited", "idle": idle, "woke": woke, "seconds": 1.0}
    case = Case(1, {"way": "poll", "events": events, "before": "idle"}, "wait")
    wait_matrix.judge(cast(ScenarioContext, Context()), Report(case, {"waited": event}))
    return met


@pytest.mark.parametrize(("wait", "unmet"), [
    ((0, 1), []), ((0, 0), [WOKEN]), ((0x20, 1), [IDLE]), ((0, 5), [REQUESTED]),
    ((0, 0, "out"), []), ((0, 4, "out"), [REQUESTED]), ((0, 0x40, "rdnorm"), []),
    ((0, 0x41, "all"), []), ((0, 0x20, "nval"), [REQUESTED])])
def test_what_a_wait_must_report(wait: tuple[Any, ...], unmet: list[str]) -> None:
    assert [what for what, met in judged(*wait).items() if not met] == unmet


def test_an_arrangement_that_failed_is_not_judged() -> None:
    wait_matrix.judge(cast(ScenarioContext, None), Report(Case(1, {"events": "in"})))


def test_every_value_is_in_a_cell() -> None:
    cells = wait_matrix.MATRIX.pairwise(1)
    for name, values in wait_matrix.MATRIX.dimensions.items():
        assert {cell[name] for cell in cells} == set(values)
    assert set(wait_matrix.MATRIX.dimensions["before"]) == set(STAGES)


def test_reproducers_are_avoided_elsewhere() -> None:
    assert all(avoided(case) for case in REPRODUCERS.values()) and len(AVOIDED) == 2
    assert not avoided({"way": "poll", "events": "in", "before": "drained"})
