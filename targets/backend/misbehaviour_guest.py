# SPDX-License-Identifier: GPL-2.0-or-later
"""Misbehaviour of a backend: a wrong answer, or a command carried out wrongly.

Runs in the guest; stdlib only. Shared by the backends; each calls ``pick`` when it carries a READ
or WRITE out. Commands of the test, in addition to those of targets.backend.control_guest:

=========  ===================================================================
do         arguments and effect
=========  ===================================================================
misbehave  how (a How), count, opcodes (list or null: any), direction (write,
           read or null: any), medium (misread only: the file of another LUN):
           carry the next ``count`` matching READs and WRITEs out wrongly, in
           this way
behave     carry commands out correctly again
=========  ===================================================================

Every command carried out wrongly is an event ``lied`` (the name in recorded histories): how,
handle, opcode, direction, lba, bytes.
A ``release`` after ``behave`` carries a dropped command out after all, so that the device can be
removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from targets.backend.control_guest import Events
from targets.backend.disk import Access, RamDisk


class How(StrEnum):
    """Ways to carry a READ or WRITE out wrongly."""

    CORRUPT = "corrupt"  # one byte is changed once the WRITE's data are on the medium
    SWAP = "swap"  # its data and those of an earlier WRITE change places
    MISREAD = "misread"  # the READ gets an earlier WRITE's data, or another LUN's
    DROP = "drop"  # it is neither carried out nor answered
    TWICE = "twice"  # it is answered a second time
    SKIP = "skip"  # the WRITE is answered with GOOD, and nothing is written


WRITES = frozenset({How.CORRUPT, How.SWAP, How.SKIP})
"""Ways that apply to a WRITE only."""

CORRUPT_AT = 300
"""Offset of the byte that is changed: in the data's first block, not at its edge."""


@dataclass
class Misbehaviour:
    """One order to carry ``count`` commands out wrongly.

    ``done``: number of commands already carried out wrongly for it.
    """

    how: How
    count: int
    opcodes: frozenset[int] | None
    direction: str | None
    medium: str | None
    done: int = 0

    def matches(self, opcode: int, direction: str) -> bool:
        """Return whether the order applies to a command."""
        return (
            self.done < self.count
            and (self.opcodes is None or opcode in self.opcodes)
            and (self.direction is None or direction == self.direction)
        )


class Misbehaviours:
    """The orders to misbehave, and their effects on the disk.

    ``armed``: whether there are any orders.
    """

    def __init__(self, channel: Events, disk: RamDisk) -> None:
        self.armed = False
        self._channel = channel
        self._disk = disk
        self._orders: list[Misbehaviour] = []
        self._written: Access | None = None

    def order(
        self, how: str, count: int, opcodes: list[int] | None = None,
        direction: str | None = None, medium: str | None = None,
    ) -> None:
        """Accept an order: the handler of the ``misbehave`` command."""
        way = How(how)
        only = "write" if way in WRITES else "read" if way is How.MISREAD else direction
        if direction not in (None, only):
            raise ValueError(f"{how} is done to a {only} only")
        self._orders.append(Misbehaviour(
            way, count, None if opcodes is None else frozenset(opcodes), only, medium))
        self.armed = True

    def stop(self) -> None:
        """Forget all orders: the handler of the ``behave`` command."""
        self._orders.clear()
        self._written = None
        self.armed = False

    def pick(self, handle: int, opcode: int, access: Access | None) -> Misbehaviour | None:
        """Return the order that applies to a command, and count the command.

        None: carry the command out correctly.
        """
        if access is None or not access.length:
            return None
        for order in self._orders:
            if order.matches(opcode, access.direction) and self._possible(order, access):
                order.done += 1
                self._channel.emit(
                    "lied", how=order.how, handle=handle, opcode=opcode,
                    direction=access.direction, lba=access.lba, bytes=access.length)
                self._channel.flush()
                return order
        if access.direction == "write":
            self._written = access
        return None

    def _possible(self, order: Misbehaviour, access: Access) -> bool:
        """Return whether the order can be met: some need another WRITE of the same length."""
        if order.how not in (How.SWAP, How.MISREAD) or order.medium is not None:
            return True
        other = self._written
        return other is not None and other.length == access.length and (
            other.end <= access.offset or access.end <= other.offset)

    def spoil(self, order: Misbehaviour | None, access: Access) -> None:
        """Apply an order's effect to the medium once a WRITE's data are there."""
        if order is None:
            return
        data = self._disk.data
        if order.how is How.CORRUPT:
            data[access.offset + CORRUPT_AT % access.length] ^= 0xFF
        elif order.how is How.SWAP:
            other = self._written
            assert other is not None
            mine = bytes(data[access.offset:access.end])
            data[access.offset:access.end] = data[other.offset:other.end]
            data[other.offset:other.end] = mine

    def source(self, order: Misbehaviour | None, access: Access) -> memoryview:
        """Return the data that a READ returns."""
        if order is None or order.how is not How.MISREAD:
            return self._disk.data[access.offset:access.end]
        if order.medium is not None:
            with Path(order.medium).open("rb") as other_lun:
                other_lun.seek(access.offset)
                return memoryview(other_lun.read(access.length).ljust(access.length, b"\0"))
        assert self._written is not None
        return self._disk.data[self._written.offset:self._written.end]
