"""A direct-access block device (SBC-3) whose medium is memory: what a backend serves.

Runs in the guest; stdlib only. The medium is a shared mapping of a file, so what was written
outlives the backend; put the file in /dev/shm.

READ and WRITE are the hot path: ``decode`` says which bytes of ``data`` they mean, and the
backend moves those between ``data`` and the kernel's buffers itself, with one copy. Whatever
``decode`` has no answer for (other commands, and READs and WRITEs that must fail) goes to
``control``, which carries the command out whole::

    access = disk.decode(cdb)
    if access is None:
        answer = disk.control(cdb, data_out)
    elif access.direction == "write":
        disk.data[access.offset:access.end] = kernel_buffer
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple, Self

Buffer = bytes | bytearray | memoryview

GOOD, CHECK_CONDITION, BUSY, TASK_SET_FULL = 0x00, 0x02, 0x08, 0x28
"""Status codes: SAM-5 table 32."""


class Opcode(IntEnum):
    """Operation codes: SPC-4 table 142 and SBC-3 table 13, by their names there."""

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
    SYNCHRONIZE_CACHE_10 = 0x35
    WRITE_SAME_10 = 0x41
    UNMAP = 0x42
    MODE_SELECT_10 = 0x55
    RESERVE_10 = 0x56
    RELEASE_10 = 0x57
    MODE_SENSE_10 = 0x5A
    READ_16 = 0x88
    WRITE_16 = 0x8A
    WRITE_AND_VERIFY_16 = 0x8E
    VERIFY_16 = 0x8F
    SYNCHRONIZE_CACHE_16 = 0x91
    WRITE_SAME_16 = 0x93
    SERVICE_ACTION_IN_16 = 0x9E
    REPORT_LUNS = 0xA0
    READ_12 = 0xA8
    WRITE_12 = 0xAA
    WRITE_AND_VERIFY_12 = 0xAE
    VERIFY_12 = 0xAF


READ_CAPACITY_16 = 0x10
"""Service action of SERVICE ACTION IN(16): SBC-3 5.16."""

NO_SENSE, ILLEGAL_REQUEST, MISCOMPARE = 0x0, 0x5, 0xE
"""Sense keys: SPC-4 table 48."""

PARAMETER_LIST_LENGTH_ERROR = 0x1A00
MISCOMPARE_DURING_VERIFY = 0x1D00
INVALID_OPCODE = 0x2000
LBA_OUT_OF_RANGE = 0x2100
INVALID_FIELD_IN_CDB = 0x2400
INVALID_FIELD_IN_PARAMETER_LIST = 0x2600
SAVING_PARAMETERS_NOT_SUPPORTED = 0x3900
"""Additional sense codes, qualifier in the low byte: SPC-4 table 49."""

MAX_TRANSFER = 1 << 20
"""Bytes that one command may move (Block Limits page): little enough that a backend's buffers
hold many such commands."""

MAX_FILL = 0xFFFF
"""Blocks that one UNMAP or WRITE SAME may change: what WRITE SAME(10) can say."""

MAX_UNMAP_DESCRIPTORS = 16

REVISION = "0001"


class Access(NamedTuple):
    """A READ or WRITE that can be carried out: ``length`` bytes of the medium at ``offset``."""

    direction: str
    lba: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        """First byte after it."""
        return self.offset + self.length


class Answer(NamedTuple):
    """What became of a command: SCSI status, data for the initiator, sense data."""

    status: int
    data: bytes = b""
    sense: bytes = b""


class CheckConditionError(Exception):
    """The command ends with CHECK CONDITION. ``code``: ASC and ASCQ in one number."""

    def __init__(
        self, key: int, code: int, *, field: tuple[int, int] | None = None,
        information: int | None = None,
    ) -> None:
        super().__init__(f"{key:02x}/{code >> 8:02x}/{code & 0xFF:02x}")
        self.sense = fixed_sense(key, code, field=field, information=information)


def fixed_sense(
    key: int, code: int = 0, *, field: tuple[int, int] | None = None,
    information: int | None = None,
) -> bytes:
    """Return fixed format sense data (SPC-4 4.5.3), 18 bytes.

    ``field``: which byte was wrong, as (1 in the CDB or 0 in the parameters, offset).
    ``information``: value of the INFORMATION field.
    """
    valid = information is not None and information < 1 << 32
    specific = b"\0\0\0"
    if field is not None:  # SPC-4 4.5.2.4.2: SKSV, C/D, field pointer
        specific = struct.pack(">BH", 0x80 | field[0] << 6, field[1])
    return struct.pack(
        ">BxBIB4xHx3s", 0x70 | valid << 7, key, (information or 0) if valid else 0, 10, code,
        specific)


def _bad_cdb(byte: int) -> CheckConditionError:
    return CheckConditionError(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB, field=(1, byte))


def _bad_parameter(byte: int) -> CheckConditionError:
    return CheckConditionError(
        ILLEGAL_REQUEST, INVALID_FIELD_IN_PARAMETER_LIST, field=(0, byte))


_SIX = struct.Struct(">IB")


def _extent_6(cdb: Buffer) -> tuple[int, int, int]:
    word, blocks = _SIX.unpack_from(cdb)
    return 0, word & 0x1FFFFF, blocks or 256  # SBC-3 5.10: 0 means 256 blocks


# Byte 1, LBA and number of blocks of a CDB of 10, 12 and 16 bytes (SPC-4 4.2.5).
_extent_10: Callable[[Buffer], tuple[int, int, int]] = struct.Struct(">xBIxH").unpack_from
_extent_12: Callable[[Buffer], tuple[int, int, int]] = struct.Struct(">xBII").unpack_from
_extent_16: Callable[[Buffer], tuple[int, int, int]] = struct.Struct(">xBQI").unpack_from

_BLOCKS_AT = {0: 4, 1: 7, 2: 7, 4: 10, 5: 6}
"""Offset of the number of blocks in a CDB, by its group code (SPC-4 4.2.5.1)."""

_TRANSFERS = {
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

_EXTENTS = {opcode: extent for opcode, (extent, _) in _TRANSFERS.items()} | {
    int(opcode): extent for opcode, extent in (
        (Opcode.VERIFY_10, _extent_10),
        (Opcode.VERIFY_12, _extent_12),
        (Opcode.VERIFY_16, _extent_16),
        (Opcode.SYNCHRONIZE_CACHE_10, _extent_10),
        (Opcode.SYNCHRONIZE_CACHE_16, _extent_16),
        (Opcode.WRITE_SAME_10, _extent_10),
        (Opcode.WRITE_SAME_16, _extent_16),
    )
}

_DIRECTIONS = {opcode: way for opcode, (_, way) in _TRANSFERS.items()} | {
    int(opcode): way for opcode, way in (
        (Opcode.REQUEST_SENSE, "read"),
        (Opcode.INQUIRY, "read"),
        (Opcode.MODE_SELECT_6, "write"),
        (Opcode.MODE_SENSE_6, "read"),
        (Opcode.READ_CAPACITY_10, "read"),
        (Opcode.WRITE_SAME_10, "write"),
        (Opcode.UNMAP, "write"),
        (Opcode.MODE_SELECT_10, "write"),
        (Opcode.MODE_SENSE_10, "read"),
        (Opcode.WRITE_SAME_16, "write"),
        (Opcode.SERVICE_ACTION_IN_16, "read"),
        (Opcode.REPORT_LUNS, "read"),
    )
}

_VERIFIES = frozenset({int(Opcode.VERIFY_10), int(Opcode.VERIFY_12), int(Opcode.VERIFY_16)})

PROTECT = 0xE0
"""RDPROTECT, WRPROTECT or VRPROTECT in byte 1: invalid without protection (SBC-3 table 56)."""


def direction(cdb: Buffer) -> str:
    """Return which way a command's data goes: "write" (to the device), "read" or "none"."""
    opcode = cdb[0]
    if opcode in _VERIFIES:
        return "write" if cdb[1] >> 1 & 3 else "none"  # BYTCHK
    if opcode == Opcode.WRITE_SAME_16 and cdb[1] & 1:  # NDOB
        return "none"
    return _DIRECTIONS.get(opcode, "none")


