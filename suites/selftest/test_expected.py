# SPDX-License-Identifier: GPL-2.0-or-later
"""The expectations of each fault: numbers and outcomes, as agreed, in one table."""

from __future__ import annotations

from itertools import product

import pytest

from inject import nexus, task_management
from inject.catalogue import FAULTS
from inject.combined import Combined
from inject.fault import Expected
from inject.outcomes import ABORTED_LATE, GOOD, LOST_WAY, NOT_SUPPORTED
from inject.point import ANSWERED, State
from inject.target_operation import TargetOperation
from targets.catalogue import TARGETS, traits_of

ENDS_OR_LOST = (GOOD, *LOST_WAY)
LOST = (NOT_SUPPORTED,)

IN_EXEC: dict[tuple[str, ...], str] = {
    ENDS_OR_LOST: "target-disable target-delete session-delete lun-delete lun-clear",
    LOST_WAY: "session-close",
    (GOOD, NOT_SUPPORTED, *LOST_WAY): "lun-delete-while-device-goes",
    ABORTED_LATE: "black-hole-1 black-hole-2 black-hole-3 black-hole-4 backend-stop-long "
                  "memory-pressure storage-stall-long storage-stall-longer",
    LOST: "backend-close backend-kill backend-term backend-exit backend-unregister backend-fork "
          "backend-stop-kill",
}
"""Outcomes of a command held in EXEC, without GOOD, combinations and wrong answers."""

GRACE = {
    **dict.fromkeys((
        "black-hole-1", "black-hole-2", "black-hole-3", "black-hole-4", "backend-stop-long",
        "memory-pressure", "failslab", "failslab-caches", "fail-page-alloc", "target-offline",
        "daemon-kill", "malformed-pdus", "scstd-kill", "tgtd-stop-long", "storage-stall-long"),
        12.0),
    "storage-stall-longer": 20.0,
    "netem-delay": 1.0, "netem-loss": 3.0, "netem-burst-loss": 6.0, "netem-reorder": 1.0,
}
"""Grace in seconds, of faults other than partitions and combinations; 0 if not listed."""

TEARDOWN_GRACE = {"cpu-hog": 6.0, "backend-starved": 6.0, "memory-pressure": 12.0,
                  "failslab": 2.0, "failslab-caches": 2.0, "fail-page-alloc": 2.0}
"""Grace in seconds of a teardown during a disturbance."""


def expected(name: str, state: State = State.EXEC, target: str = "scst") -> Expected:
    """Return the expectation of a fault on a WRITE."""
    return FAULTS[name].expected(state, traits_of(target), "write")


def single() -> list[str]:
    """Return the names of the faults that are not combinations."""
    return [name for name in FAULTS if "+" not in name]


def test_how_commands_in_exec_may_end() -> None:
    table = {name: outcomes for outcomes, names in IN_EXEC.items() for name in names.split()}
    errs = {"storage-error", "storage-error-writes"}
    for name in single():
        if name in errs or name.startswith("answer-"):
            continue
        assert expected(name).outcomes == table.get(name, (GOOD,)), name


@pytest.mark.parametrize(("target", "ends", "function"), [
    ("scst", (NOT_SUPPORTED,), "scst_user.c"),
    ("lio", (NOT_SUPPORTED, "CHECK CONDITION 02/08/00"), "target_core_user.c"),
    ("tgt", (NOT_SUPPORTED, "CHECK CONDITION 03/11/00"), "bs_rdwr.c"),
])
def test_a_command_without_its_backend_ends_as_the_target_states(
    target: str, ends: tuple[str, ...], function: str,
) -> None:
    for name in IN_EXEC[LOST].split():
        found = expected(name, target=target)
        assert found.outcomes == ends
        assert found.clause.endswith(function)
        assert set(ends) <= set(expected(name, State.QUEUED, target).outcomes)
        assert expected(name, State.ON_CACHED_MEM_FREE, target).outcomes == ()


