# SPDX-License-Identifier: GPL-2.0-or-later
"""The RAM disk that backends serve, command by command."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.backend.disk import (
    CHECK_CONDITION,
    GOOD,
    MAX_FILL,
    MAX_TRANSFER,
    Answer,
    Opcode,
    RamDisk,
    direction,
    extent,
    opcode_name,
)
from targets.backend.disk.medium import PAGE
from targets.backend.disk.supported import USAGE, service_action

BLOCK = 512
BLOCKS = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[RamDisk]:
    """Provide a disk of 2 MiB."""
    with RamDisk(str(tmp_path / "medium"), BLOCKS * BLOCK, BLOCK,
                 vendor="STF", product="RAM disk", serial="one") as made:
        yield made


def cdb6(opcode: int, lba: int, blocks: int) -> bytes:
    """Return a 6-byte CDB, padded to 16 bytes as kernels do."""
    return (struct.pack(">IBx", opcode << 24 | lba, blocks & 0xFF)).ljust(16, b"\0")


def cdb10(opcode: int, lba: int = 0, blocks: int = 0, flags: int = 0) -> bytes:
    """Return a 10-byte CDB."""
    return struct.pack(">BBIxHx", opcode, flags, lba, blocks).ljust(16, b"\0")


def cdb12(opcode: int, lba: int, blocks: int) -> bytes:
    """Return a 12-byte CDB."""
    return struct.pack(">BxII2x", opcode, lba, blocks).ljust(16, b"\0")


def cdb16(opcode: int, lba: int = 0, blocks: int = 0, flags: int = 0) -> bytes:
    """Return a 16-byte CDB."""
    return struct.pack(">BBQI2x", opcode, flags, lba, blocks)


def inquiry(page: int | None = None, allocation: int = 255) -> bytes:
    """Return an INQUIRY for a VPD page, or for standard data."""
    return struct.pack(">BBBHx", 0x12, page is not None, page or 0, allocation).ljust(16, b"\0")


def refused(answer: Answer) -> tuple[int, int, int]:
    """Return (sense key, ASC, ASCQ) of a command that ended with CHECK CONDITION."""
    assert answer.status == CHECK_CONDITION
    assert not answer.data
    assert answer.sense[0] & 0x7F == 0x70
    assert answer.sense[7] == len(answer.sense) - 8
    return answer.sense[2] & 0xF, answer.sense[12], answer.sense[13]


def accepted(answer: Answer) -> bytes:
    """Return the data of a command that ended with GOOD."""
    assert answer.status == GOOD, answer.sense.hex()
    return answer.data


BAD_OPCODE, BAD_LBA, BAD_CDB = (5, 0x20, 0), (5, 0x21, 0), (5, 0x24, 0)


@pytest.mark.parametrize(("cdb", "way", "lba", "blocks"), [
    (cdb6(0x08, 0x0ABC, 8), "read", 0x0ABC, 8),
    (cdb6(0x0A, 0, 0), "write", 0, 256),
    (cdb10(0x28, 1, 2), "read", 1, 2),
    (cdb10(0x2A, BLOCKS - 1, 1), "write", BLOCKS - 1, 1),
    (cdb10(0x2A, 5, 0), "write", 5, 0),
    (cdb10(0x2A, 5, 1, flags=0x18), "write", 5, 1),
    (cdb12(0xA8, 7, 9), "read", 7, 9),
    (cdb12(0xAA, 7, 9), "write", 7, 9),
    (cdb16(0x88, 7, MAX_TRANSFER // BLOCK), "read", 7, MAX_TRANSFER // BLOCK),
    (cdb16(0x8A, 7, 9), "write", 7, 9),
    (cdb10(0x2E, 7, 9), "write", 7, 9),
])
def test_reads_and_writes_are_decoded(
    disk: RamDisk, cdb: bytes, way: str, lba: int, blocks: int
) -> None:
    access = disk.decode(cdb)
    assert access is not None
    assert (access.direction, access.lba) == (way, lba)
    assert (access.offset, access.length) == (lba * BLOCK, blocks * BLOCK)
    assert access.end == access.offset + access.length
    assert direction(cdb) == way


@pytest.mark.parametrize(("cdb", "sense"), [
    (cdb10(0x28, BLOCKS, 1), BAD_LBA),
    (cdb10(0x28, BLOCKS, 0), BAD_LBA),
    (cdb10(0x2A, BLOCKS - 1, 2), BAD_LBA),
    (cdb16(0x8A, (1 << 64) - 1, 1), BAD_LBA),
    (cdb16(0x88, 0, MAX_TRANSFER // BLOCK + 1), BAD_CDB),
    (cdb10(0x28, 0, 1, flags=0x20), BAD_CDB),
    (cdb10(0x35, BLOCKS, 1), BAD_LBA),
    (cdb16(0x91, 0, BLOCKS + 1), BAD_LBA),
    (cdb10(0x2F, BLOCKS, 1), BAD_LBA),
    (cdb10(0x2F, 0, 1, flags=4), BAD_CDB),
    (cdb10(0x41, 0, 0), BAD_CDB),
    (cdb16(0x93, 0, MAX_FILL + 1), BAD_CDB),
    (cdb10(0x41, 0, 1, flags=0x10), BAD_CDB),
    (inquiry(0xB3), BAD_CDB),
    (bytes.fromhex("120080ff0000"), BAD_CDB),
    (bytes.fromhex("a3 0a 00 00 0000 000000ff 00 00"), BAD_CDB),
    (bytes.fromhex("a3 0c 04 00 0000 000000ff 00 00"), BAD_CDB),
    (bytes.fromhex("a3 0c 01 a3 000c 000000ff 00 00"), BAD_CDB),
    (bytes.fromhex("a3 0c 02 28 0000 000000ff 00 00"), BAD_CDB),
    (bytes.fromhex("7f").ljust(32, b"\0"), BAD_OPCODE),
    (bytes.fromhex("5e00 000000 0000ff00"), BAD_OPCODE),
    (bytes.fromhex("9e11 0000000000000000 000000ff 0000"), BAD_CDB),
    (bytes.fromhex("9e12 0000000000001000 000000ff 0000"), BAD_LBA),
    (cdb10(0x34, BLOCKS, 1), BAD_LBA),
    (cdb16(0x90, 0, BLOCKS + 1), BAD_LBA),
    (cdb16(0x8B, BLOCKS, 1), BAD_LBA),
    (cdb16(0x8B, 0, 1, flags=0x20), BAD_CDB),
    (cdb16(0x8B, 0, 2), (5, 0x1A, 0)),
    (cdb16(0x89, BLOCKS, 1), BAD_LBA),
    (cdb16(0x89, 0, 1, flags=0x20), BAD_CDB),
    (cdb16(0x89, 0, 1), (5, 0x1A, 0)),
    (bytes.fromhex("4803 00000000 0000 00 00"), BAD_CDB),
    (bytes.fromhex("4802 00000000 0000 04 00"), BAD_CDB),
    (bytes.fromhex("4801 00000000 0000 04 00"), BAD_CDB),
    (bytes.fromhex("4801 00000000 0002 05 00"), BAD_CDB),
    (bytes.fromhex("0301 0000 fc00"), BAD_CDB),
    (bytes.fromhex("1a00 0500 ff00"), BAD_CDB),
    (bytes.fromhex("1a00 c800 ff00"), (5, 0x39, 0)),
    (bytes.fromhex("a000 0300 0000 000000ff 0000"), BAD_CDB),
])
def test_what_cannot_be_is_refused(disk: RamDisk, cdb: bytes, sense: tuple[int, int, int]) -> None:
    assert disk.decode(cdb) is None
    assert refused(disk.control(cdb, bytes(BLOCK))) == sense


def test_invalid_field_points_at_it(disk: RamDisk) -> None:
    sense = disk.control(inquiry(0xB3)).sense
    assert sense[15] == 0xC0
    assert sense[16:18] == b"\0\2"


def test_lba_out_of_range_says_which(disk: RamDisk) -> None:
    sense = disk.control(cdb10(0x28, BLOCKS + 3, 1)).sense
    assert sense[0] == 0xF0
    assert struct.unpack_from(">I", sense, 3) == (BLOCKS + 3,)


def test_standard_inquiry(disk: RamDisk) -> None:
    data = accepted(disk.control(inquiry()))
    assert data[0] == 0
    assert data[4] == len(data) - 5
    assert data[8:16] == b"STF     "
    assert data[16:32] == b"RAM disk".ljust(16)
    assert accepted(disk.control(inquiry(allocation=36))) == data[:36]


def test_vital_product_data(disk: RamDisk) -> None:
    pages = {page: accepted(disk.control(inquiry(page))) for page in (0, 0x80, 0x83, 0xB0, 0xB1)}
    for page, data in pages.items():
        assert data[1] == page
        assert struct.unpack_from(">H", data, 2) == (len(data) - 4,)
    assert pages[0][4:] == bytes([0, 0x80, 0x83, 0xB0, 0xB1, 0xB2])
    assert pages[0x80][4:] == b"one"
    assert len(pages[0xB0]) == len(pages[0xB1]) == 64


def test_identification_depends_on_the_serial_alone(disk: RamDisk, tmp_path: Path) -> None:
    def identity(serial: str) -> bytes:
        with RamDisk(str(tmp_path / serial), BLOCK, BLOCK, vendor="STF", product="RAM disk",
                     serial=serial) as other:
            return accepted(other.control(inquiry(0x83)))

    assert identity("one") == accepted(disk.control(inquiry(0x83)))
    assert identity("two") != identity("one")


def test_block_limits(disk: RamDisk) -> None:
    data = accepted(disk.control(inquiry(0xB0)))
    assert data[4] & 1  # WSNZ
    assert struct.unpack_from(">I", data, 8) == (MAX_TRANSFER // BLOCK,)
    assert struct.unpack_from(">I", data, 20) == (MAX_FILL,)
    assert struct.unpack_from(">I", data, 28) == (PAGE // BLOCK,)
    assert struct.unpack_from(">Q", data, 36) == (MAX_FILL,)
    assert data[5] == 0xFF  # MAXIMUM COMPARE AND WRITE LENGTH, in blocks


def test_logical_block_provisioning(disk: RamDisk) -> None:
    data = accepted(disk.control(inquiry(0xB2)))
    assert data[5] & 0xE0 == 0xE0  # LBPU, LBPWS, LBPWS10
    assert data[6] & 7 == 2


def test_capacity(disk: RamDisk) -> None:
    assert struct.unpack(">II", accepted(disk.control(cdb10(0x25)))) == (BLOCKS - 1, BLOCK)
    long = bytes.fromhex("9e10 0000000000000000 00000020 0000")
    data = accepted(disk.control(long))
    assert len(data) == 32
    assert struct.unpack_from(">QI", data) == (BLOCKS - 1, BLOCK)
    assert BLOCK << (data[13] & 0xF) == PAGE  # physical block size
    assert data[14] & 0xC0 == 0xC0  # LBPME, LBPRZ


@pytest.mark.parametrize("cdb", [
    bytes(6), bytes.fromhex("1b0000000100"), bytes.fromhex("160000000000"),
    bytes.fromhex("57000000000000000000"), cdb10(0x35), cdb16(0x91, 1, 2),
])
def test_commands_without_data(disk: RamDisk, cdb: bytes) -> None:
    assert accepted(disk.control(cdb)) == b""
    assert direction(cdb) == "none"


def test_report_luns_and_request_sense(disk: RamDisk) -> None:
    luns = accepted(disk.control(bytes.fromhex("a000 0000 0000 000000ff 0000")))
    assert luns == struct.pack(">I4xQ", 8, 0)
    sense = accepted(disk.control(bytes.fromhex("03000000fc00")))
    assert sense[0] == 0x70
    assert not sense[2]


def test_caching_page_says_there_is_no_volatile_cache(disk: RamDisk) -> None:
    data = accepted(disk.control(bytes.fromhex("1a080800ff00")))
    assert data[0] == len(data) - 1
    assert data[3] == 0
    assert data[4:6] == b"\x08\x12"
    assert not data[6] & 4  # WCE


def test_all_mode_pages_with_block_descriptors(disk: RamDisk) -> None:
    short = accepted(disk.control(bytes.fromhex("1a003f00ff00")))
    assert short[3] == 8
    assert struct.unpack_from(">II", short, 4) == (BLOCKS, BLOCK)
    assert [short[12], short[32]] == [0x08, 0x0A]
    assert accepted(disk.control(bytes.fromhex("1a003f000500"))) == short[:5]
    long = accepted(disk.control(bytes.fromhex("5a103f0000000000ff00")))
    assert struct.unpack_from(">H", long) == (len(long) - 2,)
    assert long[4] == 1  # LONGLBA
    assert struct.unpack_from(">Q4xI", long, 8) == (BLOCKS, BLOCK)


def test_nothing_is_changeable(disk: RamDisk) -> None:
    data = accepted(disk.control(bytes.fromhex("1a087f00ff00")))
    assert not any(data[6:24])


def test_mode_select_accepts_only_what_is_so(disk: RamDisk) -> None:
    page = accepted(disk.control(bytes.fromhex("1a080800ff00")))[4:]
    same = bytes(4) + page
    select = bytes([0x15, 0x10, 0, 0, len(same), 0])
    assert direction(select) == "write"
    assert accepted(disk.control(select, same)) == b""
    changed = bytearray(same)
    changed[6] |= 4  # WCE
    assert refused(disk.control(select, changed)) == (5, 0x26, 0)
    assert refused(disk.control(select, same[:10])) == (5, 0x1A, 0)


def test_write_same_fills(disk: RamDisk) -> None:
    disk.data[:] = b"x" * disk.size
    accepted(disk.control(cdb10(0x41, 1, 2), b"ab" * 256))
    assert bytes(disk.data[BLOCK:3 * BLOCK]) == b"ab" * BLOCK
    accepted(disk.control(cdb16(0x93, 2, BLOCKS - 2, flags=1)))  # NDOB; needs more than one fill
    assert not any(disk.data[2 * BLOCK:])
    assert bytes(disk.data[:BLOCK]) == b"x" * BLOCK
    assert direction(cdb16(0x93, flags=1)) == "none"
    assert direction(cdb16(0x93, flags=8)) == "write"


def unmap_list(*extents: tuple[int, int]) -> bytes:
    """Return the parameter list of an UNMAP."""
    body = b"".join(struct.pack(">QI4x", *extent) for extent in extents)
    return struct.pack(">HH4x", 6 + len(body), len(body)) + body


def unmap(parameters: bytes) -> bytes:
    """Return the CDB of an UNMAP."""
    return struct.pack(">B6xHx", 0x42, len(parameters))


def test_unmap_zeroes_all_or_nothing(disk: RamDisk) -> None:
    disk.data[:] = b"x" * disk.size
    bad = unmap_list((0, 1), (BLOCKS, 1))
    assert refused(disk.control(unmap(bad), bad)) == BAD_LBA
    assert bytes(disk.data[:1]) == b"x"
    good = unmap_list((0, 1), (BLOCKS - 1, 1))
    accepted(disk.control(unmap(good), good))
    assert not any(disk.data[:BLOCK])
    assert not any(disk.data[-BLOCK:])
    assert bytes(disk.data[BLOCK:BLOCK + 1]) == b"x"
    assert refused(disk.control(unmap(good)[:7] + b"\0\4\0", good)) == (5, 0x1A, 0)
    many = unmap_list(*[(0, 1)] * 17)
    assert refused(disk.control(unmap(many), many)) == (5, 0x26, 0)


def test_unmap_of_nothing_at_the_very_end(disk: RamDisk) -> None:
    end = unmap_list((BLOCKS, 0))
    assert accepted(disk.control(unmap(end), end)) == b""
    beyond = unmap_list((BLOCKS + 1, 0))
    assert refused(disk.control(unmap(beyond), beyond)) == BAD_LBA


@pytest.fixture(params=[512, 4096, 2 * PAGE])
def thin(request: pytest.FixtureRequest) -> Iterator[RamDisk]:
    """Provide a disk of 64 pages with its medium in /dev/shm, as in a guest."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, RamDisk(
        f"{folder}/medium", 64 * PAGE, request.param, vendor="STF", product="p", serial="s",
    ) as made:
        yield made


