# SPDX-License-Identifier: GPL-2.0-or-later
"""INQUIRY: standard data and vital product data (SPC-4 6.6 and 7.8, SBC-4 6.6)."""

from __future__ import annotations

import hashlib
import struct

from targets.backend.disk.cdb import Buffer
from targets.backend.disk.medium import PAGE
from targets.backend.disk.sense import bad_cdb

MAX_TRANSFER = 1 << 20
"""Bytes that one command may move (Block Limits page): few enough that a backend's buffers hold
many such commands."""

MAX_FILL = 0xFFFF
"""Blocks that one UNMAP or WRITE SAME may change: the maximum of WRITE SAME(10)'s CDB."""

MAX_COMPARE = 0xFF
"""Blocks that one COMPARE AND WRITE may change: the maximum of its CDB."""

MAX_UNMAP_DESCRIPTORS = 16

REVISION = "0001"


class Inquiry:
    """INQUIRY data of a disk. ``erases``: whether it supports SANITIZE's BLOCK ERASE."""

    def __init__(
        self, block_size: int, vendor: str, product: str, serial: str, *, erases: bool
    ) -> None:
        self._standard = _standard(vendor, product)
        bodies = {
            0x80: serial.encode("ascii"),
            0x83: _identification(vendor, product, serial),
            0xB0: _block_limits(block_size),
            # MEDIUM ROTATION RATE: non-rotating. WABEREQ: erased blocks can be read (6.5.2)
            0xB1: struct.pack(">HxB56x", 1, 0x40 if erases else 0),
            # LBPU, LBPWS, LBPWS10, LBPRZ; thin provisioned
            0xB2: struct.pack(">BBBx", 0, 0xE4, 2),
        }
        bodies[0x00] = bytes([0x00, *sorted(bodies)])
        self._vpd = {
            page: struct.pack(">BBH", 0, page, len(body)) + body
            for page, body in bodies.items()}

    def __call__(self, cdb: Buffer, _: Buffer) -> bytes:
        """Carry INQUIRY out."""
        evpd, page, allocation = struct.unpack_from(">xBBH", cdb)
        if evpd & 2 or (page and not evpd):  # CMDDT is obsolete
            raise bad_cdb(1 if evpd & 2 else 2)
        if not evpd:
            return self._standard[:allocation]
        if page not in self._vpd:
            raise bad_cdb(2)
        return self._vpd[page][:allocation]


def _text(value: str, length: int) -> bytes:
    return value.encode("ascii").ljust(length)[:length]


def _standard(vendor: str, product: str) -> bytes:
    """Return standard INQUIRY data (SPC-4 6.6.2): SPC-4, HISUP, command queuing."""
    return struct.pack(
        ">BBBBBBBB8s16s4s22xHHH32x", 0, 0, 0x06, 0x12, 96 - 5, 0, 0, 0x02,
        _text(vendor, 8), _text(product, 16), _text(REVISION, 4),
        0x00A0,  # SAM-5
        0x0460,  # SPC-4
        0x04C0)  # SBC-3 (version descriptors: SPC-4 table 179)


def _identification(vendor: str, product: str, serial: str) -> bytes:
    """Return designators: T10 vendor ID based, and NAA locally assigned (SPC-4 7.8.6)."""
    unique = _text(vendor, 8) + _text(product, 16) + serial.encode("ascii")
    local = int.from_bytes(hashlib.blake2b(unique, digest_size=8).digest(), "big")
    naa = struct.pack(">Q", 3 << 60 | local & (1 << 60) - 1)
    return b"".join(
        struct.pack(">BBxB", code_set, kind, len(body)) + body
        for code_set, kind, body in ((2, 1, unique), (1, 3, naa)))


def _block_limits(block_size: int) -> bytes:
    """Return the Block Limits page's body (SBC-4 6.6.4)."""
    return struct.pack(
        ">BBHIIIIIIIQ20x",
        1,  # WSNZ
        MAX_COMPARE, 0, MAX_TRANSFER // block_size, 0, 0, MAX_FILL, MAX_UNMAP_DESCRIPTORS,
        max(1, PAGE // block_size),  # OPTIMAL UNMAP GRANULARITY: less is only zeroed
        0, MAX_FILL)
