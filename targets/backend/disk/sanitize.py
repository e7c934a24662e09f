# SPDX-License-Identifier: GPL-2.0-or-later
"""SANITIZE (SBC-4 5.30): overwrites or erases the whole medium, at once."""

from __future__ import annotations

import struct

from targets.backend.disk.cdb import BLOCK_ERASE, EXIT_FAILURE_MODE, OVERWRITE, Buffer
from targets.backend.disk.medium import Medium
from targets.backend.disk.sense import bad_cdb, bad_length, bad_parameter

HEADER = struct.Struct(">BxH")
"""INVERT, TEST and OVERWRITE COUNT; initialization pattern length (SBC-4 5.30.2.2)."""


def sanitize(medium: Medium, block_size: int, cdb: Buffer, data_out: Buffer) -> bytes:
    """Carry a SANITIZE out; it never fails, so EXIT FAILURE MODE has no effect."""
    action = cdb[1] & 0x1F
    listed, = struct.unpack_from(">H", cdb, 7)
    if action == OVERWRITE:
        if not HEADER.size < listed <= HEADER.size + block_size:
            raise bad_cdb(7)
        medium.fill(0, medium.size, _pattern(block_size, bytes(data_out[:listed])))
    elif action not in (BLOCK_ERASE, EXIT_FAILURE_MODE):
        raise bad_cdb(1)
    elif listed:
        raise bad_cdb(7)
    elif action == BLOCK_ERASE:
        medium.deallocate(0, medium.size)
    return b""


def _pattern(block_size: int, parameters: bytes) -> bytes:
    """Return the contents of every block after the last pass of an overwrite."""
    if len(parameters) < HEADER.size:
        raise bad_length()
    flags: int
    length: int
    flags, length = HEADER.unpack_from(parameters)
    passes = flags & 0x1F
    if not passes:
        raise bad_parameter(0)
    if not 0 < length <= block_size:
        raise bad_parameter(2)
    if len(parameters) < HEADER.size + length:
        raise bad_length()
    pattern = parameters[HEADER.size:HEADER.size + length]
    if flags & 0x80 and not passes % 2:  # INVERT: every second pass
        pattern = bytes(0xFF ^ byte for byte in pattern)
    return (pattern * -(-block_size // length))[:block_size]
