# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system can be created on the disk, used, trimmed and checked."""

from __future__ import annotations

from functools import partial

import pytest

from suites.conformance.conftest import Bed, Pristine
from targets.target import Device, Transport

pytestmark = pytest.mark.conformance

SIZE = 64 << 20
MEDIA = "/dev/shm"
"""The guest's file system that holds the targets' media, and no other files."""

RANDOM_MIB = 16
SLACK_KIB = 2 << 10
"""KiB that the ext4 file system may allocate while it deletes a file."""

FILL = f"""
mkdir /mnt/many
for number in $(seq 200); do seq $number 1000 > /mnt/many/$number; done
dd if=/dev/urandom of=/mnt/random bs=1M count={RANDOM_MIB} conv=fsync
"""
SUMS = "cd /mnt; find . -type f -print0 | sort -z | xargs -0 md5sum"
COLD = "umount /mnt; echo 3 > /proc/sys/vm/drop_caches; mount /dev/{disk} /mnt"
DELETE = "rm /mnt/random; sync; fstrim /mnt"


def run_script(bed: Bed, script: str) -> str:
    """Run a script in the guest; return its output. Raises TargetFailedError."""
    done = bed.guest.machine.run(["sh", "-ec", script], deadline=bed.guest.ladder.scenario)
    return done.stdout.strip()


@pytest.mark.parametrize("block_size", [512, 4096])
@pytest.mark.parametrize("transport", list(Transport))
def test_ext4(pristine: Pristine, transport: Transport, block_size: int) -> None:
    """Files are read back correctly from the medium, and a deleted file's blocks are unmapped."""
    with pristine() as bed, bed.disk(
        Device(size=SIZE, block_size=block_size), transport,
    ) as disk:
        shell = partial(run_script, bed)
        shell(f"mkfs.ext4 -q -F {disk.path}; mount {disk.path} /mnt")
        shell(FILL)
        written = shell(SUMS)
        assert len(written.splitlines()) == 201
        shell(COLD.format(disk=disk.name))
        assert shell(SUMS) == written
        full = int(shell(f"du -sk {MEDIA}").split()[0])
        shell(DELETE)
        trimmed = int(shell(f"du -sk {MEDIA}").split()[0])
        assert full - trimmed > RANDOM_MIB * 1024 - SLACK_KIB
        shell(COLD.format(disk=disk.name))
        kept = shell(SUMS)
        assert kept == "\n".join(
            line for line in written.splitlines() if not line.endswith(" ./random"))
        shell(f"umount /mnt; e2fsck -fn {disk.path}")
