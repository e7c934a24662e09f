"""An iSCSI initiator that does nothing unasked: it leaves responses unread, and R2Ts unanswered.

Runs in the guest; stdlib only. Argument: {"portal", "iqn", "name"} as JSON. It logs in (RFC 7143
6.3, no authentication, no digests, InitialR2T=Yes, ImmediateData=No), says ``ready``, and takes
orders, one JSON object per line:

======  =====================================================================================
do      arguments and effect
======  =====================================================================================
send    tag, cdb (hex), bytes, direction (read, write, none): send a SCSI Command PDU, and
        say ``sent`` (tag, command_number)
read    until (a list of tags): take in PDUs, answer R2Ts and pings, until these commands have
        ended; each end is told: ``response`` (tag, status, bytes)
======  =====================================================================================

Lines out have "t" (CLOCK_MONOTONIC, ns) and "kind". ``lost`` (why) is the last when the target
hangs up.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

NOP_OUT, SCSI_COMMAND, LOGIN, DATA_OUT = 0x00, 0x01, 0x03, 0x05
NOP_IN, SCSI_RESPONSE, LOGIN_RESPONSE, DATA_IN, R2T = 0x20, 0x21, 0x23, 0x25, 0x31
IMMEDIATE, FINAL = 0x40, 0x80
READS, WRITES, SIMPLE = 0x40, 0x20, 0x01
STATUS_IN_DATA = 0x01
"""Opcodes and flags: RFC 7143, 11.1-11.8."""

DIRECTIONS = {"read": READS, "write": WRITES, "none": 0}
NO_TAG = 0xFFFFFFFF
ISID = b"\x80\x5a\x5a\x5a\x00\x01"  # 80: a random value
RECEIVE_BUFFER = 4096
"""SO_RCVBUF in bytes: what is not read must soon jam the target's socket."""


def tell(kind: str, **data: Any) -> None:
    """Write one event."""
    os.write(1, (json.dumps({"t": time.monotonic_ns(), "kind": kind, **data}) + "\n").encode())


@dataclass
class Pdu:
    """One PDU: its 48 bytes of header, and its data segment."""

    header: bytes
    data: bytes

    @property
    def opcode(self) -> int:
        """What it is."""
        return self.header[0] & 0x3F

    @property
    def flags(self) -> int:
        """Its second byte."""
        return self.header[1]

    def u32(self, offset: int) -> int:
        """Return a field of four bytes."""
        value: int = struct.unpack_from(">I", self.header, offset)[0]
        return value


@dataclass
class Session:
    """A session of one connection."""

    sock: socket.socket
    command_number: int = 0
    status_number: int = 0
    received: dict[int, int] = field(default_factory=dict)

    def login(self, name: str, iqn: str) -> None:
        """Log in, at once at the operational stage. Raises ConnectionError when refused."""
        keys = {"InitiatorName": name, "TargetName": iqn, "SessionType": "Normal",
                "HeaderDigest": "None", "DataDigest": "None", "InitialR2T": "Yes",
                "ImmediateData": "No", "ErrorRecoveryLevel": "0", "MaxConnections": "1"}
        text = "".join(f"{key}={value}\0" for key, value in keys.items()).encode()
        while True:
            fields = struct.pack(">HHII", 0, 0, self.command_number, self.status_number + 1)
            self._put(LOGIN | IMMEDIATE, FINAL | 1 << 2 | 3, 0, fields, text,
                      lun=ISID + b"\0\0")
            answer = self.take()
            if answer.opcode != LOGIN_RESPONSE or answer.header[36]:
                raise ConnectionError(f"login refused: {answer.header.hex()}")
            if answer.flags & FINAL:
                return
            text = b""

    def send(self, tag: int, cdb: str, bytes: int, direction: str) -> None:
        """Send a SCSI command; data are sent when they are asked for."""
        fields = struct.pack(">I", bytes) + struct.pack(
            ">II", self.command_number, self.status_number + 1) + bytes_of(cdb)
        self._put(SCSI_COMMAND, FINAL | DIRECTIONS[direction] | SIMPLE, tag, fields)
        tell("sent", tag=tag, command_number=self.command_number)
        self.command_number += 1

    def read(self, until: Iterable[int]) -> None:
        """Take in PDUs until some commands have ended."""
        left = set(until)
        while left:
            for tag, status in self._ended(self.take()):
                tell("response", tag=tag, status=status, bytes=self.received.get(tag, 0))
                left.discard(tag)

    def _ended(self, pdu: Pdu) -> Iterator[tuple[int, int]]:
        tag = pdu.u32(16)
        if pdu.opcode == R2T:
            self._answer_r2t(pdu, tag)
        elif pdu.opcode == NOP_IN and pdu.u32(20) != NO_TAG:
            self._put(NOP_OUT | IMMEDIATE, FINAL, NO_TAG, struct.pack(
                ">III", pdu.u32(20), self.command_number, self.status_number + 1))
        elif pdu.opcode == DATA_IN:
            self.received[tag] = self.received.get(tag, 0) + len(pdu.data)
            if pdu.flags & STATUS_IN_DATA:
                yield tag, pdu.header[3]
        elif pdu.opcode == SCSI_RESPONSE:
            yield tag, pdu.header[3]

    def _answer_r2t(self, pdu: Pdu, tag: int) -> None:
        offset, length = pdu.u32(40), pdu.u32(44)
        fields = struct.pack(">IIIIIII", pdu.u32(20), 0, self.status_number + 1, 0, 0, offset, 0)
        self._put(DATA_OUT, FINAL, tag, fields, b"\x5a" * length)

    def _put(
        self, opcode: int, flags: int, tag: int, fields: bytes, data: bytes = b"", *,
        lun: bytes = b"\0" * 8,
    ) -> None:
        """Send a PDU. ``fields``: from byte 20 on. ``lun``: bytes 8 to 15, LUN 0 as a rule."""
        head = struct.pack(">BBHI", opcode, flags, 0, len(data)) + lun + struct.pack(">I", tag)
        self.sock.sendall((head + fields).ljust(48, b"\0") + data + b"\0" * (-len(data) % 4))

    def take(self) -> Pdu:
        """Read a PDU. Raises ConnectionError when there is none to come."""
        header = self._exactly(48)
        length = int.from_bytes(header[5:8], "big")
        data = self._exactly(header[4] * 4 + length + -length % 4)[header[4] * 4:][:length]
        pdu = Pdu(header, data)
        if pdu.opcode not in (R2T, DATA_IN) or pdu.flags & STATUS_IN_DATA:
            self.status_number = pdu.u32(24)
        if pdu.opcode == LOGIN_RESPONSE:
            self.command_number = pdu.u32(28)
        return pdu

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self.sock.recv(count - len(parts))
            if not part:
                raise ConnectionError("the target hung up")
            parts += part
        return bytes(parts)


def bytes_of(cdb: str) -> bytes:
    """Return a CDB as the PDU has it: 16 bytes."""
    return bytes.fromhex(cdb).ljust(16, b"\0")


def obey(session: Session, order: dict[str, Any]) -> None:
    """Carry out one order."""
    if order.pop("do") == "send":
        session.send(**order)
    else:
        session.read(**order)


def main() -> None:
    """Log in and obey."""
    spec = json.loads(sys.argv[1])
    host, port = spec["portal"].split(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.connect((host, int(port)))
    session = Session(sock)
    try:
        session.login(spec["name"], spec["iqn"])
        tell("ready")
        for line in sys.stdin:
            obey(session, json.loads(line))
    except OSError as error:
        tell("lost", why=str(error))


if __name__ == "__main__":
    main()
