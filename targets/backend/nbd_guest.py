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


class Connection:
    """The server's end of the request socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._end.fileno()

    def receive(self) -> Request:
        """Wait for the next request and return it. Raises EOFError when there will be none."""
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
        """Answer a request with success; ``data``: of a READ.

        Raises OSError when the kernel has disconnected.
        """
        self._end.sendall(REPLY.pack(REPLY_MAGIC, 0, request.cookie) + data)

    def close(self) -> None:
        """Close the connection."""
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