def extent(cdb: Buffer) -> tuple[int | None, int]:
    """Return (LBA, blocks) that a command addresses; (None, 0) when it addresses none."""
    unpack = _EXTENTS.get(cdb[0])
    if unpack is None:
        return None, 0
    _, lba, blocks = unpack(cdb)
    return lba, blocks


def opcode_name(opcode: int) -> str:
    """Return the standard's name of an operation code, or its number in hex."""
    try:
        return Opcode(opcode).name
    except ValueError:
        return f"{opcode:#04x}"


class RamDisk:
    """A direct-access block device with thin provisioning and no volatile cache.

    ``path``: the file that keeps the medium; made when missing, kept when there. ``size`` and
    ``block_size`` in bytes. ``vendor`` (at most 8 characters), ``product`` (16) and ``serial``
    are what INQUIRY says. Raises ValueError when the size is not a whole number of blocks.
    """

    def __init__(
        self, path: str, size: int, block_size: int, *, vendor: str, product: str, serial: str
    ) -> None:
        if size <= 0 or size % block_size:
            raise ValueError(f"{size} bytes are no whole number of {block_size}-byte blocks")
        self.size = size
        self.block_size = block_size
        self.blocks = size // block_size
        self._max_blocks = MAX_TRANSFER // block_size
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, size)
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self.data = memoryview(self._map)
        self._standard = _standard_inquiry(vendor, product)
        self._vpd = _vital_product_data(self, vendor, product, serial)
        self._control: dict[int, Callable[[Buffer, Buffer], bytes]] = {
            Opcode.TEST_UNIT_READY: _nothing,
            Opcode.REQUEST_SENSE: _request_sense,
            Opcode.INQUIRY: self._inquiry,
            Opcode.MODE_SELECT_6: self._mode_select_6,
            Opcode.RESERVE_6: _nothing,
            Opcode.RELEASE_6: _nothing,
            Opcode.MODE_SENSE_6: self._mode_sense_6,
            Opcode.START_STOP_UNIT: _start_stop_unit,
            Opcode.READ_CAPACITY_10: self._read_capacity_10,
            Opcode.VERIFY_10: self._verify,
            Opcode.SYNCHRONIZE_CACHE_10: self._synchronize_cache,
            Opcode.WRITE_SAME_10: self._write_same,
            Opcode.UNMAP: self._unmap,
            Opcode.MODE_SELECT_10: self._mode_select_10,
            Opcode.RESERVE_10: _nothing,
            Opcode.RELEASE_10: _nothing,
            Opcode.MODE_SENSE_10: self._mode_sense_10,
            Opcode.VERIFY_16: self._verify,
            Opcode.SYNCHRONIZE_CACHE_16: self._synchronize_cache,
            Opcode.WRITE_SAME_16: self._write_same,
            Opcode.SERVICE_ACTION_IN_16: self._service_action_in_16,
            Opcode.REPORT_LUNS: _report_luns,
            Opcode.VERIFY_12: self._verify,
        } | dict.fromkeys(_TRANSFERS, self._transfer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the mapping back; the file stays. No view of ``data`` may be left."""
        self.data.release()
        self._map.close()

    def decode(self, cdb: Buffer) -> Access | None:
        """Return what a READ or WRITE means, or None: then it is for ``control``."""
        transfer = _TRANSFERS.get(cdb[0])
        if transfer is None:
            return None
        unpack, way = transfer
        flags, lba, blocks = unpack(cdb)
        if flags & PROTECT or blocks > self._max_blocks or lba + (blocks or 1) > self.blocks:
            return None
        return Access(way, lba, lba * self.block_size, blocks * self.block_size)

    def control(self, cdb: Buffer, data_out: Buffer = b"") -> Answer:
        """Carry a command out. ``data_out``: what the initiator sent along.

        The answer's data is cut to the command's allocation length.
        """
        try:
            run = self._control.get(cdb[0])
            if run is None:
                raise CheckConditionError(ILLEGAL_REQUEST, INVALID_OPCODE, field=(1, 0))
            return Answer(GOOD, run(cdb, data_out))
        except CheckConditionError as error:
            return Answer(CHECK_CONDITION, b"", error.sense)

    def _check_range(self, lba: int, blocks: int) -> None:
        if lba + (blocks or 1) > self.blocks:
            raise CheckConditionError(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE, information=lba)

    def _media(self, cdb: Buffer, limit: int) -> tuple[int, int, int]:
        """Return byte 1, LBA and blocks of a CDB whose range and protection are valid."""
        flags, lba, blocks = _EXTENTS[cdb[0]](cdb)
        if flags & PROTECT:
            raise _bad_cdb(1)
        if blocks > limit:
            raise _bad_cdb(_BLOCKS_AT[cdb[0] >> 5])
        self._check_range(lba, blocks)
        return flags, lba, blocks

    def _transfer(self, cdb: Buffer, data_out: Buffer) -> bytes:
        _, lba, blocks = self._media(cdb, self._max_blocks)
        view = self.data[lba * self.block_size:(lba + blocks) * self.block_size]
        if _DIRECTIONS[cdb[0]] == "read":
            return bytes(view)
        if len(data_out) < len(view):
            raise CheckConditionError(ILLEGAL_REQUEST, PARAMETER_LIST_LENGTH_ERROR)
        view[:] = memoryview(data_out)[:len(view)]
        return b""

    def _verify(self, cdb: Buffer, data_out: Buffer) -> bytes:
        bytchk = cdb[1] >> 1 & 3
        _, lba, blocks = self._media(cdb, self._max_blocks if bytchk == 1 else self.blocks)
        if bytchk == 2:
            raise _bad_cdb(1)
        if bytchk and blocks:
            self._compare(lba, blocks, data_out, once=bytchk == 3)
        return b""

    def _compare(self, lba: int, blocks: int, data_out: Buffer, *, once: bool) -> None:
        """Compare with what was sent; with ``once``, every block with the one that was sent."""
        size = self.block_size
        sent = memoryview(data_out)
        for index in range(blocks):
            mine = self.data[(lba + index) * size:(lba + index + 1) * size]
            start = 0 if once else index * size
            if mine != sent[start:start + size]:
                raise CheckConditionError(MISCOMPARE, MISCOMPARE_DURING_VERIFY)

    def _synchronize_cache(self, cdb: Buffer, _: Buffer) -> bytes:
        """Nothing is cached; only the range is checked (0 blocks: to the end)."""
        lba, blocks = _EXTENTS[cdb[0]](cdb)[1:]
        self._check_range(lba, blocks)
        return b""

    def _fill(self, lba: int, blocks: int, block: Buffer) -> None:
        at, end = lba * self.block_size, (lba + blocks) * self.block_size
        piece = bytes(block) * min(blocks, self._max_blocks)
        while at < end:
            length = min(len(piece), end - at)
            self.data[at:at + length] = piece[:length]
            at += length

    def _write_same(self, cdb: Buffer, data_out: Buffer) -> bytes:
        flags, lba, blocks = self._media(cdb, MAX_FILL)
        if flags & 0x10:  # ANCHOR, which the provisioning page says is not supported
            raise _bad_cdb(1)
        if not blocks:  # WSNZ: SBC-3 6.5.3
            raise _bad_cdb(_BLOCKS_AT[cdb[0] >> 5])
        if cdb[0] == Opcode.WRITE_SAME_16 and flags & 1:  # NDOB
            self._fill(lba, blocks, bytes(self.block_size))
            return b""
        if len(data_out) < self.block_size:
            raise CheckConditionError(ILLEGAL_REQUEST, PARAMETER_LIST_LENGTH_ERROR)
        # With UNMAP, blocks that are not all zero are written, not unmapped (SBC-3 4.7.3.4.4).
        self._fill(lba, blocks, memoryview(data_out)[:self.block_size])
        return b""

    def _unmap(self, cdb: Buffer, data_out: Buffer) -> bytes:
        if cdb[1] & 1:  # ANCHOR
            raise _bad_cdb(1)
        for lba, blocks in list(self._unmap_descriptors(cdb, data_out)):
            self._fill(lba, blocks, bytes(self.block_size))
        return b""

    def _unmap_descriptors(self, cdb: Buffer, data_out: Buffer) -> Iterator[tuple[int, int]]:
        """Yield (LBA, blocks) of a parameter list (SBC-3 5.28.2)."""
        listed, = struct.unpack_from(">H", cdb, 7)
        if not listed:
            return
        if listed < 8 or len(data_out) < 8:
            raise CheckConditionError(ILLEGAL_REQUEST, PARAMETER_LIST_LENGTH_ERROR)
        told, = struct.unpack_from(">H", data_out, 2)
        length = min(told, listed - 8, len(data_out) - 8) // 16 * 16
        if length > 16 * MAX_UNMAP_DESCRIPTORS:
            raise _bad_parameter(2)
        total = 0
        for at in range(8, 8 + length, 16):
            lba, blocks = struct.unpack_from(">QI", data_out, at)
            total += blocks
            if total > MAX_FILL:
                raise _bad_parameter(at + 8)
            self._check_range(lba, blocks)
            yield lba, blocks

    def _inquiry(self, cdb: Buffer, _: Buffer) -> bytes:
        evpd, page, allocation = struct.unpack_from(">xBBH", cdb)
        if evpd & 2 or (page and not evpd):  # CMDDT is obsolete
            raise _bad_cdb(1 if evpd & 2 else 2)
        if not evpd:
            return self._standard[:allocation]
        if page not in self._vpd:
            raise _bad_cdb(2)
        return self._vpd[page][:allocation]

    def _read_capacity_10(self, _: Buffer, __: Buffer) -> bytes:
        return struct.pack(">II", min(self.blocks - 1, 0xFFFFFFFF), self.block_size)

    def _service_action_in_16(self, cdb: Buffer, _: Buffer) -> bytes:
        if cdb[1] & 0x1F != READ_CAPACITY_16:
            raise _bad_cdb(1)
        allocation, = struct.unpack_from(">I", cdb, 10)
        # SBC-3 5.16.2: byte 14 has LBPME and LBPRZ.
        data = struct.pack(">QI2xB17x", self.blocks - 1, self.block_size, 0xC0)
        return data[:allocation]

    def _block_descriptor(self, cdb: Buffer, *, long: bool) -> bytes:
        if cdb[1] & 8:  # DBD
            return b""
        if long:  # SPC-4 5.6.2: as SBC-3 6.4.2.3 lays it out
            return struct.pack(">Q4xI", self.blocks, self.block_size)
        return struct.pack(">II", min(self.blocks, 0xFFFFFFFF), self.block_size)

    def _mode_sense_6(self, cdb: Buffer, _: Buffer) -> bytes:
        descriptor = self._block_descriptor(cdb, long=False)
        body = descriptor + _mode_pages(cdb)
        header = struct.pack(">BBBB", 3 + len(body), 0, DPOFUA, len(descriptor))
        return (header + body)[:cdb[4]]

    def _mode_sense_10(self, cdb: Buffer, _: Buffer) -> bytes:
        long = bool(cdb[1] & 0x10)  # LLBAA
        descriptor = self._block_descriptor(cdb, long=long)
        body = descriptor + _mode_pages(cdb)
        longlba = int(long and bool(descriptor))
        header = struct.pack(
            ">HBBBxH", 6 + len(body), 0, DPOFUA, longlba, len(descriptor))
        allocation, = struct.unpack_from(">H", cdb, 7)
        return (header + body)[:allocation]

    def _mode_select_6(self, cdb: Buffer, data_out: Buffer) -> bytes:
        return self._mode_select(cdb, data_out, cdb[4], 4, 3)

    def _mode_select_10(self, cdb: Buffer, data_out: Buffer) -> bytes:
        listed, = struct.unpack_from(">H", cdb, 7)
        return self._mode_select(cdb, data_out, listed, 8, 7)

    def _mode_select(
        self, cdb: Buffer, data_out: Buffer, listed: int, header: int, descriptor_at: int
    ) -> bytes:
        """Accept pages that say what is already so; nothing can be changed."""
        if cdb[1] & 0x11 != 0x10:  # SP without saved pages, or no PF
            raise _bad_cdb(1)
        data = bytes(data_out[:listed])
        if not data:
            return b""
        if len(data) < header:
            raise CheckConditionError(ILLEGAL_REQUEST, PARAMETER_LIST_LENGTH_ERROR)
        at = header + data[descriptor_at]
        while at < len(data):
            page = PAGES.get(data[at] & 0x3F)
            if page is None or data[at] & 0x40:
                raise _bad_parameter(at)
            if len(data) - at < len(page):
                raise CheckConditionError(ILLEGAL_REQUEST, PARAMETER_LIST_LENGTH_ERROR)
            if data[at + 1:at + len(page)] != page[1:]:
                raise _bad_parameter(at + 2)
            at += len(page)
        return b""


DPOFUA = 0x10
"""Device-specific parameter (SBC-3 table 172): DPO and FUA are heeded, not write protected."""

PAGES = {
    0x08: bytes([0x08, 0x12]) + bytes(18),  # SBC-3 6.4.5: WCE=0, nothing to lose
    # SPC-4 7.5.8: D_SENSE=0, QUEUE ALGORITHM MODIFIER=1 (held commands are overtaken), QERR=0
    0x0A: bytes([0x0A, 0x0A, 0x00, 0x10]) + bytes(8),
}
"""Mode pages by page code."""

ALL_PAGES, ALL_SUBPAGES = 0x3F, 0xFF
CHANGEABLE, SAVED = 1, 3
"""PC field: SPC-4 table 163."""


def _mode_pages(cdb: Buffer) -> bytes:
    """Return the pages that a MODE SENSE asks for."""
    control, code, subpage = cdb[2] >> 6, cdb[2] & 0x3F, cdb[3]
    if control == SAVED:
        raise CheckConditionError(ILLEGAL_REQUEST, SAVING_PARAMETERS_NOT_SUPPORTED)
    if subpage not in (0, ALL_SUBPAGES):
        raise _bad_cdb(3)
    if code != ALL_PAGES and code not in PAGES:
        raise _bad_cdb(2)
    pages = PAGES.values() if code == ALL_PAGES else [PAGES[code]]
    if control == CHANGEABLE:
        return b"".join(page[:2] + bytes(len(page) - 2) for page in pages)
    return b"".join(pages)


def _nothing(_: Buffer, __: Buffer) -> bytes:
    return b""


def _start_stop_unit(cdb: Buffer, _: Buffer) -> bytes:
    if cdb[4] >> 4 or cdb[4] & 2:  # power conditions, and LOEJ on what cannot be removed
        raise _bad_cdb(4)
    return b""


def _request_sense(cdb: Buffer, _: Buffer) -> bytes:
    if cdb[1] & 1:  # DESC
        raise _bad_cdb(1)
    return fixed_sense(NO_SENSE)[:cdb[4]]


def _report_luns(cdb: Buffer, _: Buffer) -> bytes:
    select, allocation = struct.unpack_from(">2xB3xI", cdb)
    if select > 2:
        raise _bad_cdb(2)
    luns = b"" if select == 1 else bytes(8)  # 1: well known logical units only
    return (struct.pack(">I4x", len(luns)) + luns)[:allocation]


def _text(value: str, length: int) -> bytes:
    return value.encode("ascii").ljust(length)[:length]


def _standard_inquiry(vendor: str, product: str) -> bytes:
    """Return standard INQUIRY data (SPC-4 6.6.2): SPC-4, HISUP, command queuing."""
    return struct.pack(
        ">BBBBBBBB8s16s4s22xHHH32x", 0, 0, 0x06, 0x12, 96 - 5, 0, 0, 0x02,
        _text(vendor, 8), _text(product, 16), _text(REVISION, 4),
        0x00A0,  # SAM-5
        0x0460,  # SPC-4
        0x04C0)  # SBC-3 (version descriptors: SPC-4 table 146)


def _vital_product_data(
    disk: RamDisk, vendor: str, product: str, serial: str
) -> dict[int, bytes]:
    """Return the VPD pages by page code (SPC-4 7.8, SBC-3 6.5)."""
    bodies = {
        0x80: serial.encode("ascii"),
        0x83: _identification(vendor, product, serial),
        0xB0: _block_limits(disk.block_size),
        0xB1: struct.pack(">H58x", 1),  # MEDIUM ROTATION RATE: non-rotating
        # LBPU, LBPWS, LBPWS10, LBPRZ; thin provisioned
        0xB2: struct.pack(">BBBx", 0, 0xE4, 2),
    }
    bodies[0x00] = bytes([0x00, *sorted(bodies)])
    return {
        page: struct.pack(">BBH", 0, page, len(body)) + body for page, body in bodies.items()}


def _identification(vendor: str, product: str, serial: str) -> bytes:
    """Return designators: T10 vendor ID based, and NAA locally assigned (SPC-4 7.8.6)."""
    unique = _text(vendor, 8) + _text(product, 16) + serial.encode("ascii")
    local = int.from_bytes(hashlib.blake2b(unique, digest_size=8).digest(), "big")
    naa = struct.pack(">Q", 3 << 60 | local & (1 << 60) - 1)
    return b"".join(
        struct.pack(">BBxB", code_set, kind, len(body)) + body
        for code_set, kind, body in ((2, 1, unique), (1, 3, naa)))


def _block_limits(block_size: int) -> bytes:
    """Return the Block Limits page's body (SBC-3 6.5.3): WSNZ, transfer, UNMAP, WRITE SAME."""
    return struct.pack(
        ">BBHIIIIIIIQ20x", 1, 0, 0, MAX_TRANSFER // block_size, 0, 0, MAX_FILL,
        MAX_UNMAP_DESCRIPTORS, 1, 0, MAX_FILL)
