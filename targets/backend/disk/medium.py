# SPDX-License-Identifier: GPL-2.0-or-later
"""The medium: a shared mapping of a file, whose unallocated parts are holes in the file.

So the file system keeps account of the deallocated blocks, page by page, for every process that
serves the same medium; WRITEs need no accounting. In /dev/shm a READ of a hole allocates it
(shmem_fault(), mm/shmem.c): such a block becomes mapped by itself, as SBC-4 4.7.3.5 allows.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack
from io import FileIO

from targets.backend.disk.cdb import Buffer

PAGE = mmap.PAGESIZE
"""Bytes that are allocated or deallocated together."""

PIECE = 1 << 20
"""Bytes that are filled at a time."""


class Medium:
    """The file at ``path``, mapped as ``data``. It is made when missing, and kept otherwise."""

    def __init__(self, path: str, size: int) -> None:
        self.size = size
        with ExitStack() as undo:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._file = undo.enter_context(FileIO(descriptor, "r+"))
            self._file.truncate(size)
            self._map = mmap.mmap(descriptor, size)
            undo.pop_all()
        self.data = memoryview(self._map)

    def close(self) -> None:
        """Release the mapping; the file stays. No view of ``data`` may be left."""
        self.data.release()
        self._map.close()
        self._file.close()

    def fill(self, start: int, end: int, pattern: Buffer = b"\0") -> None:
        """Write ``pattern`` (at most PIECE bytes) repeatedly from byte ``start`` to ``end``."""
        piece = bytes(pattern) * min(-(-(end - start) // len(pattern)), PIECE // len(pattern))
        while start < end:
            length = min(len(piece), end - start)
            self.data[start:start + length] = piece[:length]
            start += length

    def deallocate(self, start: int, end: int) -> None:
        """Make bytes read as zeros, and free the pages that lie entirely within them."""
        first, last = -(-start // PAGE) * PAGE, end // PAGE * PAGE
        if first >= last:
            self.fill(start, end)
            return
        self.fill(start, first)
        self.fill(last, end)
        try:
            self._map.madvise(mmap.MADV_REMOVE, first, last - first)
        except OSError:  # a file system that cannot make holes
            self.fill(first, last)

    def allocation(self, start: int) -> Iterator[tuple[int, bool]]:
        """Yield (end, whether allocated) of each extent between byte ``start`` and the end."""
        while start < self.size:
            data = self._seek(start, os.SEEK_DATA)
            if start < data:
                yield data, False
            start = self._seek(data, os.SEEK_HOLE)
            if data < start:
                yield start, True

    def _seek(self, offset: int, what: int) -> int:
        try:
            return self._file.seek(offset, what)
        except OSError:  # ENXIO: none from there to the end
            return self.size
