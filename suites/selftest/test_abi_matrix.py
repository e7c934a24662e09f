# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrices of suites/abi: every call, kind and pair occurs; batches; what is expected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from fixtures.matrix import Matrix
from fixtures.scenario import Plan, Selection
from results.errors import WrongUsageError
from suites.abi import batches, device_matrix, ring_matrix, test_device, test_ring, test_waiting
from suites.abi.batches import BATCH, Batch, Case
from suites.abi.making import Expected
from targets.catalogue import TARGETS
from targets.scst import abi
from targets.scst.interface import CALLS

MATRICES = {"device": device_matrix.MATRIX, "ring": ring_matrix.MATRIX}
PLANS = {"scst": test_device.plans, "lio": test_ring.plans}


def batch_of(plan: Plan) -> Batch:
    """Return a plan's batch."""
    batch = plan.arguments["batch"]
    assert isinstance(batch, Batch)
    return batch


def selected(target: str, **options: str | None) -> list[Plan]:
    """Return the plans for a target."""
    return list(PLANS[target](replace(Selection(TARGETS[target].traits), **options)))  # type: ignore[arg-type]


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_every_value_is_in_a_cell(matrix: Matrix) -> None:
    cells = matrix.pairwise(1)
    for name, values in matrix.dimensions.items():
        assert {cell[name] for cell in cells} == set(values)


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_every_legal_pair_is_in_a_cell(matrix: Matrix) -> None:
    cells = matrix.pairwise(1)
    covered = {pair for cell in cells for pair in matrix.pairs(cell)}
    assert set(matrix.legal_pairs(matrix.dimensions)) <= covered
    assert all(matrix.forbidding(cell) is None for cell in cells)


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_a_seed_gives_the_same_cells_again(matrix: Matrix) -> None:
    assert matrix.pairwise(7) == matrix.pairwise(7) != matrix.pairwise(8)


def test_the_catalogue_has_every_ioctl() -> None:
    """Each request of scst_user.h (test_scst_abi compares these with the header) is called."""
    numbers = {name: value for name, value in vars(abi).items()
               if name.isupper() and isinstance(value, int)}
    requests = {name for name, value in numbers.items()
                if value >> 8 & 0xFF == ord("u") and value & 0xFF <= 11 and value > 0x7000}
    assert requests <= {call.ioctl for call in CALLS}
    assert len(requests) == 11


@pytest.mark.parametrize("target", PLANS)
def test_batches_make_every_call_once(target: str) -> None:
    numbers = [case.number for plan in selected(target) for case in batch_of(plan).cases
               if case.number]
    assert len(numbers) == len(set(numbers))
    assert all(len(batch_of(plan).cases) <= BATCH for plan in selected(target))


def test_the_module_is_removed_in_batches_without_another_device() -> None:
    for plan in selected("scst"):
        batch = batch_of(plan)
        assert all((case.fields["then"] == "rmmod") == batch.alone for case in batch.cases)


def test_one_call_can_be_made_again() -> None:
    plan, = selected("lio", call="7")
    assert [case.number for case in batch_of(plan).cases] == [7]
    assert plan.on("lio", "6.1").id == "lio-6.1-loopback-ring-call7-exec-any0-calls"
    plan, = selected("lio", call="3-5,9")
    assert [case.number for case in batch_of(plan).cases] == [3, 4, 5, 9]


def test_calls_are_cut_into_smaller_batches() -> None:
    """So the call of a batch that fails as a whole is found: in halves, or one by one."""
    plans = selected("lio", call="3-9/4")
    assert [[case.number for case in batch_of(plan).cases] for plan in plans] == [
        [3, 4, 5, 6], [7, 8, 9]]
    assert [plan.variant for plan in plans] == ["ring-call3-6", "ring-call7-9"]
    assert [plan.variant for plan in selected("lio", call="4-5/1")] == [
        "ring-call4", "ring-call5"]


def test_a_kind_chooses_its_matrix() -> None:
    scst = replace(Selection(TARGETS["scst"].traits), call="wait:2")
    plan, = test_waiting.plans(scst)
    assert batch_of(plan).cases[0].words.startswith("call wait:2: way ")
    assert not list(test_device.plans(scst))
    assert not list(test_waiting.plans(replace(scst, call="2")))


