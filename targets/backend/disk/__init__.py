# SPDX-License-Identifier: GPL-2.0-or-later
"""A direct-access block device (SBC-3) whose medium is memory, served by a backend.

Runs in the guest; stdlib only. The medium is a shared mapping of a file, so written data outlive
the backend; put the file in /dev/shm.

READ and WRITE are the hot path: ``decode`` returns the bytes of ``data`` that they address, and the
backend moves those between ``data`` and the kernel's buffers itself, with one copy. Commands for
which ``decode`` returns None (other commands, and READs and WRITEs that must fail) go to
``control``, which carries out the whole command::

    access = disk.decode(cdb)
    if access is None:
        answer = disk.control(cdb, data_out)
    elif access.direction == "write":
        disk.data[access.offset:access.end] = kernel_buffer
"""

from targets.backend.disk.cdb import Access, Buffer, Opcode, direction, extent, opcode_name
from targets.backend.disk.inquiry import MAX_FILL, MAX_TRANSFER, MAX_UNMAP_DESCRIPTORS
from targets.backend.disk.ram import RamDisk
from targets.backend.disk.sense import (
    BUSY,
    CHECK_CONDITION,
    GOOD,
    TASK_SET_FULL,
    Answer,
    fixed_sense,
)

__all__ = [
    "BUSY", "CHECK_CONDITION", "GOOD", "MAX_FILL", "MAX_TRANSFER", "MAX_UNMAP_DESCRIPTORS",
    "TASK_SET_FULL", "Access", "Answer", "Buffer", "Opcode", "RamDisk", "direction", "extent",
    "fixed_sense", "opcode_name",
]
