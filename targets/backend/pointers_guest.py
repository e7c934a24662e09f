# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of each kind of pointer, with contents as far as it takes any.

Runs in the guest; stdlib only. Memory is never given back: a process makes a few calls and ends.
"""

from __future__ import annotations

import ctypes
import itertools

from targets.backend.pointers import BROKEN_ADDRESS, DIRECT_MAPPING, PAGE, Pointer

PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
MAP_PRIVATE_ANONYMOUS = 0x22

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                       ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


_hints = itertools.count(1 << 44, 1 << 26)
"""Addresses far from those that mmap chooses: nothing is mapped there again once it is unmapped."""


def pages(count: int) -> int:
    """Return the address of ``count`` fresh pages, followed and preceded by unmapped ones."""
    base: int = _libc.mmap(next(_hints), (count + 2) * PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE_ANONYMOUS, -1, 0)
    _libc.munmap(base, PAGE)
    _libc.munmap(base + (count + 1) * PAGE, PAGE)
    return base + PAGE


def place(pointer: Pointer, content: bytes, room: int = 0) -> int:
    """Return an address of the kind, with the contents there as far as the memory takes them.

    ``room``: bytes of memory at a good address, if more than the contents.
    """
    size = max(len(content), room, 1)
    count = (size + PAGE) // PAGE + 1
    at = {Pointer.NULL: 0, Pointer.KERNEL: DIRECT_MAPPING + PAGE,
          Pointer.NON_CANONICAL: BROKEN_ADDRESS, Pointer.WRAPPING: (1 << 64) - 8}.get(pointer)
    if at is not None:
        return at
    base = pages(count)
    if pointer is Pointer.STRADDLING:
        fits = max(1, min(size // 2, PAGE))
        at = base + count * PAGE - fits
        ctypes.memmove(at, content[:fits], len(content[:fits]))
        return at
    at = base + (3 if pointer is Pointer.UNALIGNED else 0)
    ctypes.memmove(at, content, len(content))
    protect(base, count, pointer)
    return at


def protect(base: int, count: int, pointer: Pointer) -> None:
    """Turn ``count`` pages into memory of a kind; what straddles ends before them."""
    if pointer in (Pointer.UNMAPPED, Pointer.STRADDLING):
        _libc.munmap(base, count * PAGE)
    elif pointer in (Pointer.READ_ONLY, Pointer.NO_ACCESS):
        _libc.mprotect(base, count * PAGE,
                       PROT_READ if pointer is Pointer.READ_ONLY else PROT_NONE)
