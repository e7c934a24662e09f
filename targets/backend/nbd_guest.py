# SPDX-License-Identifier: GPL-2.0-or-later
"""A network block device served from the machine itself: the disk behind a target's LUN.

Runs in the guest; stdlib only. This process receives the device's requests over a socket, each
separately, and may answer them late, in any order, or never. If the target opens the device with
O_DIRECT, as tgt does, a request that is held here is a command in progress in one of the target's
threads (for tgt bs_rdwr_request, usr/bs_rdwr.c).

Kernel side: drivers/block/nbd.c; protocol and ioctls: include/uapi/linux/nbd.h.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, NoReturn

from targets.backend.witness_guest import Witness

NBD_SET_SOCK = 0xAB00
NBD_SET_BLKSIZE = 0xAB01
NBD_DO_IT = 0xAB03
NBD_CLEAR_SOCK = 0xAB04
NBD_SET_SIZE_BLOCKS = 0xAB07

REQUEST_MAGIC = 0x25609513
REPLY_MAGIC = 0x67446698
REQUEST = struct.Struct(">IHHQQI")
"""struct nbd_request: magic, flags, type, cookie, offset, length."""
REPLY = struct.Struct(">IIQ")
"""struct nbd_reply: magic, error, cookie."""

SOURCE = "NBD protocol, linux/nbd.h"

POLL = 0.005
CLOSE_SECONDS = 1.0
"""Seconds for which ``close`` waits for the kernel to release the device."""


class Type(IntEnum):
    """NBD_CMD_* that the kernel sends to a device without flags."""

    READ = 0
    WRITE = 1
    DISC = 2


class Request(NamedTuple):
    """One request. ``offset`` and ``length`` in bytes; ``data``: a WRITE's."""

    kind: Type
    cookie: int
    offset: int
    length: int
    data: bytes


class Header(NamedTuple):
    """struct nbd_request."""

    magic: int
    flags: int
    kind: int
    cookie: int
    offset: int
    length: int


class RequestRules:
    """Compares requests with the protocol. ``size``, ``block_size``: of the disk, in bytes."""

    def __init__(self, witness: Witness, size: int, block_size: int) -> None:
        self._witness, self._size, self._block_size = witness, size, block_size
        self._outstanding: set[int] = set()

    def _breach(self, rule: str, cookie: int, seen: str, allowed: str, point: str) -> None:
        self._witness.breach(rule, cookie, seen, allowed, point=point)

    def received(self, header: Header) -> None:
        """Compare a request."""
        self._witness.watch()
        if header.magic != REQUEST_MAGIC:
            self._breach("request-magic", header.cookie, f"magic {header.magic:#x}",
                         f"{REQUEST_MAGIC:#x}", "request")
            return
        if header.kind not in list(Type) or header.flags:
            self._breach("request-type", header.cookie, f"type {header.kind}, flags "
                         f"{header.flags:#x}", "NBD_CMD_READ, NBD_CMD_WRITE or NBD_CMD_DISC, "
                         "without flags: nothing else was negotiated", "request")
        elif header.kind != Type.DISC:
            self._transfer(header, Type(header.kind).name)

    def _transfer(self, header: Header, point: str) -> None:
        cookie, offset, length = header.cookie, header.offset, header.length
        if cookie in self._outstanding:
            self._breach("handle-twice", cookie, "the cookie of a request without a reply", "once",
                         point)
        self._outstanding.add(cookie)
        if not length or (offset | length) % self._block_size or offset + length > self._size:
            self._breach("request-place", cookie, f"{length} bytes at {offset}",
                         f"blocks of {self._block_size} bytes below {self._size}", point)

    def answered(self, cookie: int) -> None:
        """Note that a request is about to be answered."""
        self._outstanding.discard(cookie)

    def after_disconnect(self, left: int) -> None:
        """Compare the number of bytes that follow NBD_CMD_DISC."""
        if left:
            self._breach("after-disconnect", 0, f"{left} bytes after NBD_CMD_DISC",
                         "NBD_CMD_DISC is the last request", "DISC")

    def end(self) -> None:
        """Emit the final numbers: the device is disconnected."""
        self._witness.end()


