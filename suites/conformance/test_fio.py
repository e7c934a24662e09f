# SPDX-License-Identifier: GPL-2.0-or-later
"""fio verifies its writes, at several block sizes and queue depths, sequential and random."""

from __future__ import annotations

from itertools import product

import pytest

from fixtures.workload.fio import Fio, FioJob
from suites.conformance.conftest import Pristine
from targets.target import Device, Transport

pytestmark = pytest.mark.conformance

SIZE = 64 << 20
IOS = 256
"""I/Os of each job, limited by the size of the disk."""

DEPTHS = (1, 8, 64)
ALIGNMENT = 4096
"""Alignment of buffers in bytes that scst_local requires (dma_alignment of its scsi_host_template).
fio's buffers are contiguous: if a block is not a multiple of it, only depth 1 is possible."""

PATTERNS = ("write", "randwrite")


@pytest.mark.parametrize(("block_size", "bs"), [
    (512, 512), (512, 3072), (512, 4096), (512, 64 << 10), (512, 1 << 20),
    (4096, 4096), (4096, 1 << 20),
])
@pytest.mark.parametrize("transport", list(Transport))
def test_verify_is_clean(
    pristine: Pristine, transport: Transport, block_size: int, bs: int
) -> None:
    """fio reads back every written block with the correct checksum."""
    size = min(bs * IOS, SIZE // bs * bs)
    with pristine() as bed, bed.disk(
        Device(size=SIZE, block_size=block_size), transport,
    ) as disk:
        aligned = transport is Transport.ISCSI or not bs % ALIGNMENT
        for depth, rw in product(DEPTHS if aligned else DEPTHS[:1], PATTERNS):
            job = FioJob(rw=rw, bs=bs, iodepth=depth, numjobs=1, size=size, rate_iops=None,
                         runtime=None, verify="crc32c", seed=bs + depth)
            fio = Fio(bed.guest.machine, f"{rw}-{depth}", job, disk, bed.recorder)
            done = fio.wait(bed.guest.ladder.scenario)
            assert done is not None, f"{job} has not ended"
            assert done.get("error") == 0, f"{job}: {done.get('error')}"
            moved = [done[way]["io_bytes"] for way in ("write", "read")]
            assert moved == [size, size], f"{job} moved {moved}"
