# SPDX-License-Identifier: GPL-2.0-or-later
"""EXTENDED COPY copies its segments, executed by the backend, by the target, or by both."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.initiator.protocol import initiator_for
from fixtures.plugin.options import selection
from fixtures.workload.copies import Copies
from results.checkers.outcome import outcome
from suites.conformance.conftest import Bed, Pristine
from targets.target import Deployment, Device, Transport

pytestmark = pytest.mark.conformance

BLOCK = 512
SEGMENTS = [(1 << 20, 4 << 20, 256 << 10), (2 << 20, 6 << 20, 3 << 10)]
"""Segments: source offset, destination offset and length, in bytes."""

FILL = "dd if=/dev/urandom of={{disk}} bs=1M seek=1 count=2 oflag=direct status=none"
SUM = (f"dd if={{disk}} bs={BLOCK} skip={{block}} count={{blocks}} iflag=direct status=none"
       " | md5sum")


def carry_out(deployment: Deployment, bound: float) -> None:
    """Do nothing: the target or the backend executes the copy."""


def leave_all(deployment: Deployment, bound: float) -> None:
    """Reply to each segment that all of it remains to be copied."""
    for number, (source, sink, size) in enumerate(SEGMENTS, 1):
        assert deployment.backend.wait_held(number, bound)
        left = [[source // BLOCK, sink // BLOCK, size]]
        deployment.backend.hold("EXT_COPY_REMAP", 1, deadline=bound)
        deployment.backend.call("answer", deadline=bound, fields={"remap_descriptors": left})


WAYS: dict[str, tuple[int, Callable[[Deployment, float], None]]] = {
    "scst": (0, carry_out), "backend": (1, carry_out), "backend-leaves-all": (1, leave_all)}


@pytest.fixture(autouse=True)
def backend_copies(pytestconfig: pytest.Config) -> None:
    """Skip on targets that pass no segments of EXTENDED COPY to the backend."""
    if not selection(pytestconfig).traits.backend_carries_out_copies:
        pytest.skip("the target passes no segment of EXTENDED COPY to the backend")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("transport", list(Transport))
def test_extended_copy(pristine: Pristine, transport: Transport, way: str) -> None:
    """The copied data equal their source."""
    supported, answer = WAYS[way]
    device = Device(options={"ext_copy_remap_supported": supported})
    with pristine() as bed, bed.deployed(device, transport) as deployment:
        machine, ladder = bed.guest.machine, bed.guest.ladder
        initiator = initiator_for(transport)
        disk = initiator.login(machine, deployment.address, ladder)
        copies = Copies(machine, disk, BLOCK, bed.recorder)
        copies.admit(deployment, ladder.step)
        machine.run(["sh", "-ec", FILL.format(disk=disk.path)], deadline=ladder.step)
        before = [digest(bed, disk.path, source, size) for source, _, size in SEGMENTS]
        if answer is leave_all:
            deployment.backend.hold("EXT_COPY_REMAP", 1, deadline=ladder.step)
        issued = copies.begin("copy", SEGMENTS)
        answer(deployment, ladder.step)
        assert issued.wait(ladder.step) is not None, "the copy does not end"
        assert outcome(issued.answers[1]) == "GOOD"
        assert [digest(bed, disk.path, sink, size) for _, sink, size in SEGMENTS] == before
        initiator.logout(machine, deployment.address, ladder)


def digest(bed: Bed, path: str, place: int, size: int) -> str:
    """Return the MD5 of ``size`` bytes at ``place`` on the disk, read from the target."""
    script = SUM.format(disk=path, block=place // BLOCK, blocks=size // BLOCK)
    done = bed.guest.machine.run(["sh", "-ec", script], deadline=bed.guest.ladder.step)
    return str(done.stdout).split()[0]