@pytest.mark.parametrize("state", ANSWERED)
def test_a_status_that_is_delivered_stands(state: State) -> None:
    for name in FAULTS:
        if not name.startswith(("answer-", "storage-error")) or "+" in name:
            assert expected(name, state).outcomes == (GOOD,), name


def test_how_long_commands_may_take() -> None:
    for name in single():
        if name.startswith("partition-"):
            continue
        assert expected(name).grace == GRACE.get(name, 0.0), name
        held = expected(name, State.TASK_MGMT_RECEIVED).grace
        assert held == (GRACE.get(name, 0.0) if name.startswith("netem-")
                        else max(10.0, GRACE.get(name, 0.0))), name


def test_how_long_a_teardown_may_take() -> None:
    for name in FAULTS:
        beside = {TEARDOWN_GRACE.get(each, 0.0) for each in name.split("+")} \
            if "+" in name else {0.0}
        assert expected(name).teardown_grace == max(beside), name


def test_with_what_io_may_fail() -> None:
    none = {name for name in FAULTS if expected(name).errors == ()}
    some = {name for name in FAULTS if expected(name).errors}
    assert some == {"storage-error", "storage-error-writes", "storage-error-reads",
                    "storage-medium-error", "storage-ignores-failfast"}
    assert not any("+" in name for name in none)
    assert {"lie-drop", "malformed-pdus", "netem-loss", "partition-silent-blip", "cpu-hog",
            "scstd-stop", "daemon-kill", "storage-stall-long", "release", "backend-stop",
            "backend-set-options", "backend-flush-cache", "backend-capacity-changed",
            "answer-exec-for-another"} <= none
    assert not none & {"lun-delete", "lun-remove", "backend-kill", "partition-silent-late",
                       "memory-pressure", "scstd-kill", "storage-stall-longer", "failslab",
                       "backend-stop-long"}
    assert expected("backend-stop", target="lio").errors is None  # TCMU's cmd_time_out is shorter


@pytest.mark.parametrize("target", TARGETS)
def test_io_may_fail_when_its_device_ends(target: str) -> None:
    """A fault that ends the device allows errors, unless it states which."""
    for name, fault in FAULTS.items():
        if fault.ends_device:
            assert expected(name, target=target).errors is None, name


def test_every_expectation_has_a_clause() -> None:
    for name, state, target in product(FAULTS, State, TARGETS):
        assert expected(name, state, target).clause, (name, state)
    for function, target in product(task_management.FUNCTIONS, TARGETS):
        for state in (State.EXEC, State.ON_FREE_CMD):
            found = task_management.expected(
                (function,), traits_of(target), FAULTS["backend-kill"], state)
            assert found.clause and "RFC 7143 11.6.1" in found.function_clause
            ends = nexus.ends(traits_of(target), function, {}, FAULTS["backend-kill"], state)
            assert ends.clause


@pytest.mark.parametrize(("fault", "state", "waits"), [
    ("lun-remove", State.EXEC, True), ("lun-delete", State.PARSE, True),
    ("lun-delete", State.ON_FREE_CMD, False), ("lun-delete", State.ATTACH_SESS, False),
    ("suspend", State.ALLOC_MEM, True), ("backend-flush-cache", State.EXEC, True),
    ("target-delete", State.EXEC, True), ("device-block", State.PARSE, False),
    ("backend-close", State.EXEC, False), ("release", State.EXEC, False)])
def test_operations_that_must_wait_for_held_commands(
    fault: str, state: State, waits: bool,
) -> None:
    assert bool(FAULTS[fault].expected(state, traits_of("scst")).waits) is waits


def test_a_teardown_beside_a_disturbance_need_not_wait() -> None:
    disturbance, teardown = FAULTS["memory-pressure"], FAULTS["lun-delete"]
    assert isinstance(disturbance, TargetOperation)
    beside = Combined(disturbance, teardown)
    assert not beside.expected(State.EXEC, traits_of("scst")).waits


@pytest.mark.parametrize("target", TARGETS)
def test_a_removal_of_the_lun_waits_on_every_target(target: str) -> None:
    assert FAULTS["lun-remove"].expected(State.EXEC, traits_of(target)).waits