@pytest.mark.parametrize("text", ["", "x", "0", "4-2", "100000", "1,,2", "1/0", "1/x", "/2"])
def test_a_wrong_call_is_refused(text: str) -> None:
    with pytest.raises(WrongUsageError, match="--call"):
        selected("lio", call=text)


def test_other_targets_have_no_calls() -> None:
    others = Selection(TARGETS["tgt"].traits)
    assert not list(test_device.plans(others)) and not list(test_ring.plans(others))


def device(**fields: str) -> Expected:
    """Return what is expected of a call to the device, usual but for some fields."""
    return device_matrix.expected(Case(1, {
        "call": "GET_OPTIONS.arg", "pointer": "good", "handle": "none", "amount": "usual",
        "device": "registered", "then": "go-on", **fields}))


def refuses(expected: Expected, errors: Iterable[str]) -> list[str]:
    """Return those of some results that are not allowed."""
    return [error for error in errors if not expected.met([error])]


RESULTS = ("", "EFAULT", "EINVAL", "ESRCH")


@pytest.mark.parametrize(("fields", "wrong"), [
    ({}, []),
    ({"pointer": "read-only"}, ["", "EINVAL", "ESRCH"]),
    ({"pointer": "straddling"}, ["", "EINVAL", "ESRCH"]),
    ({"device": "before"}, [""]),
    ({"device": "closing", "pointer": "null"}, []),
    ({"call": "SET_OPTIONS.arg", "pointer": "read-only"}, []),
    ({"call": "SET_OPTIONS.parse_type", "amount": "over"}, [""]),
    ({"call": "REPLY_CMD.arg", "handle": "unknown"}, ["", "EFAULT", "EINVAL"]),
    ({"call": "REPLY_CMD.arg", "handle": "preallocated"}, [""]),
    ({"call": "GET_EXTENDED_CDB.arg", "handle": "freed"}, ["", "EFAULT", "EINVAL"]),
    ({"call": "PREALLOC_BUFFER.pbuf", "amount": "zero"}, [""]),
    ({"call": "REPLY_CMD.exec_reply.pbuf", "handle": "EXEC", "amount": "negative"}, [""]),
    ({"call": "REPLY_AND_GET_CMD.arg", "handle": "queued", "pointer": "unmapped"},
     ["", "EINVAL", "ESRCH"]),
], ids=str)
def test_what_a_call_must_not_return(fields: dict[str, str], wrong: list[str]) -> None:
    assert refuses(device(**fields), RESULTS) == wrong


def test_a_repeated_call_must_be_refused_each_time() -> None:
    assert not device(pointer="null").met(["EFAULT", ""])
    assert not device(call="PREALLOC_BUFFER.pbuf", amount="zero").met(["ENOMEM", ""])


def test_calls_that_may_wait() -> None:
    assert device(call="FLUSH_CACHE", handle="EXEC").waits
    assert device(call="REPLY_AND_GET_CMD.arg", device="blocking", then="kill").waits
    assert not device(call="FLUSH_CACHE").waits


@pytest.mark.parametrize(("call", "value", "wrong"), [
    ("attribute.reset_ring", "zero", [""]), ("attribute.reset_ring", "two", []),
    ("uio.read", "two", [""]), ("entry.len_op", "zero", [])])
def test_what_a_change_must_not_return(call: str, value: str, wrong: list[str]) -> None:
    expected = ring_matrix.expected(Case(1, {"call": call, "value": value, "commands": "one",
                                             "then": "kick"}))
    assert refuses(expected, RESULTS) == wrong


def test_batches_names() -> None:
    cases = batches.numbered([{"call": "a"}] * (BATCH + 1))
    plans = list(batches.plans(Selection(TARGETS["lio"].traits), cases, "ring",
                               lambda case: case.number == 1))
    assert [plan.variant for plan in plans] == ["ring-part1", "ring-alone1"]
    assert cases[0].words == "call 1: call a"
