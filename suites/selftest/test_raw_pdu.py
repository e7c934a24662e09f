# SPDX-License-Identifier: GPL-2.0-or-later
"""PDUs: headers against RFC 7143's figures, digests against its examples, false lengths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.initiator.raw.pdu import (
    EXTENDED_CDB,
    LAYOUTS,
    NO_TAG,
    Digests,
    Field,
    Flaw,
    Op,
    Pdu,
    crc32c,
    digest,
    keys,
    text,
    wire,
)
from fixtures.initiator.raw.session import KEYS, login, ping, scsi_command

BOTH = Digests(header=True, data=True)
READ_PDU = bytes.fromhex(
    "01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018"
    "28000000 00000000 02000000 00000000")
"""RFC 7143, A.4: "An iSCSI - SCSI Read (10) Command PDU"."""


@pytest.mark.parametrize(("data", "sent"), [
    (bytes(32), "aa36918a"),
    (b"\xff" * 32, "43aba862"),
    (bytes(range(32)), "4e79dd46"),
    (bytes(range(31, -1, -1)), "5cdb3f11"),
    (READ_PDU, "563a96d9"),
])
def test_digests_of_the_standard(data: bytes, sent: str) -> None:
    """RFC 7143, A.4."""
    assert digest(data).hex() == sent


def test_crc32c_of_nine_digits() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # check value from the CRC catalogue


def test_a_scsi_command() -> None:
    """RFC 7143 11.3, and the PDU of its A.4."""
    pdu = Pdu(Op.SCSI_COMMAND, {
        "F": 1, "R": 1, "InitiatorTaskTag": 0x14000000, "ExpectedDataTransferLength": 1024,
        "CmdSN": 0x14, "ExpStatSN": 0x18, "CDB": int.from_bytes(READ_PDU[32:], "big")})
    assert pdu.header() == READ_PDU
    assert Pdu.parse(READ_PDU)["ExpStatSN"] == 0x18


def test_a_login_request() -> None:
    """11.12: I, T, CSG and NSG, ISID, TSIH; a data segment padded to words."""
    sent = wire(login({"a": "b"}, isid=0x805A5A5A0001, tsih=0x0102), Digests())
    assert sent[:8].hex() == "4387000000000004"
    assert sent[8:16].hex() == "805a5a5a00010102"
    assert sent[48:] == b"a=b\0"
    assert wire(login({"a": "bc"}), Digests())[48:] == b"a=bc\0\0\0\0"


def test_data_out_and_snack() -> None:
    """11.7: DataSN in bytes 36 to 39, Buffer Offset after it; 11.16: BegRun, RunLength."""
    data = Pdu(Op.DATA_OUT, {"TargetTransferTag": 1, "DataSN": 2, "BufferOffset": 3}).header()
    assert (data[20:24], data[36:44]) == (b"\0\0\0\1", b"\0\0\0\2\0\0\0\3")
    snack = Pdu(Op.SNACK, {"F": 1, "Type": 3, "BegRun": 4, "RunLength": 5}).header()
    assert (snack[:2], snack[40:]) == (b"\x10\x83", b"\0\0\0\4\0\0\0\5")


@pytest.mark.parametrize("op", list(Op))
def test_no_two_fields_of_a_pdu_overlap(op: Op) -> None:
    taken: dict[int, str] = {}
    for name, each in LAYOUTS[op].items():
        if op in (Op.LOGIN, Op.LOGIN_RESPONSE) and name == "LUN":
            continue  # ISID and TSIH are in its place
        if op is Op.LOGIN and name == "F":
            continue  # T is in its place
        if op is Op.LOGIN_RESPONSE and name == "F":
            continue
        header = bytearray(48)
        each.put(header, each.greatest)
        bits = int.from_bytes(header, "big")
        for other, name_of_other in taken.items():
            assert not bits & other, f"{name} and {name_of_other}"
        taken[bits] = name


@given(st.sampled_from([(op, name) for op in Op for name in LAYOUTS[op]]),
       st.integers(0, 2**128 - 1))
def test_what_is_put_is_got(place: tuple[Op, str], value: int) -> None:
    each: Field = LAYOUTS[place[0]][place[1]]
    header = bytearray(b"\xa5" * 48)
    each.put(header, value)
    assert each.get(bytes(header)) == value & each.greatest
    assert each.get(bytes(48)) == 0


def test_a_header_may_lie() -> None:
    """The lengths match the sent data unless the test sets other values."""
    honest = Pdu(Op.NOP_OUT, ahs=bytes(8), data=b"12345")
    assert honest.header()[4:8].hex() == "02000005"
    assert honest.having(DataSegmentLength=0xFFFFFF, TotalAHSLength=1).header()[4:8].hex() \
        == "01ffffff"
    assert honest.having(Opcode=0x3F).header()[0] == 0x3F


def test_digests_and_flaws_on_the_wire() -> None:
    """11.2: the header's digest covers the AHS, the data's covers the padding."""
    pdu = Pdu(Op.NOP_OUT, ahs=bytes(4), data=b"12345")
    sent = wire(pdu, BOTH)
    assert len(sent) == 48 + 4 + 4 + 8 + 4
    assert sent[52:56] == digest(sent[:52])
    assert sent[64:] == digest(b"12345\0\0\0")
    assert wire(pdu, BOTH, Flaw(header_digest=1))[52:56] != sent[52:56]
    assert wire(pdu, BOTH, Flaw(data_digest=1 << 31))[64:] != sent[64:]
    assert wire(pdu, Digests(), Flaw(padding=b"")) == pdu.header() + bytes(4) + b"12345"
    assert wire(pdu, BOTH, Flaw(cut=50)) == sent[:50]
    assert wire(Pdu(Op.NOP_OUT), BOTH) == Pdu(Op.NOP_OUT).header() + digest(bytes(48))


def test_keys() -> None:
    assert keys(text(KEYS)) == dict(KEYS)


def test_a_ping_and_a_command() -> None:
    assert ping(7)["TargetTransferTag"] == NO_TAG
    assert scsi_command(1, bytes(6)).header()[:2] == b"\x01\x81"


def test_a_long_cdb_goes_by_an_ahs() -> None:
    """AHSLength counts the reserved byte and the CDB's bytes after the 16th (RFC 7143 11.2.2.3)."""
    cdb = bytes(range(32))
    pdu = scsi_command(1, cdb, 4096, "read")
    assert pdu.ahs == bytes((0, 17, EXTENDED_CDB, 0)) + cdb[16:]
    assert pdu.header()[4] == 5 and pdu.header()[32:48] == cdb[:16]
    assert not scsi_command(1, cdb[:16]).ahs