def statuses(disk: RamDisk, lba: int = 0, allocation: int = 255) -> list[tuple[int, int, int]]:
    """Return (LBA, blocks, provisioning status) of each GET LBA STATUS descriptor."""
    cdb = struct.pack(">BBQIxx", 0x9E, 0x12, lba, allocation)
    data = accepted(disk.control(cdb))
    reported, = struct.unpack_from(">I", data)
    assert reported == len(data) - 4
    return [struct.unpack_from(">QIB", data, at) for at in range(8, len(data), 16)]


def test_lba_status_tells_what_is_mapped(thin: RamDisk) -> None:
    blocks = thin.blocks
    assert statuses(thin) == [(0, blocks, 1)]
    thin.data[thin.size // 2] = 1
    assert [status for _, _, status in statuses(thin)] == [1, 0, 1]
    thin.data[:] = b"x" * thin.size
    assert statuses(thin) == [(0, blocks, 0)]


def test_unmapped_blocks_are_deallocated(thin: RamDisk) -> None:
    thin.data[:] = b"x" * thin.size
    quarter = thin.blocks // 4
    hole = unmap_list((quarter, quarter))
    accepted(thin.control(unmap(hole), hole))
    assert statuses(thin) == [
        (0, quarter, 0), (quarter, quarter, 1), (2 * quarter, 2 * quarter, 0)]
    assert statuses(thin, quarter + 1) == [
        (quarter + 1, quarter - 1, 1), (2 * quarter, 2 * quarter, 0)]
    assert statuses(thin, allocation=24) == [(0, quarter, 0)]
    assert not any(thin.data[thin.size // 4:thin.size // 2])
    assert bytes(thin.data[:thin.size // 4]) == b"x" * (thin.size // 4)


@pytest.mark.parametrize("thin", [512, PAGE // 2], indirect=True)
def test_part_of_a_page_is_zeroed_but_stays_mapped(thin: RamDisk) -> None:
    thin.data[:] = b"x" * thin.size
    per_page = PAGE // thin.block_size
    hole = unmap_list((1, 2 * per_page))
    accepted(thin.control(unmap(hole), hole))
    assert statuses(thin) == [
        (0, per_page, 0), (per_page, per_page, 1),
        (2 * per_page, thin.blocks - 2 * per_page, 0)]
    start, end = thin.block_size, (1 + 2 * per_page) * thin.block_size
    assert not any(thin.data[start:end])
    assert thin.data[start - 1] == thin.data[end] == ord("x")


def test_write_same_deallocates_only_zeros(thin: RamDisk) -> None:
    thin.data[:] = b"x" * thin.size
    zero, one = bytes(thin.block_size), b"1" * thin.block_size
    accepted(thin.control(cdb16(0x93, 0, thin.blocks, flags=8), one))
    accepted(thin.control(cdb16(0x93, 0, thin.blocks), zero))
    assert statuses(thin) == [(0, thin.blocks, 0)]
    accepted(thin.control(cdb16(0x93, 0, thin.blocks, flags=8), zero))
    assert statuses(thin) == [(0, thin.blocks, 1)]


def test_where_no_holes_can_be_made_zeros_are_written(
    thin: RamDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    thin.data[:] = b"x" * thin.size
    monkeypatch.setattr("mmap.MADV_REMOVE", -1)
    hole = unmap_list((0, thin.blocks))
    accepted(thin.control(unmap(hole), hole))
    assert not any(thin.data)
    assert statuses(thin) == [(0, thin.blocks, 0)]


def test_compare_and_write(disk: RamDisk) -> None:
    old, new = b"o" * 2 * BLOCK, b"n" * 2 * BLOCK
    disk.data[BLOCK:3 * BLOCK] = old
    cdb = cdb16(0x89, 1, 2)
    assert direction(cdb) == "write"
    assert extent(cdb) == (1, 2)
    almost = old[:-1] + b"!"
    answer = disk.control(cdb, almost + new)
    assert refused(answer) == (0xE, 0x1D, 0)
    assert struct.unpack_from(">BxxI", answer.sense) == (0xF0, len(old) - 1)
    assert bytes(disk.data[BLOCK:3 * BLOCK]) == old
    assert accepted(disk.control(cdb, old + new)) == b""
    assert bytes(disk.data[:4 * BLOCK]) == bytes(BLOCK) + new + bytes(BLOCK)
    assert accepted(disk.control(cdb16(0x89, 1, 0))) == b""


def test_orwrite(disk: RamDisk) -> None:
    disk.data[:BLOCK] = b"\x0f" * BLOCK
    assert accepted(disk.control(cdb16(0x8B, 0, 1), b"\x31" * BLOCK)) == b""
    assert bytes(disk.data[:2 * BLOCK]) == b"\x3f" * BLOCK + bytes(BLOCK)
    assert accepted(disk.control(cdb16(0x8B, 0, 0))) == b""


def overwrite(flags: int, pattern: bytes) -> tuple[bytes, bytes]:
    """Return CDB and parameter list of a SANITIZE that overwrites."""
    parameters = struct.pack(">BxH", flags, len(pattern)) + pattern
    return struct.pack(">BB5xHx", 0x48, 1, len(parameters)), parameters


def test_sanitize(disk: RamDisk) -> None:
    assert accepted(disk.control(*overwrite(1, b"abc"))) == b""
    expected = (b"abc" * BLOCK)[:BLOCK]
    assert bytes(disk.data[:BLOCK]) == bytes(disk.data[-BLOCK:]) == expected
    accepted(disk.control(*overwrite(0x82, b"\xf0")))
    assert bytes(disk.data) == b"\x0f" * disk.size
    assert refused(disk.control(*overwrite(0, b"a"))) == (5, 0x26, 0)
    cdb, parameters = overwrite(1, b"abc")
    assert refused(disk.control(cdb, parameters[:6])) == (5, 0x1A, 0)
    assert bytes(disk.data[:1]) == b"\x0f"
    assert accepted(disk.control(bytes.fromhex("4882 00000000 0000 00 00"))) == b""
    assert not any(disk.data)
    assert accepted(disk.control(bytes.fromhex("481f 00000000 0000 00 00"))) == b""


CORES = {0x5E, 0x5F}
"""Opcodes that the targets' cores execute: PERSISTENT RESERVE IN and OUT."""


def report_opcodes(
    disk: RamDisk, options: int, opcode: int = 0, action: int = 0, allocation: int = 4096
) -> bytes:
    """Return the data of REPORT SUPPORTED OPERATION CODES."""
    return accepted(disk.control(
        struct.pack(">BBBBHIxx", 0xA3, 0x0C, options, opcode, action, allocation)))


@pytest.mark.parametrize("opcode", range(256))
def test_what_is_reported_is_what_there_is(disk: RamDisk, opcode: int) -> None:
    listed = {usage[0] for usage in USAGE} - CORES
    answer = disk.control(bytes([opcode]).ljust(16, b"\0"), bytes(BLOCK))
    missing = answer.status == CHECK_CONDITION and refused(answer) == BAD_OPCODE
    assert missing == (opcode not in listed)


@pytest.mark.parametrize("timeouts", [0, 0x80])
def test_all_operation_codes(disk: RamDisk, timeouts: int) -> None:
    data = report_opcodes(disk, timeouts)
    length, = struct.unpack_from(">I", data)
    size = 20 if timeouts else 8
    assert length == len(data) - 4 == len(USAGE) * size
    reported = {struct.unpack_from(">BxHxBH", data, at) for at in range(4, len(data), size)}
    assert (0x28, 0, timeouts >> 6, 10) in reported
    assert (0x9E, 0x12, timeouts >> 6 | 1, 16) in reported
    assert len(reported) == len(USAGE)
    assert report_opcodes(disk, timeouts, allocation=4) == data[:4]


@pytest.mark.parametrize("usage", USAGE, ids=lambda usage: usage[:2].hex())
def test_one_operation_code(disk: RamDisk, usage: bytes) -> None:
    action = service_action(usage)
    option = 1 if action is None else 2
    data = report_opcodes(disk, option, usage[0], action or 0)
    assert struct.unpack_from(">xBH", data) == (3, len(usage))
    assert data[4:] == usage == report_opcodes(disk, 3, usage[0], action or 0)[4:]
    timed = report_opcodes(disk, 0x80 | option, usage[0], action or 0)
    assert timed[1] == 0x83
    assert timed[4 + len(usage):] == b"\0\x0a" + bytes(10)
    assert len(usage) == {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}[usage[0] >> 5]


@pytest.mark.parametrize(("option", "opcode", "action"), [
    (1, 0xC0, 0), (2, 0xA3, 0x0A), (3, 0x28, 1), (3, 0xC0, 0), (2, 0xC0, 0),
])
def test_what_is_not_supported(disk: RamDisk, option: int, opcode: int, action: int) -> None:
    assert report_opcodes(disk, option, opcode, action) == b"\0\1\0\0"


def test_commands_that_the_target_does_not_pass_on(tmp_path: Path) -> None:
    with RamDisk(str(tmp_path / "medium"), BLOCK, BLOCK, vendor="STF", product="p", serial="s",
                 without={Opcode.ORWRITE_16, Opcode.SANITIZE}) as disk:
        assert refused(disk.control(cdb16(0x8B, 0, 1), bytes(BLOCK))) == BAD_OPCODE
        assert report_opcodes(disk, 1, 0x8B)[1] == 1
        assert report_opcodes(disk, 1, 0x89)[1] == 3
        assert not accepted(disk.control(inquiry(0xB1)))[7] >> 6  # WABEREQ


def test_erased_blocks_can_be_read(disk: RamDisk) -> None:
    assert accepted(disk.control(inquiry(0xB1)))[7] >> 6 == 1  # WABEREQ


def test_task_management_functions(disk: RamDisk) -> None:
    short = accepted(disk.control(bytes.fromhex("a30d 00 00 0000 000000ff 00 00")))
    assert short[0] & 0xC8 == 0xC8  # ABORT TASK, ABORT TASK SET, LOGICAL UNIT RESET
    assert len(short) == 4
    assert not short[3]
    long = accepted(disk.control(bytes.fromhex("a30d 80 00 0000 000000ff 00 00")))
    assert len(long) == long[3] + 4 == 16


MODEL_BLOCKS = 48
OPERATIONS = st.lists(st.tuples(
    st.sampled_from(("write", "same", "same-unmap", "unmap", "or", "compare")),
    st.integers(0, MODEL_BLOCKS - 1), st.integers(1, MODEL_BLOCKS), st.integers(0, 255)),
    max_size=20)


def carry_out(disk: RamDisk, model: bytearray, operation: tuple[str, int, int, int]) -> None:
    """Execute a command (kind, LBA, blocks, byte) on the disk and on the model."""
    what, lba, blocks, byte = operation
    start, end = lba * BLOCK, (lba + blocks) * BLOCK
    data, block = bytes([byte]) * (end - start), bytes([byte]) * BLOCK
    if what == "write":
        accepted(disk.control(cdb16(0x8A, lba, blocks), data))
    elif what.startswith("same"):
        flags = 8 if what == "same-unmap" else 0
        accepted(disk.control(cdb16(0x93, lba, blocks, flags=flags), block))
    elif what == "unmap":
        data = bytes(end - start)
        accepted(disk.control(unmap(unmap_list((lba, blocks))), unmap_list((lba, blocks))))
    elif what == "or":
        accepted(disk.control(cdb16(0x8B, lba, blocks), data))
        data = bytes(old | byte for old in model[start:end])
    elif what == "compare":
        accepted(disk.control(cdb16(0x89, lba, blocks), bytes(model[start:end]) + data))
    model[start:end] = data


@given(operations=OPERATIONS)
def test_the_medium_is_what_the_commands_made_it(
    operations: list[tuple[str, int, int, int]],
) -> None:
    model = bytearray(MODEL_BLOCKS * BLOCK)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, RamDisk(
        f"{folder}/medium", len(model), BLOCK, vendor="STF", product="p", serial="s",
    ) as disk:
        for what, lba, blocks, byte in operations:
            carry_out(disk, model, (what, lba, min(blocks, MODEL_BLOCKS - lba), byte))
            assert bytes(disk.data) == model


def test_verify_compares(disk: RamDisk) -> None:
    disk.data[BLOCK:2 * BLOCK] = b"y" * BLOCK
    compare = cdb10(0x2F, 0, 2, flags=2)
    assert direction(compare) == "write"
    assert accepted(disk.control(compare, bytes(BLOCK) + b"y" * BLOCK)) == b""
    assert refused(disk.control(compare, bytes(2 * BLOCK))) == (0xE, 0x1D, 0)
    assert refused(disk.control(cdb10(0x2F, 0, 2, flags=6), bytes(BLOCK))) == (0xE, 0x1D, 0)
    assert accepted(disk.control(cdb10(0x2F, 0, BLOCKS))) == b""


def test_control_carries_out_transfers_too(disk: RamDisk) -> None:
    accepted(disk.control(cdb10(0x2A, 3, 1), b"z" * BLOCK))
    assert accepted(disk.control(cdb10(0x28, 3, 1))) == b"z" * BLOCK


def test_the_medium_outlives_the_disk(tmp_path: Path) -> None:
    path = str(tmp_path / "medium")
    for expected in (b"\0", b"q"):
        with RamDisk(path, BLOCK, BLOCK, vendor="STF", product="p", serial="s") as disk:
            assert bytes(disk.data[:1]) == expected
            disk.data[:1] = b"q"


def test_a_size_that_is_no_whole_number_of_blocks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no whole number"):
        RamDisk(str(tmp_path / "medium"), 1000, BLOCK, vendor="STF", product="p", serial="s")


def test_extent_and_name() -> None:
    assert extent(cdb16(0x93, 5, 6)) == (5, 6)
    assert extent(inquiry()) == (None, 0)
    assert opcode_name(0x2A) == Opcode.WRITE_10.name
    assert opcode_name(0xC0) == "0xc0"
