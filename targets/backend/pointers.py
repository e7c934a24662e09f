# SPDX-License-Identifier: GPL-2.0-or-later
"""Kinds of pointers that a process passes to the kernel, by what lies at the address.

Runs in the guest and on the host; stdlib only.
"""

from __future__ import annotations

from enum import StrEnum

PAGE = 4096


class Pointer(StrEnum):
    """The memory at an address."""

    GOOD = "good"  # page-aligned, readable and writable
    UNALIGNED = "unaligned"  # readable and writable, at an odd address
    NULL = "null"
    UNMAPPED = "unmapped"  # in a page that was unmapped
    READ_ONLY = "read-only"
    NO_ACCESS = "no-access"  # PROT_NONE
    STRADDLING = "straddling"  # begins in a mapped page, ends in an unmapped one
    KERNEL = "kernel"  # the kernel's direct mapping
    NON_CANONICAL = "non-canonical"
    WRAPPING = "wrapping"  # ends beyond the highest address


class Access(StrEnum):
    """What the kernel does at a pointer."""

    READS = "reads"
    WRITES = "writes"
    BOTH = "reads and writes"
    PINS = "pins"  # get_user_pages with FOLL_WRITE, from the page of the address on


READABLE = frozenset({Pointer.GOOD, Pointer.UNALIGNED, Pointer.READ_ONLY})
WRITABLE = frozenset({Pointer.GOOD, Pointer.UNALIGNED})

DIRECT_MAPPING = 0xFFFF888000000000
"""__PAGE_OFFSET_BASE_L4 (arch/x86/include/asm/page_64_types.h)."""

BROKEN_ADDRESS = 0x8000000000000000
"""Between the halves of the address space: not canonical with 4 or 5 levels of page tables."""


def usable(pointer: Pointer, access: Access) -> bool:
    """Return whether the kernel can do what it does at such a pointer."""
    return pointer in (READABLE if access is Access.READS else WRITABLE)
