# SPDX-License-Identifier: GPL-2.0-or-later
"""A relay between an initiator and its portal: records every iSCSI PDU, and may change it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import partial

SCSI_COMMAND, TASK_MANAGEMENT, LOGIN, DATA_OUT, LOGOUT = 0x01, 0x02, 0x03, 0x05, 0x06
SCSI_RESPONSE, TASK_MANAGEMENT_RESPONSE, LOGIN_RESPONSE = 0x21, 0x22, 0x23
DATA_IN, R2T, ASYNC_MESSAGE, REJECT = 0x25, 0x31, 0x32, 0x3F
"""Opcodes (RFC 7143 11.2.1.2)."""

FULL_FEATURE = 0x83
"""Flags of a Login Response: T, and NSG FullFeaturePhase (RFC 7143 11.13)."""


class Way(StrEnum):
    """The sender of a PDU."""

    INITIATOR = "initiator"
    TARGET = "target"


Edit = Callable[[Way, bytes], list[bytes]]
"""Function that maps a PDU as sent to the PDUs to forward."""


def opcode(pdu: bytes) -> int:
    """Return a PDU's opcode."""
    return pdu[0] & 0x3F


def task_tag(pdu: bytes) -> int:
    """Return a PDU's Initiator Task Tag."""
    return int.from_bytes(pdu[16:20])


def text(pdu: bytes) -> dict[str, str]:
    """Return the keys of a login PDU."""
    data = pdu[48:48 + int.from_bytes(pdu[5:8])].decode()
    return dict(key.split("=", 1) for key in data.split("\0") if key)


class Relay:
    """Listens on a loopback port and forwards PDUs to a portal and back.

    ``pdus``: the PDUs as sent. ``edit`` may be set at any time.
    """

    def __init__(self, portal: str) -> None:
        host, port = portal.split(":")
        self._there = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.pdus: list[tuple[Way, bytes]] = []
        self.edit: Edit = lambda way, pdu: [pdu]
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    @property
    def portal(self) -> str:
        """Address that the relay listens on."""
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def sent(self, way: Way, code: int) -> list[bytes]:
        """Return the recorded PDUs of an opcode, in one direction."""
        return [pdu for who, pdu in list(self.pdus) if who is way and opcode(pdu) == code]

    def cut(self) -> None:
        """Shut down every connection, on both sides."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(self._there)
            self._sockets += [near, far]
            digest = threading.Event()
            for way, source, sink in ((Way.INITIATOR, near, far), (Way.TARGET, far, near)):
                self._run(partial(self._pass, way, source, sink, digest))

    def _pass(
        self, way: Way, source: socket.socket, sink: socket.socket, digest: threading.Event
    ) -> None:
        """Forward the PDUs of one side. ``digest``: set once headers have one."""
        with source, source.makefile("rb") as stream, suppress(OSError):
            while len(head := stream.read(48)) == 48:
                crc = stream.read(4) if digest.is_set() else b""
                length = int.from_bytes(head[5:8])
                pdu = head + stream.read(-(-length // 4) * 4)
                if crc:
                    assert crc == struct.pack("<I", crc32c(head)), "a header digest is wrong"
                self.pdus.append((way, pdu))
                last_login = opcode(pdu) == LOGIN_RESPONSE and pdu[1] & FULL_FEATURE == FULL_FEATURE
                if last_login and text(pdu).get("HeaderDigest") == "CRC32C":
                    digest.set()
                sink.sendall(b"".join(
                    each[:48] + (struct.pack("<I", crc32c(each[:48])) if crc else b"") + each[48:]
                    for each in self.edit(way, pdu)))
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


def crc32c(data: bytes) -> int:
    """Return the digest of RFC 7143 13.1 (RFC 3720 B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
