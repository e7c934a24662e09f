# SPDX-License-Identifier: GPL-2.0-or-later
"""Combinations: the order in which a disturbance and a teardown are fired and undone."""

from __future__ import annotations

import time

import pytest

from inject.catalogue import FAULTS, fault_by_name
from inject.combined import Combined, Disturbance, Order, settle
from inject.misbehaviour import LOST_WRITE
from inject.netem import NETEMS
from inject.nexus import DROP, LOGOUT, REINSTATE
from inject.partition import PARTITIONS
from inject.point import State
from inject.requests import FunctionRequest, SessionEnd
from inject.storage import AROUND
from inject.wire import BROKEN
from results.errors import WrongUsageError
from suites.selftest.fakes import FakeSubject
from targets.catalogue import traits_of

KILL = fault_by_name("backend-kill")
SILENT = PARTITIONS["partition-silent-late"]


def done(disturbance: Disturbance, order: Order = Order.FIRST) -> list[str]:
    """Return the recorded actions of a combination with a SIGKILL: fire, undo, settle."""
    subject, fault = FakeSubject(), Combined(disturbance, KILL, order)
    fault.fire(subject, 1.0)
    subject.done.append("fired")
    fault.undo(subject, 1.0)
    subject.done.append("undone")
    settle(fault, subject, 1.0)
    return subject.done


@pytest.mark.parametrize(("disturbance", "before", "settled"), [
    (NETEMS["netem-loss"], ["impair loss 3%"], ["restore"]),
    (SILENT, ["cut silent", "mend later"], ["restore"]),
    (BROKEN["broken-data-out-silent"], ["reach data-out", "break"], ["break", "leave"]),
    (BROKEN["broken-data-in-reset"], ["reach data-in", "break later"], ["break", "leave"]),
    (FunctionRequest(("ABORT_TASK", "LUN_RESET")), ["request ABORT_TASK LUN_RESET"], []),
    (SessionEnd(LOGOUT), ["logout a"], []),
    (SessionEnd(DROP), ["drop a"], []),
    (SessionEnd(REINSTATE), ["login c for a"], []),
])
def test_what_ends_behind_a_teardown(
    disturbance: Disturbance, before: list[str], settled: list[str],
) -> None:
    """The end of the disturbance is not part of the teardown, whose time is bounded."""
    assert done(disturbance) == [
        *before, "SIGKILL", "fired", "take_device_away", "undone", *settled]
    assert done(disturbance, Order.SECOND) == [
        "SIGKILL", *before, "fired", "take_device_away", "undone", *settled]


def test_a_disk_is_healed_while_the_teardown_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    for name, met in (("storage-stall", []), ("storage-error", ["release"])):
        subject, fault = FakeSubject(), fault_by_name(f"{name}+lun-delete")
        fault.fire(subject, 1.0)
        fault.undo(subject, 1.0)
        assert subject.done == [
            f"{name} begins", *met, "ends", "lun-delete begins", f"{name} healed", "release",
            "ends", "take_device_away"]
    assert slept == [0.5, 0.5]


def test_what_cannot_be_seen_to_wait() -> None:
    for teardown, order in ((KILL, Order.FIRST), (FAULTS["lun-delete"], Order.SECOND)):
        with pytest.raises(WrongUsageError, match="needs a teardown that is a TargetOperation"):
            Combined(AROUND[0], teardown, order)


def test_how_long_a_combination_may_take() -> None:
    scst, lio = traits_of("scst"), traits_of("lio")
    cut = Combined(SILENT, KILL)
    assert cut.expected(State.EXEC, scst).grace == SILENT.grace_for(KILL)
    assert cut.expected(State.EXEC, scst).teardown_grace == 2 * SILENT.seconds
    assert cut.expected(State.EXEC, lio).teardown_grace == 0.0
    assert cut.expected(State.EXEC, lio).outcomes == KILL.expected(State.EXEC, lio).outcomes
    requested = Combined(FunctionRequest(("LUN_RESET",)), KILL)
    assert requested.expected(State.EXEC, scst).grace == 12.0


def test_a_label_is_its_name_in_ids() -> None:
    assert Combined(SILENT, KILL).name == "partition-silent-late+backend-kill"
    assert Combined(SILENT, KILL, label="backend-kill").name == "backend-kill"


@pytest.mark.parametrize(("name", "fired", "undone"), [
    ("malformed-pdus", [], []),
    ("broken-data-out-reset", [], []),
    ("netem-delay", ["impair delay 40ms 10ms", "release"], ["restore"]),
    ("partition-one-way-blip", ["cut one-way"], ["restore", "release"]),
])
def test_what_is_done_by_initiators_and_by_the_network(
    name: str, fired: list[str], undone: list[str],
) -> None:
    subject, fault = FakeSubject(), fault_by_name(name)
    fault.fire(subject, 1.0)
    assert subject.done == fired
    fault.undo(subject, 1.0)
    assert subject.done == fired + undone


def test_no_fault_only_raises() -> None:
    """Every fault in the catalogue has its own fire and undo."""
    assert LOST_WRITE.name in FAULTS
    assert not [name for name, fault in FAULTS.items() if "WrongUsageError" in
                fault.fire.__code__.co_names]
