"""The RAM disk that backends serve, command by command."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

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

BLOCK = 512
BLOCKS = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[RamDisk]:
    """Give a disk of 2 MiB."""
    with RamDisk(str(tmp_path / "medium"), BLOCKS * BLOCK, BLOCK,
                 vendor="STF", product="RAM disk", serial="one") as made:
        yield made


def cdb6(opcode: int, lba: int, blocks: int) -> bytes:
    """Return a 6-byte CDB, padded as kernels hand it over."""
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
    (bytes.fromhex("a3 0c 00 00 0000 000000ff 00 00"), BAD_OPCODE),
    (bytes.fromhex("7f").ljust(32, b"\0"), BAD_OPCODE),
    (bytes.fromhex("5e00 000000 0000ff00"), BAD_OPCODE),
    (bytes.fromhex("9e12 0000000000000000 000000ff 0000"), BAD_CDB),
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
    assert struct.unpack_from(">Q", data, 36) == (MAX_FILL,)


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
    accepted(disk.control(cdb16(0x93, 2, BLOCKS - 2, flags=1)))  # NDOB, more than one piece
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