class Connection:
    """The server's end of the request socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rules: RequestRules | None = None

    def watch(self, witness: Witness, size: int, block_size: int) -> None:
        """Compare the requests with the protocol from now on. Sizes of the disk in bytes."""
        self._rules = RequestRules(witness, size, block_size)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._end.fileno()

    def receive(self) -> Request:
        """Wait for the next request and return it. Raises EOFError when there will be none."""
        header = Header._make(REQUEST.unpack(self._exactly(REQUEST.size)))
        if self._rules is not None:
            self._rules.received(header)
        if header.magic != REQUEST_MAGIC or header.kind not in list(Type):
            raise EOFError(f"no request: {header}")
        if header.kind == Type.DISC:
            if self._rules is not None:
                self._rules.after_disconnect(self._left())
            raise EOFError("the kernel has disconnected")
        data = self._exactly(header.length) if header.kind == Type.WRITE else b""
        return Request(Type(header.kind), header.cookie, header.offset, header.length, data)

    def _left(self) -> int:
        """Return the number of bytes that have arrived already, up to a request's."""
        try:
            return len(self._end.recv(REQUEST.size, socket.MSG_DONTWAIT | socket.MSG_PEEK))
        except OSError:
            return 0

    def _exactly(self, length: int) -> bytes:
        data = self._end.recv(length, socket.MSG_WAITALL)
        if len(data) < length:
            raise EOFError("the kernel has closed the connection")
        return data

    def answer(self, request: Request, data: bytes | memoryview = b"") -> None:
        """Answer a request with success; ``data``: of a READ.

        Raises OSError when the kernel has disconnected.
        """
        if self._rules is not None:
            self._rules.answered(request.cookie)
        self._end.sendall(REPLY.pack(REPLY_MAGIC, 0, request.cookie) + data)

    def close(self) -> None:
        """Close the connection."""
        if self._rules is not None:
            self._rules.end()
        with suppress(OSError):  # the kernel has disconnected before
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()


class NbdDevice:
    """A block device of the kernel, connected to this process. Sizes in bytes.

    ``path``: "/dev/nbd0". Raises OSError (EBUSY when another process has connected it).
    """

    def __init__(self, path: str, size: int, block_size: int) -> None:
        ours, kernels = socket.socketpair()
        self.connection = Connection(ours)
        with kernels:
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, NBD_SET_SOCK, kernels.fileno())
                fcntl.ioctl(device, NBD_SET_BLKSIZE, block_size)
                fcntl.ioctl(device, NBD_SET_SIZE_BLOCKS, size // block_size)
                self._keeper = os.fork()
                if not self._keeper:
                    keep(device, ours)
            finally:
                os.close(device)
        pid = Path("/sys/block", Path(path).name, "pid")  # there while it is connected
        while not pid.exists() and not self._gone():
            time.sleep(POLL)

    def _gone(self) -> bool:
        """Return whether the process in the ioctl has ended; not to be called again after True."""
        return os.waitpid(self._keeper, os.WNOHANG)[0] != 0

    def close(self) -> None:
        """Disconnect: unanswered requests fail."""
        self.connection.close()
        end = time.monotonic() + CLOSE_SECONDS
        while not self._gone() and time.monotonic() < end:
            time.sleep(POLL)


def keep(device: int, ours: socket.socket) -> NoReturn:
    """Stay in the ioctl that connects a device; then end unanswered requests with EIO.

    This runs in a process of its own, because the ioctl gives up the connection at any signal, even
    SIGSTOP. It ends with the serving process: our end of the socket is closed then.
    """
    ours.close()
    for standard in range(3):
        os.close(standard)
    with suppress(OSError):
        fcntl.ioctl(device, NBD_DO_IT)
    with suppress(OSError):
        fcntl.ioctl(device, NBD_CLEAR_SOCK)
    os._exit(0)
