"""iscsi-test-cu fails no test on our backend's disk that SCST's own vdisk_fileio passes."""

from __future__ import annotations

import pytest

from fixtures.initiator.iscsi_test_cu import FAMILIES, Result, listed, run_family
from suites.conformance.conftest import Bed, Pristine, Row, Table
from targets.target import Deployment, Device

pytestmark = pytest.mark.conformance

SIZE = 64 << 20
REFERENCE = Device(
    name="stf-file", size=SIZE, handler="vdisk_fileio", options={"thin_provisioned": 1})
OURS = Device(name="stf-user", size=SIZE)

FAMILY_LADDERS = 2
"""How many times a whole scenario's bound a family may take: it is thousands of commands."""

LOGOUT = "SCST ends a session some time after its logout, and a reservation with it"

ABORT = "the write may have ended before its abort arrives"

RACES = {
    "Reserve6.Logout": LOGOUT, "Reserve6.ITNexusLoss": LOGOUT,
    "iSCSITMF.AbortTaskSimpleAsync": ABORT,
}
"""Tests that now pass and now fail on either device, for what is not the device's doing."""


def results(bed: Bed, deployment: Deployment, family: str, tests: list[str]) -> list[Result]:
    """Return what a family's tests say of a device; keep all they print."""
    found, text = run_family(bed.guest.machine, deployment.address, family, tests,
                             FAMILY_LADDERS * bed.guest.ladder.scenario)
    (bed.record.path / f"iscsi-test-cu.{deployment.address.serial}.log").write_text(text)
    return found


@pytest.fixture(autouse=True)
def scst_only(request: pytest.FixtureRequest) -> None:
    """Skip on targets that have no handler of their own to compare with."""
    if request.config.getoption("target") != "scst":
        pytest.skip("compares with SCST's vdisk_fileio")


def test_every_family_is_asked(pristine: Pristine) -> None:
    """The guest's iscsi-test-cu has the families that are run here, and no others."""
    with pristine() as bed:
        assert sorted(listed(bed.guest.machine)) == sorted(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_iscsi_test_cu(
    pristine: Pristine, kernel_name: str, family: str, table: Table,
) -> None:
    """No test of the family fails on ours that passes on vdisk_fileio."""
    with pristine() as bed, bed.deployed(REFERENCE) as reference, bed.deployed(OURS) as ours:
        tests = listed(bed.guest.machine)[family]
        ours.begin("copy-admit").finish(bed.guest.ladder.step)
        pairs = zip(results(bed, reference, family, tests), results(bed, ours, family, tests),
                    strict=True)
        rows = [Row(kernel_name, theirs.name, theirs.outcome, mine.outcome, theirs.words,
                    mine.words, RACES.get(mine.name, "")) for theirs, mine in pairs]
        table.add(rows, bed.record.path.parent)
    assert rows
    worse = [row.line() for row in rows if row.worse]
    if worse:
        pytest.fail("\n".join(worse), pytrace=False)
