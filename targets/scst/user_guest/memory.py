# SPDX-License-Identifier: GPL-2.0-or-later
"""Page-aligned memory that a scst_user backend lends to the kernel: the buffers of its commands.

Runs in the guest; stdlib only. The kernel maps a buffer's pages when it receives the address
(get_user_pages in dev_user_map_buf, scst_user.c). It may keep them long after the command, or use
them for a command of another device that shares the SGV pool: so one ``Memory`` serves a whole
process, and a buffer is found by its address.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from contextlib import suppress

PAGE = mmap.PAGESIZE

CHUNK = 4 << 20
"""Bytes taken from the system at once, unless one buffer is larger."""


class Memory:
    """Buffers by address, for several threads. Sizes are rounded up to a power of two of pages.

    ``views``: all buffers ever made; their addresses do not change.
    """

    def __init__(self) -> None:
        self.views: dict[int, memoryview] = {}
        self._lock = threading.Lock()
        self._free: dict[int, list[int]] = {}
        self._taken: dict[int, object] = {}
        self._chunks: dict[int, mmap.mmap] = {}

    @property
    def taken(self) -> int:
        """The number of buffers that are lent out."""
        return len(self._taken)

    def take(self, size: int, owner: object = None) -> int:
        """Return the address of a buffer of at least ``size`` bytes (> 0). Raises MemoryError.

        ``owner``: the buffer's owner for ``forsake``, if any.
        """
        order = (max(size, PAGE) - 1).bit_length()
        with self._lock:
            free = self._free.get(order)
            if not free:
                free = self._grow(order)
            address = free.pop()
            self._taken[address] = owner
        return address

    def _grow(self, order: int) -> list[int]:
        size = 1 << order
        total = max(size, CHUNK)
        try:
            chunk = mmap.mmap(-1, total, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"{total} bytes: {error}") from error
        # A fork would make the pages copy-on-write, and the kernel's mapping would no longer be
        # ours.
        chunk.madvise(mmap.MADV_DONTFORK)
        with suppress(OSError):  # EINVAL: a kernel without CONFIG_TRANSPARENT_HUGEPAGE has none
            chunk.madvise(mmap.MADV_NOHUGEPAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(chunk))
        self._chunks[base] = chunk
        whole = memoryview(chunk)
        for at in range(0, total, size):
            self.views[base + at] = whole[at:at + size]
        free = self._free.setdefault(order, [])
        free += range(base + total - size, base - 1, -size)
        return free

    def lent(self, address: int) -> bool:
        """Return whether the buffer at an address is lent out."""
        return address in self._taken

    def view(self, address: int) -> memoryview:
        """Return the buffer at an address. Raises KeyError when none begins there."""
        return self.views[address]

    def give(self, address: int) -> None:
        """Take a buffer back that the kernel has released.

        Raises KeyError when it is not lent out: the kernel freed it twice.
        """
        with self._lock:
            del self._taken[address]
            self._free[(len(self.views[address]) - 1).bit_length()].append(address)

    def abandon(self, address: int) -> None:
        """Take a buffer back whose pages the kernel may still hold.

        The pages are left to the kernel; the address gets fresh ones when it is next touched.
        """
        length = len(self.views[address])
        base = max(base for base in list(self._chunks) if base <= address)
        self._chunks[base].madvise(mmap.MADV_DONTNEED, address - base, length)
        self.give(address)

    def forsake(self, owner: object) -> None:
        """Abandon all buffers of an owner.

        The kernel will no longer report the end of their use.
        """
        with self._lock:
            left = [address for address, whose in self._taken.items() if whose is owner]
        for address in left:
            self.abandon(address)
