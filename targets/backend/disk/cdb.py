# SPDX-License-Identifier: GPL-2.0-or-later
"""Decoding of a CDB: the command, its blocks, its data direction."""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

Buffer = bytes | bytearray | memoryview


class Opcode(IntEnum):
    """Operation codes: SPC-4 clause 6 and SBC-4 clause 5, by their names there."""

    TEST_UNIT_READY = 0x00
    REQUEST_SENSE = 0x03
    READ_6 = 0x08
    WRITE_6 = 0x0A
    INQUIRY = 0x12
    MODE_SELECT_6 = 0x15
    RESERVE_6 = 0x16
    RELEASE_6 = 0x17
    MODE_SENSE_6 = 0x1A
    START_STOP_UNIT = 0x1B
    READ_CAPACITY_10 = 0x25
    READ_10 = 0x28
    WRITE_10 = 0x2A
    WRITE_AND_VERIFY_10 = 0x2E
    VERIFY_10 = 0x2F
    PRE_FETCH_10 = 0x34
    SYNCHRONIZE_CACHE_10 = 0x35
    WRITE_SAME_10 = 0x41
    UNMAP = 0x42
    SANITIZE = 0x48
    MODE_SELECT_10 = 0x55
    RESERVE_10 = 0x56
    RELEASE_10 = 0x57
    MODE_SENSE_10 = 0x5A
    PERSISTENT_RESERVE_IN = 0x5E
    PERSISTENT_RESERVE_OUT = 0x5F
    READ_16 = 0x88
    COMPARE_AND_WRITE = 0x89
    WRITE_16 = 0x8A
    ORWRITE_16 = 0x8B
    WRITE_AND_VERIFY_16 = 0x8E
    VERIFY_16 = 0x8F
    PRE_FETCH_16 = 0x90
    SYNCHRONIZE_CACHE_16 = 0x91
    WRITE_SAME_16 = 0x93
    SERVICE_ACTION_IN_16 = 0x9E
    REPORT_LUNS = 0xA0
    MAINTENANCE_IN = 0xA3
    READ_12 = 0xA8
    WRITE_12 = 0xAA
    WRITE_AND_VERIFY_12 = 0xAE
    VERIFY_12 = 0xAF


READ_CAPACITY_16, GET_LBA_STATUS = 0x10, 0x12
"""Service actions of SERVICE ACTION IN(16): SBC-4 5.21, 5.6."""

REPORT_OPCODES, REPORT_TASK_MANAGEMENT = 0x0C, 0x0D
"""Service actions of MAINTENANCE IN: REPORT SUPPORTED OPERATION CODES (SPC-4 6.35), REPORT
SUPPORTED TASK MANAGEMENT FUNCTIONS (6.36)."""

OVERWRITE, BLOCK_ERASE, EXIT_FAILURE_MODE = 0x01, 0x02, 0x1F
"""Service actions of SANITIZE: SBC-4 table 110."""


class Access(NamedTuple):
    """A READ or WRITE that can be carried out: ``length`` bytes of the medium at ``offset``."""

    direction: str
    lba: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        """First byte after the access."""
        return self.offset + self.length


_SIX = struct.Struct(">IB")


def _extent_6(cdb: Buffer) -> tuple[int, int, int]:
    word, blocks = _SIX.unpack_from(cdb)
    return 0, word & 0x1FFFFF, blocks or 256  # SBC-3, READ (6): 0 means 256 blocks


# Byte 1, LBA and number of blocks of a CDB of 10, 12 and 16 bytes (SBC-4 5.16 to 5.18).
_extent_10: Callable[[Buffer], tuple[int, int, int]] = struct.Struct(">xBIxH").unpack_from
_extent_12: Callable[[Buffer], tuple[int, int, int]] = struct.Struct(">xBII").unpack_from
_extent_16: Callable[[Buffer], tuple[int, int, int]] = struct.Struct(">xBQI").unpack_from
_extent_compare: Callable[[Buffer], tuple[int, int, int]] = struct.Struct(">xBQ3xB").unpack_from

_BLOCKS_AT = {0: 4, 1: 7, 2: 7, 4: 10, 5: 6}
"""Offset of the number of blocks in a CDB, by its group code (SPC-4 4.2.5.1)."""

