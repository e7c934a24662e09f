# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory that a scst_user backend lends to the kernel."""

from __future__ import annotations

import pytest

from targets.scst.user_guest.memory import CHUNK, PAGE, Memory


def test_buffers_are_page_aligned_and_large_enough() -> None:
    memory = Memory()
    for size in (1, PAGE, PAGE + 1, 3 * PAGE, 1 << 20, CHUNK + 1):
        address = memory.take(size)
        assert address % PAGE == 0
        assert len(memory.view(address)) >= size


def test_buffers_do_not_overlap() -> None:
    memory = Memory()
    buffers = {memory.take(2 * PAGE): bytes([number]) for number in range(200)}
    assert len(buffers) == 200
    for address, mark in buffers.items():
        memory.view(address)[:] = mark * 2 * PAGE
    assert all(memory.view(address) == mark * 2 * PAGE for address, mark in buffers.items())


def test_buffers_come_back() -> None:
    memory = Memory()
    address = memory.take(PAGE)
    assert memory.taken == 1
    memory.give(address)
    assert memory.taken == 0
    assert memory.take(PAGE) == address


def test_a_buffer_comes_back_once() -> None:
    memory = Memory()
    address = memory.take(PAGE)
    memory.give(address)
    with pytest.raises(KeyError):
        memory.give(address)


def test_an_abandoned_buffer_has_fresh_pages() -> None:
    memory = Memory()
    address = memory.take(PAGE)
    memory.view(address)[:] = b"x" * PAGE
    memory.abandon(address)
    assert memory.take(PAGE) == address
    assert memory.view(address) == bytes(PAGE)


def test_what_one_owner_has_can_be_forsaken() -> None:
    memory = Memory()
    mine, other = object(), object()
    lent, kept = [memory.take(PAGE, mine) for _ in range(3)], memory.take(PAGE, other)
    memory.view(lent[0])[:] = memory.view(kept)[:] = b"x" * PAGE
    memory.forsake(mine)
    assert memory.taken == 1
    assert memory.view(lent[0]) == bytes(PAGE)
    assert memory.view(kept) == b"x" * PAGE
