"""A network block device served from the machine itself: the disk that is behind tgt's LUN.

Runs in the guest; stdlib only. tgt knows no protocol by which a program could serve its commands,
but opens any block device: this one's requests come to us over a socket, each on its own, and may
be answered late, in any order, or never. tgt has it open with O_DIRECT, so a request that is held
here is a command that one of tgt's threads (bs_rdwr_request, usr/bs_rdwr.c) has in its hands.

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

POLL = 0.005
CLOSE_SECONDS = 1.0
"""How long ``close`` waits for the kernel to let go."""


class Type(IntEnum):
    """NBD_CMD_*, as far as a device without flags is sent them."""

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


class Connection:
    """The server's end of the socket over which the requests come."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._end.fileno()

    def receive(self) -> Request:
        """Return the next request; waits for it. Raises EOFError when there will be none."""
        magic, _, kind, cookie, offset, length = REQUEST.unpack(self._exactly(REQUEST.size))
        if magic != REQUEST_MAGIC or kind == Type.DISC:
            raise EOFError("the kernel has disconnected")
        data = self._exactly(length) if kind == Type.WRITE else b""
        return Request(Type(kind), cookie, offset, length, data)

    def _exactly(self, length: int) -> bytes:
        data = self._end.recv(length, socket.MSG_WAITALL)
        if len(data) < length:
            raise EOFError("the kernel has closed the connection")
        return data

    def answer(self, request: Request, data: bytes | memoryview = b"") -> None:
        """Answer a request well; ``data``: what a READ gets. Raises OSError when nobody listens."""
        self._end.sendall(REPLY.pack(REPLY_MAGIC, 0, request.cookie) + data)

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):  # the kernel has done so before
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()


class NbdDevice:
    """A block device of the kernel's, connected to this process. Sizes in bytes.

    ``path``: "/dev/nbd0". Raises OSError (EBUSY when another process has it connected).
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
        pid = Path("/sys/block", Path(path).name, "pid")  # there as long as it is connected
        while not pid.exists() and not self._gone():
            time.sleep(POLL)

    def _gone(self) -> bool:
        """Tell whether the keeper has ended; it must not have been said to before."""
        return os.waitpid(self._keeper, os.WNOHANG)[0] != 0

    def close(self) -> None:
        """Disconnect: what is unanswered fails."""
        self.connection.close()
        end = time.monotonic() + CLOSE_SECONDS
        while not self._gone() and time.monotonic() < end:
            time.sleep(POLL)


def keep(device: int, ours: socket.socket) -> NoReturn:
    """Stay in the ioctl that connects a device; then end what is unanswered, with EIO.

    In a process of its own, for the ioctl gives up the connection at any signal, SIGSTOP too. It
    ends when the other one does: nobody holds our end of the socket then.
    """
    ours.close()
    for standard in range(3):
        os.close(standard)
    with suppress(OSError):
        fcntl.ioctl(device, NBD_DO_IT)
    with suppress(OSError):
        fcntl.ioctl(device, NBD_CLEAR_SOCK)
    os._exit(0)
