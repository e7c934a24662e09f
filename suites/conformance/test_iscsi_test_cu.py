# SPDX-License-Identifier: GPL-2.0-or-later
"""The project's backend passes every test of iscsi-test-cu that the target's own handler passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.initiator.iscsi_test_cu import FAMILIES, Result, listed, run_family
from fixtures.plugin.options import selection
from suites.conformance.conftest import Bed, Pristine, Row, Table
from targets.target import Deployment, Device

pytestmark = pytest.mark.conformance

SIZE = 64 << 20
REFERENCE = Device(name="stf-file", size=SIZE, options={"thin_provisioned": 1})
"""The device of the target's own handler (TargetTraits.reference_handler)."""

OURS = Device(name="stf-user", size=SIZE)

FAMILY_LADDERS = 2
"""Deadline of a family, in scenario deadlines: a family has thousands of commands."""

LOGOUT = "SCST ends a session some time after its logout, and a reservation with it"

ABORT = "the write may have ended before its abort arrives"

RACES = {
    "Reserve6.Logout": LOGOUT, "Reserve6.ITNexusLoss": LOGOUT,
    "iSCSITMF.AbortTaskSimpleAsync": ABORT,
}
"""Tests that are flaky on both devices, with the cause, which is not the device."""


def results(bed: Bed, deployment: Deployment, family: str, tests: list[str]) -> list[Result]:
    """Run a family's tests on a device; save their output and return their results."""
    found, text = run_family(bed.guest.machine, deployment.address, family, tests,
                             FAMILY_LADDERS * bed.guest.ladder.scenario)
    (bed.record.path / f"iscsi-test-cu.{deployment.address.serial}.log").write_text(text)
    return found


@pytest.fixture(autouse=True)
def reference(pytestconfig: pytest.Config) -> Device:
    """Provide the reference device; skip on targets without a handler for it."""
    handler = selection(pytestconfig).traits.reference_handler
    if handler is None:
        pytest.skip("the target has no handler of its own to compare our backend with")
    return replace(REFERENCE, handler=handler)


def test_every_family_is_asked(pristine: Pristine) -> None:
    """The guest's iscsi-test-cu has exactly the families that are run here."""
    with pristine() as bed:
        assert sorted(listed(bed.guest.machine)) == sorted(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_iscsi_test_cu(
    pristine: Pristine, kernel_name: str, family: str, table: Table, reference: Device,
) -> None:
    """Every test of the family that passes on the reference passes on the project's backend."""
    with pristine() as bed, bed.deployed(reference) as handler, bed.deployed(OURS) as ours:
        tests = listed(bed.guest.machine)[family]
        ours.begin("copy-admit").finish(bed.guest.ladder.step)
        pairs = zip(results(bed, handler, family, tests), results(bed, ours, family, tests),
                    strict=True)
        rows = [Row(kernel_name, theirs.name, theirs.outcome, mine.outcome, theirs.words,
                    mine.words, RACES.get(mine.name, "")) for theirs, mine in pairs]
        table.add(rows, bed.record.path.parent)
    assert rows
    worse = [row.line() for row in rows if row.worse]
    if worse:
        pytest.fail("\n".join(worse), pytrace=False)
