# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode parameters: MODE SENSE and MODE SELECT (SPC-4 6.11 to 6.14 and 7.5, SBC-4 6.5)."""

from __future__ import annotations

import struct

from targets.backend.disk.cdb import Buffer
from targets.backend.disk.sense import (
    ILLEGAL_REQUEST,
    SAVING_PARAMETERS_NOT_SUPPORTED,
    CheckConditionError,
    bad_cdb,
    bad_length,
    bad_parameter,
)

DPOFUA = 0x10
"""Device-specific parameter (SBC-4 table 230): DPO and FUA are supported, not write protected."""

PAGES = {
    0x08: bytes([0x08, 0x12]) + bytes(18),  # SBC-4 6.5.6: WCE=0, no volatile cache
    # SPC-4 7.5.8: D_SENSE=0, QUEUE ALGORITHM MODIFIER=1 (other commands overtake held ones), QERR=0
    0x0A: bytes([0x0A, 0x0A, 0x00, 0x10]) + bytes(8),
}
"""Mode pages by page code."""

ALL_PAGES, ALL_SUBPAGES = 0x3F, 0xFF
CHANGEABLE, SAVED = 1, 3
"""PC field: SPC-4 table 197."""


class Modes:
    """The mode parameters of a disk of ``blocks`` blocks; none of them can be changed."""

    def __init__(self, blocks: int, block_size: int) -> None:
        self._blocks = blocks
        self._block_size = block_size

    def _block_descriptor(self, cdb: Buffer, *, long: bool) -> bytes:
        if cdb[1] & 8:  # DBD
            return b""
        if long:  # long LBA mode parameter block descriptor: SBC-4 6.5.2
            return struct.pack(">Q4xI", self._blocks, self._block_size)
        return struct.pack(">II", min(self._blocks, 0xFFFFFFFF), self._block_size)

    def sense_6(self, cdb: Buffer, _: Buffer) -> bytes:
        """Carry MODE SENSE(6) out."""
        descriptor = self._block_descriptor(cdb, long=False)
        body = descriptor + _pages(cdb)
        header = struct.pack(">BBBB", 3 + len(body), 0, DPOFUA, len(descriptor))
        return (header + body)[:cdb[4]]

    def sense_10(self, cdb: Buffer, _: Buffer) -> bytes:
        """Carry MODE SENSE(10) out."""
        long = bool(cdb[1] & 0x10)  # LLBAA
        descriptor = self._block_descriptor(cdb, long=long)
        body = descriptor + _pages(cdb)
        longlba = int(long and bool(descriptor))
        header = struct.pack(
            ">HBBBxH", 6 + len(body), 0, DPOFUA, longlba, len(descriptor))
        allocation, = struct.unpack_from(">H", cdb, 7)
        return (header + body)[:allocation]

    def select_6(self, cdb: Buffer, data_out: Buffer) -> bytes:
        """Carry MODE SELECT(6) out."""
        return self._select(cdb, data_out, cdb[4], 4, 3)

    def select_10(self, cdb: Buffer, data_out: Buffer) -> bytes:
        """Carry MODE SELECT(10) out."""
        listed, = struct.unpack_from(">H", cdb, 7)
        return self._select(cdb, data_out, listed, 8, 7)

    def _select(
        self, cdb: Buffer, data_out: Buffer, listed: int, header: int, descriptor_at: int
    ) -> bytes:
        """Accept pages that contain the current values."""
        if cdb[1] & 0x11 != 0x10:  # SP without saved pages, or no PF
            raise bad_cdb(1)
        data = bytes(data_out[:listed])
        if not data:
            return b""
        if len(data) < header:
            raise bad_length()
        at = header + data[descriptor_at]
        while at < len(data):
            at += _same_page(data, at)
        return b""


def _same_page(data: bytes, at: int) -> int:
    """Return the length of the page at ``at``.

    Raises CheckConditionError when its values are new.
    """
    page = PAGES.get(data[at] & 0x3F)
    if page is None or data[at] & 0x40:
        raise bad_parameter(at)
    if len(data) - at < len(page):
        raise bad_length()
    if data[at + 1:at + len(page)] != page[1:]:
        raise bad_parameter(at + 2)
    return len(page)


def _pages(cdb: Buffer) -> bytes:
    """Return the pages that a MODE SENSE requests."""
    control, code, subpage = cdb[2] >> 6, cdb[2] & 0x3F, cdb[3]
    if control == SAVED:
        raise CheckConditionError(ILLEGAL_REQUEST, SAVING_PARAMETERS_NOT_SUPPORTED)
    if subpage not in (0, ALL_SUBPAGES):
        raise bad_cdb(3)
    if code != ALL_PAGES and code not in PAGES:
        raise bad_cdb(2)
    pages = PAGES.values() if code == ALL_PAGES else [PAGES[code]]
    if control == CHANGEABLE:
        return b"".join(page[:2] + bytes(len(page) - 2) for page in pages)
    return b"".join(pages)
