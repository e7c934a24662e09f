"""Lies: ways in which a backend answers what it did not do, or does what it was not asked.

Runs in the guest; stdlib only. Shared by the backends; each asks ``pick`` when it carries a
READ or WRITE out. Commands of the test, beside those of targets.backend.control_guest:

=======  =====================================================================
do       arguments and effect
=======  =====================================================================
lie      how (a How), count, opcodes (list or null: any), direction (write, read or
         null: any), medium (misread only: the file of another LUN): tell the
         next ``count`` matching READs and WRITEs this lie
truth    tell none any more
=======  =====================================================================

Every lie told is an event ``lied``: how, handle, opcode, direction, lba, bytes. A command that
was dropped is carried out after all by a ``release`` that follows ``truth``, so that the device
can be removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from targets.backend.control_guest import Events
from targets.backend.disk import Access, RamDisk


class How(StrEnum):
    """What is done to a READ or WRITE."""

    CORRUPT = "corrupt"  # one byte is changed once the WRITE's data are on the medium
    SWAP = "swap"  # its data and those of an earlier WRITE change places
    MISREAD = "misread"  # the READ gets an earlier WRITE's data, or another LUN's
    DROP = "drop"  # it is neither carried out nor answered
    TWICE = "twice"  # it is answered a second time
    SKIP = "skip"  # the WRITE is answered with GOOD, and nothing is written


WRITES = frozenset({How.CORRUPT, How.SWAP, How.SKIP})
"""What can only be done to a WRITE."""

CORRUPT_AT = 300
"""Offset of the byte that is changed: in the data's first block, not at its edge."""


@dataclass
class Lie:
    """One order to lie to ``count`` commands. ``carried_out``: how many were."""

    how: How
    count: int
    opcodes: frozenset[int] | None
    direction: str | None
    medium: str | None
    carried_out: int = 0

    def matches(self, opcode: int, direction: str) -> bool:
        """Tell whether a command is one of those to be lied to."""
        return (
            self.carried_out < self.count
            and (self.opcodes is None or opcode in self.opcodes)
            and (self.direction is None or direction == self.direction)
        )


class Lies:
    """The orders to lie, and the lies' effects on the disk. ``armed``: whether there are any."""

    def __init__(self, channel: Events, disk: RamDisk) -> None:
        self.armed = False
        self._channel = channel
        self._disk = disk
        self._orders: list[Lie] = []
        self._written: Access | None = None

    def order(
        self, how: str, count: int, opcodes: list[int] | None = None,
        direction: str | None = None, medium: str | None = None,
    ) -> None:
        """Take an order: the handler of the ``lie`` command."""
        way = How(how)
        only = "write" if way in WRITES else "read" if way is How.MISREAD else direction
        if direction not in (None, only):
            raise ValueError(f"{how} is done to a {only} only")
        self._orders.append(Lie(
            way, count, None if opcodes is None else frozenset(opcodes), only, medium))
        self.armed = True

    def stop(self) -> None:
        """Forget all orders: the handler of the ``truth`` command."""
        self._orders.clear()
        self._written = None
        self.armed = False

    def pick(self, handle: int, opcode: int, access: Access | None) -> Lie | None:
        """Return the lie that a command is to be told, and count it; None: it gets the truth."""
        if access is None or not access.length:
            return None
        for lie in self._orders:
            if lie.matches(opcode, access.direction) and self._possible(lie, access):
                lie.carried_out += 1
                self._channel.emit(
                    "lied", how=lie.how, handle=handle, opcode=opcode,
                    direction=access.direction, lba=access.lba, bytes=access.length)
                self._channel.flush()
                return lie
        if access.direction == "write":
            self._written = access
        return None

    def _possible(self, lie: Lie, access: Access) -> bool:
        """Tell whether there is what the lie takes: another WRITE of the same length."""
        if lie.how not in (How.SWAP, How.MISREAD) or lie.medium is not None:
            return True
        other = self._written
        return other is not None and other.length == access.length and (
            other.end <= access.offset or access.end <= other.offset)

    def spoil(self, lie: Lie | None, access: Access) -> None:
        """Do what a lie does to the medium once a WRITE's data are there."""
        if lie is None:
            return
        data = self._disk.data
        if lie.how is How.CORRUPT:
            data[access.offset + CORRUPT_AT % access.length] ^= 0xFF
        elif lie.how is How.SWAP:
            other = self._written
            assert other is not None
            mine = bytes(data[access.offset:access.end])
            data[access.offset:access.end] = data[other.offset:other.end]
            data[other.offset:other.end] = mine

    def source(self, lie: Lie | None, access: Access) -> memoryview:
        """Return the data that a READ gets."""
        if lie is None or lie.how is not How.MISREAD:
            return self._disk.data[access.offset:access.end]
        if lie.medium is not None:
            with Path(lie.medium).open("rb") as other_lun:
                other_lun.seek(access.offset)
                return memoryview(other_lun.read(access.length).ljust(access.length, b"\0"))
        assert self._written is not None
        return self._disk.data[self._written.offset:self._written.end]