TRANSFERS = {
    int(opcode): (extent, way) for opcode, extent, way in (
        (Opcode.READ_6, _extent_6, "read"),
        (Opcode.READ_10, _extent_10, "read"),
        (Opcode.READ_12, _extent_12, "read"),
        (Opcode.READ_16, _extent_16, "read"),
        (Opcode.WRITE_6, _extent_6, "write"),
        (Opcode.WRITE_10, _extent_10, "write"),
        (Opcode.WRITE_12, _extent_12, "write"),
        (Opcode.WRITE_16, _extent_16, "write"),
        (Opcode.WRITE_AND_VERIFY_10, _extent_10, "write"),
        (Opcode.WRITE_AND_VERIFY_12, _extent_12, "write"),
        (Opcode.WRITE_AND_VERIFY_16, _extent_16, "write"),
    )
}
"""READs and WRITEs: the function that decodes their blocks, and their data direction."""

EXTENTS = {opcode: extent for opcode, (extent, _) in TRANSFERS.items()} | {
    int(opcode): extent for opcode, extent in (
        (Opcode.VERIFY_10, _extent_10),
        (Opcode.VERIFY_12, _extent_12),
        (Opcode.VERIFY_16, _extent_16),
        (Opcode.PRE_FETCH_10, _extent_10),
        (Opcode.PRE_FETCH_16, _extent_16),
        (Opcode.SYNCHRONIZE_CACHE_10, _extent_10),
        (Opcode.SYNCHRONIZE_CACHE_16, _extent_16),
        (Opcode.WRITE_SAME_10, _extent_10),
        (Opcode.WRITE_SAME_16, _extent_16),
        (Opcode.COMPARE_AND_WRITE, _extent_compare),
        (Opcode.ORWRITE_16, _extent_16),
    )
}
"""The commands that address blocks, with the function that returns (byte 1, LBA, blocks)."""

_DIRECTIONS = {opcode: way for opcode, (_, way) in TRANSFERS.items()} | {
    int(opcode): way for opcode, way in (
        (Opcode.REQUEST_SENSE, "read"),
        (Opcode.INQUIRY, "read"),
        (Opcode.MODE_SELECT_6, "write"),
        (Opcode.MODE_SENSE_6, "read"),
        (Opcode.READ_CAPACITY_10, "read"),
        (Opcode.WRITE_SAME_10, "write"),
        (Opcode.UNMAP, "write"),
        (Opcode.SANITIZE, "write"),
        (Opcode.MODE_SELECT_10, "write"),
        (Opcode.MODE_SENSE_10, "read"),
        (Opcode.COMPARE_AND_WRITE, "write"),
        (Opcode.ORWRITE_16, "write"),
        (Opcode.WRITE_SAME_16, "write"),
        (Opcode.SERVICE_ACTION_IN_16, "read"),
        (Opcode.REPORT_LUNS, "read"),
        (Opcode.MAINTENANCE_IN, "read"),
    )
}

_VERIFIES = frozenset({int(Opcode.VERIFY_10), int(Opcode.VERIFY_12), int(Opcode.VERIFY_16)})

PROTECT = 0xE0
"""RDPROTECT, WRPROTECT or VRPROTECT in byte 1: invalid without protection information
(SBC-4 table 79, table 125, table 133)."""


def direction(cdb: Buffer) -> str:
    """Return a command's data direction: "write" (to the device), "read" or "none"."""
    opcode = cdb[0]
    if opcode in _VERIFIES:
        return "write" if cdb[1] >> 1 & 3 else "none"  # BYTCHK
    if opcode == Opcode.WRITE_SAME_16 and cdb[1] & 1:  # NDOB
        return "none"
    if opcode == Opcode.SANITIZE and cdb[1] & 0x1F != OVERWRITE:
        return "none"
    return _DIRECTIONS.get(opcode, "none")


def extent(cdb: Buffer) -> tuple[int | None, int]:
    """Return (LBA, blocks) of a command; (None, 0) when it addresses no blocks."""
    unpack = EXTENTS.get(cdb[0])
    if unpack is None:
        return None, 0
    _, lba, blocks = unpack(cdb)
    return lba, blocks


def blocks_at(opcode: int) -> int:
    """Return the offset of the number of blocks in a CDB."""
    return 13 if opcode == Opcode.COMPARE_AND_WRITE else _BLOCKS_AT[opcode >> 5]


def opcode_name(opcode: int) -> str:
    """Return the standard's name of an operation code, or its number in hex."""
    try:
        return Opcode(opcode).name
    except ValueError:
        return f"{opcode:#04x}"
