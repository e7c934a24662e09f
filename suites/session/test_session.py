"""How do the commands of two initiators end when one ends its session, or the commands?

Alone, and racing a teardown in both orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest

from fixtures.plugin import accept
from fixtures.scenario import Plan
from fixtures.workload.commands import CommandJob
from fixtures.workload.sessions import NexusJob
from fixtures.workload.stamps import LIGHT
from inject.nexus import CHECK_CONDITION, ENDS_OF_NEXUS
from inject.point import Point, State
from inject.task_management import FUNCTIONS
from results.judge import Judgement
from targets.target import Device, Transport

ALONE = "release"
TEARDOWN = "backend-kill"

ORDERS = ("first", "second")

VARIANTS: Mapping[str, tuple[Mapping[str, int], ...]] = {
    "lio": ({},),
    "scst": ({}, {"tas": 1}, {"tst": 1}, {"qerr": 1}, {"qerr": 1, "tas": 1}, {"qerr": 3},
             {"qerr": 1, "tst": 1}),
    "tgt": ({},),
}
"""Options of devices that decide how commands end, by target."""


PATIENT = 30
"""Seconds after which TCMU gives a command up: not while it is held here."""


def plans(target: str) -> list[Plan]:
    """Return a plan for each end of a session, alone and with a teardown; for each function, and a
    command that ends badly, on each kind of device."""
    ends = [plan(target, deed, fault, order, {}) for deed in ENDS_OF_NEXUS
                for fault, order in ((ALONE, "alone"), *product([TEARDOWN], ORDERS))]
    deeds = [plan(target, deed, ALONE, "alone", options) for options in VARIANTS[target]
             for deed in concerned(options)]
    return [*ends, *deeds, plan(target, "LUN_RESET", ALONE, "silent", {})]


def concerned(options: Mapping[str, int]) -> tuple[str, ...]:
    """Return the deeds that options have a say in; without any, all."""
    if not options:
        return (*FUNCTIONS, CHECK_CONDITION)
    return (CHECK_CONDITION,) if "qerr" in options else ("CLEAR_TASK_SET", "LUN_RESET")


def plan(
    target: str, deed: str, fault: str, order: str, options: Mapping[str, int],
) -> Plan:
    """Return a cell's plan: the first initiator has one command held, or two, the other one."""
    own = 2 if deed == CHECK_CONDITION else 1
    patient = {"cmd_time_out": PATIENT} if target == "lio" and fault == ALONE else {}
    chosen = "".join(f"{name.replace('_', '-')}{value}-" for name, value in options.items())
    return Plan(target, fault, Transport.ISCSI, Point(State.EXEC, own + 1, None),
                Device(options={**options, **patient}), None, LIGHT, CommandJob("write", own + 1),
                f"{chosen}{deed.lower().replace('_', '-')}-{order}",
                "suites.session.story:story",
                nexus=NexusJob(deed, order, own, silent=order == "silent"))


def test_two_initiators(judgement: Judgement, request: pytest.FixtureRequest) -> None:
    """One deed."""
    accept(judgement, request)
