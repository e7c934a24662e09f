# SPDX-License-Identifier: GPL-2.0-or-later
"""The RAM disk: its commands, by operation code."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Self

from targets.backend.disk.cdb import (
    EXTENTS,
    GET_LBA_STATUS,
    PROTECT,
    READ_CAPACITY_16,
    TRANSFERS,
    Access,
    Buffer,
    Opcode,
    blocks_at,
)
from targets.backend.disk.inquiry import (
    MAX_COMPARE,
    MAX_FILL,
    MAX_TRANSFER,
    MAX_UNMAP_DESCRIPTORS,
    Inquiry,
)
from targets.backend.disk.medium import PAGE, Medium
from targets.backend.disk.modes import Modes
from targets.backend.disk.sanitize import sanitize
from targets.backend.disk.sense import (
    CHECK_CONDITION,
    GOOD,
    NO_SENSE,
    Answer,
    CheckConditionError,
    bad_cdb,
    bad_length,
    bad_opcode,
    bad_parameter,
    fixed_sense,
    miscompare,
    out_of_range,
)
from targets.backend.disk.supported import Supported

Command = Callable[[Buffer, Buffer], bytes]
"""Carries a command out: takes its CDB and its data-out, returns the data-in."""

MAX_STATUSES = 128
"""LBA status descriptors in one answer, at most."""

MAPPED, DEALLOCATED = 0, 1
"""PROVISIONING STATUS: SBC-4 table 53."""


class RamDisk:
    """A direct-access block device with thin provisioning and no volatile cache.

    ``path``: the file with the medium; made when missing, and kept otherwise. ``size`` and
    ``block_size`` in bytes. ``vendor`` (at most 8 characters), ``product`` (16) and ``serial``: for
    INQUIRY. ``without``: operation codes that the disk does not support, because the target does
    not pass them on. Raises ValueError when the size is not a whole number of blocks.
    """

    def __init__(
        self, path: str, size: int, block_size: int, *, vendor: str, product: str, serial: str,
        without: Collection[int] = (),
    ) -> None:
        if size <= 0 or size % block_size:
            raise ValueError(f"{size} bytes are no whole number of {block_size}-byte blocks")
        self.size = size
        self.block_size = block_size
        self.blocks = size // block_size
        self._max_blocks = MAX_TRANSFER // block_size
        self._medium = Medium(path, size)
        self.data = self._medium.data
        modes = Modes(self.blocks, block_size)
        commands: dict[int, Command] = {
            Opcode.TEST_UNIT_READY: _nothing,
            Opcode.REQUEST_SENSE: _request_sense,
            Opcode.INQUIRY: Inquiry(
                block_size, vendor, product, serial, erases=Opcode.SANITIZE not in without),
            Opcode.MODE_SELECT_6: modes.select_6,
            Opcode.RESERVE_6: _nothing,
            Opcode.RELEASE_6: _nothing,
            Opcode.MODE_SENSE_6: modes.sense_6,
            Opcode.START_STOP_UNIT: _start_stop_unit,
            Opcode.READ_CAPACITY_10: self._read_capacity_10,
            Opcode.VERIFY_10: self._verify,
            Opcode.PRE_FETCH_10: self._check_only,
            Opcode.SYNCHRONIZE_CACHE_10: self._check_only,
            Opcode.WRITE_SAME_10: self._write_same,
            Opcode.UNMAP: self._unmap,
            Opcode.SANITIZE: self._sanitize,
            Opcode.MODE_SELECT_10: modes.select_10,
            Opcode.RESERVE_10: _nothing,
            Opcode.RELEASE_10: _nothing,
            Opcode.MODE_SENSE_10: modes.sense_10,
            Opcode.COMPARE_AND_WRITE: self._compare_and_write,
            Opcode.ORWRITE_16: self._orwrite,
            Opcode.VERIFY_16: self._verify,
            Opcode.PRE_FETCH_16: self._check_only,
            Opcode.SYNCHRONIZE_CACHE_16: self._check_only,
            Opcode.WRITE_SAME_16: self._write_same,
            Opcode.SERVICE_ACTION_IN_16: self._service_action_in_16,
            Opcode.REPORT_LUNS: _report_luns,
            Opcode.MAINTENANCE_IN: Supported(without),
            Opcode.VERIFY_12: self._verify,
            **dict.fromkeys(TRANSFERS, self._transfer),
        }
        self._commands = {
            opcode: run for opcode, run in commands.items() if opcode not in without}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the mapping; the file stays. No view of ``data`` may be left."""
        self._medium.close()

    def decode(self, cdb: Buffer) -> Access | None:
        """Return the access of a READ or WRITE; None for commands that need ``control``."""
        transfer = TRANSFERS.get(cdb[0])
        if transfer is None:
            return None
        unpack, way = transfer
        flags, lba, blocks = unpack(cdb)
        if flags & PROTECT or blocks > self._max_blocks or lba + (blocks or 1) > self.blocks:
            return None
        return Access(way, lba, lba * self.block_size, blocks * self.block_size)

    def control(self, cdb: Buffer, data_out: Buffer = b"") -> Answer:
        """Carry a command out. ``data_out``: the initiator's data.

        The answer's data is cut to the command's allocation length.
        """
        try:
            run = self._commands.get(cdb[0])
            if run is None:
                raise bad_opcode()
            return Answer(GOOD, run(cdb, data_out))
        except CheckConditionError as error:
            return Answer(CHECK_CONDITION, b"", error.sense)

    def _check_range(self, lba: int, blocks: int) -> None:
        if lba + (blocks or 1) > self.blocks:
            raise out_of_range(lba)

    def _media(self, cdb: Buffer, limit: int) -> tuple[int, int, int]:
        """Return byte 1, LBA and blocks of a CDB whose range and protection are valid."""
        flags, lba, blocks = EXTENTS[cdb[0]](cdb)
        if flags & PROTECT:
            raise bad_cdb(1)
        if blocks > limit:
            raise bad_cdb(blocks_at(cdb[0]))
        self._check_range(lba, blocks)
        return flags, lba, blocks

    def _view(self, lba: int, blocks: int) -> memoryview:
        return self.data[lba * self.block_size:(lba + blocks) * self.block_size]

    def _transfer(self, cdb: Buffer, data_out: Buffer) -> bytes:
        _, lba, blocks = self._media(cdb, self._max_blocks)
        view = self._view(lba, blocks)
        if TRANSFERS[cdb[0]][1] == "read":
            return bytes(view)
        view[:] = _exactly(data_out, len(view))
        return b""

    def _check_only(self, cdb: Buffer, _: Buffer) -> bytes:
        """Carry SYNCHRONIZE CACHE and PRE-FETCH out: there is no cache; 0 blocks go to the end.

        Without room for the blocks in a cache PRE-FETCH ends with GOOD (SBC-4 5.13).
        """
        lba, blocks = EXTENTS[cdb[0]](cdb)[1:]
        self._check_range(lba, blocks)
        return b""

    # comparing and combining

    def _verify(self, cdb: Buffer, data_out: Buffer) -> bytes:
        bytchk = cdb[1] >> 1 & 3
        _, lba, blocks = self._media(cdb, self._max_blocks if bytchk == 1 else self.blocks)
        if bytchk == 2:
            raise bad_cdb(1)
        if bytchk and blocks:
            self._compare(lba, blocks, data_out, once=bytchk == 3)
        return b""

    def _compare(self, lba: int, blocks: int, data_out: Buffer, *, once: bool) -> None:
        """Compare blocks with the data sent; with ``once``, each block with one block sent."""
        sent = bytes(data_out)
        step = 1 if once else blocks
        for at in range(lba, lba + blocks, step):
            mine = bytes(self._view(at, step))
            if mine != sent[:len(mine)]:
                raise miscompare(_first_difference(mine, sent))

    def _compare_and_write(self, cdb: Buffer, data_out: Buffer) -> bytes:
        """Carry COMPARE AND WRITE out (SBC-4 5.3).

        It needs no lock: a backend that gets this command serves the disk with one thread. SCST's
        core, whose backends may have several, carries it out itself (scst_cmp_wr_local,
        scst_lib.c).
        """
        _, lba, blocks = self._media(cdb, MAX_COMPARE)
        length = blocks * self.block_size
        sent = _exactly(data_out, 2 * length)
        if blocks:
            self._compare(lba, blocks, sent[:length], once=False)
        self._view(lba, blocks)[:] = sent[length:]
        return b""

    def _orwrite(self, cdb: Buffer, data_out: Buffer) -> bytes:
        """Write the bitwise OR of the data sent and the blocks (SBC-4 5.10)."""
        _, lba, blocks = self._media(cdb, self._max_blocks)
        view = self._view(lba, blocks)
        sent = _exactly(data_out, len(view))
        both = int.from_bytes(sent, "big") | int.from_bytes(view, "big")
        view[:] = both.to_bytes(len(view), "big")
        return b""

    # provisioning

    def _deallocate(self, lba: int, blocks: int) -> None:
        self._medium.deallocate(lba * self.block_size, (lba + blocks) * self.block_size)

    def _write_same(self, cdb: Buffer, data_out: Buffer) -> bytes:
        flags, lba, blocks = self._media(cdb, MAX_FILL)
        if flags & 0x10:  # ANCHOR, not supported by the provisioning page
            raise bad_cdb(1)
        if not blocks:  # WSNZ: SBC-4 6.6.4
            raise bad_cdb(blocks_at(cdb[0]))
        no_data = cdb[0] == Opcode.WRITE_SAME_16 and flags & 1  # NDOB
        block = bytes(self.block_size if no_data else _exactly(data_out, self.block_size))
        # With UNMAP, blocks that are not all zero are written, not unmapped (SBC-4 4.7.3.4.4).
        if flags & 8 and not any(block):
            self._deallocate(lba, blocks)
        else:
            self._medium.fill(lba * self.block_size, (lba + blocks) * self.block_size, block)
        return b""

    def _unmap(self, cdb: Buffer, data_out: Buffer) -> bytes:
        if cdb[1] & 1:  # ANCHOR
            raise bad_cdb(1)
        for lba, blocks in list(self._unmap_descriptors(cdb, data_out)):
            self._deallocate(lba, blocks)
        return b""

    def _unmap_descriptors(self, cdb: Buffer, data_out: Buffer) -> Iterator[tuple[int, int]]:
        """Yield (LBA, blocks) of a parameter list (SBC-4 5.35)."""
        listed, = struct.unpack_from(">H", cdb, 7)
        if not listed:
            return
        if listed < 8 or len(data_out) < 8:
            raise bad_length()
        stated, = struct.unpack_from(">H", data_out, 2)
        length = min(stated, listed - 8, len(data_out) - 8) // 16 * 16
        if length > 16 * MAX_UNMAP_DESCRIPTORS:
            raise bad_parameter(2)
        total = 0
        for at in range(8, 8 + length, 16):
            lba, blocks = struct.unpack_from(">QI", data_out, at)
            total += blocks
            if total > MAX_FILL:
                raise bad_parameter(at + 8)
            if lba + blocks > self.blocks:
                raise out_of_range(lba)
            yield lba, blocks

    def _get_lba_status(self, cdb: Buffer, allocation: int) -> bytes:
        """Return as many descriptors as there is room for, one at least (SBC-4 5.6)."""
        lba, = struct.unpack_from(">Q", cdb, 2)
        self._check_range(lba, 1)
        room = min(max(1, (allocation - 8) // 16), MAX_STATUSES)
        statuses = islice(self._lba_statuses(lba), room)
        body = b"".join(struct.pack(">QIB3x", *status) for status in statuses)
        return (struct.pack(">I4x", 4 + len(body)) + body)[:allocation]

    def _lba_statuses(self, lba: int) -> Iterator[tuple[int, int, int]]:
        """Yield (LBA, blocks, provisioning status). A block with an allocated page is mapped."""
        size = self.block_size
        for end, allocated in self._medium.allocation(lba * size):
            last = -(-end // size) if allocated else end // size
            if last > lba:
                blocks = min(last - lba, 0xFFFFFFFF)
                yield lba, blocks, MAPPED if allocated else DEALLOCATED
                lba = last

    def _sanitize(self, cdb: Buffer, data_out: Buffer) -> bytes:
        return sanitize(self._medium, self.block_size, cdb, data_out)

    # capacity

    def _read_capacity_10(self, _: Buffer, __: Buffer) -> bytes:
        return struct.pack(">II", min(self.blocks - 1, 0xFFFFFFFF), self.block_size)

    def _service_action_in_16(self, cdb: Buffer, _: Buffer) -> bytes:
        action, (allocation,) = cdb[1] & 0x1F, struct.unpack_from(">I", cdb, 10)
        if action == READ_CAPACITY_16:
            return self._read_capacity_16()[:allocation]
        if action == GET_LBA_STATUS:
            return self._get_lba_status(cdb, allocation)
        raise bad_cdb(1)

    def _read_capacity_16(self) -> bytes:
        """Return READ CAPACITY(16) data (SBC-4 5.21.2): a physical block is a page.

        Byte 14 has LBPME and LBPRZ.
        """
        exponent = max(1, PAGE // self.block_size).bit_length() - 1
        return struct.pack(">QIxBB17x", self.blocks - 1, self.block_size, exponent, 0xC0)


def _exactly(data_out: Buffer, length: int) -> memoryview:
    """Return the first ``length`` bytes of the data sent.

    Raises CheckConditionError when there are fewer.
    """
    if len(data_out) < length:
        raise bad_length()
    return memoryview(data_out)[:length]


def _first_difference(mine: bytes, sent: bytes) -> int:
    pairs = enumerate(zip(mine, sent, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(mine), len(sent)))


def _nothing(_: Buffer, __: Buffer) -> bytes:
    return b""


def _start_stop_unit(cdb: Buffer, _: Buffer) -> bytes:
    if cdb[4] >> 4 or cdb[4] & 2:  # power conditions, and LOEJ on a medium that is not removable
        raise bad_cdb(4)
    return b""


def _request_sense(cdb: Buffer, _: Buffer) -> bytes:
    if cdb[1] & 1:  # DESC
        raise bad_cdb(1)
    return fixed_sense(NO_SENSE)[:cdb[4]]


def _report_luns(cdb: Buffer, _: Buffer) -> bytes:
    select, allocation = struct.unpack_from(">2xB3xI", cdb)
    if select > 2:
        raise bad_cdb(2)
    luns = b"" if select == 1 else bytes(8)  # 1: well known logical units only
    return (struct.pack(">I4x", len(luns)) + luns)[:allocation]
