# SPDX-License-Identifier: GPL-2.0-or-later
"""I/Os that the initiator's kernel sends again and again, although each command ends with GOOD.

A residual in the response of a command that transferred everything makes the SCSI midlayer take
the I/O for unfinished (scsi_io_completion, drivers/scsi/scsi_lib.c): it sends the rest once more,
and, as that has a residual, too, never ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from results.block_io import Io
from results.history import Event, History

LEAST = 10
"""Commands of an I/O from which it counts as sent again and again."""

GOOD = "SAM_STAT_GOOD"

DIRECTION = {0x28: "read", 0x2A: "write", 0x88: "read", 0x8A: "write"}
"""The block layer's operation by the operation code: READ and WRITE of 10 and of 16 bytes."""

BLOCKS = (512, 4096)
"""Sizes of logical blocks in bytes."""


@dataclass(frozen=True)
class Resent:
    """An I/O, and the number of its commands that ended with GOOD."""

    io: Io
    commands: int


Extent = tuple[str, int]
"""An operation, and the logical block after its last: the same for an I/O and its rest."""


def resent(history: History, ios: Sequence[Io]) -> Iterator[Resent]:
    """Yield the open I/Os of which LEAST or more commands ended with GOOD, the oldest first.

    A command has no disk in the record: the completed I/Os with the same end, of any disk, account
    for as many commands.
    """
    ended = list(_ended(history))
    for io in ios:
        if io.completed is not None:
            continue
        extents = {(io.op, _end(io) // size) for size in BLOCKS}
        commands = sum(time >= io.issued and extent in extents for time, extent in ended)
        others = sum(other.op == io.op and _end(other) == _end(io) and other.completed is not None
                     and other.completed >= io.issued for other in ios)
        if commands - others >= LEAST:
            yield Resent(io, commands - others)


def _end(io: Io) -> int:
    return io.sector * 512 + io.bytes


def _ended(history: History) -> Iterator[tuple[float, Extent]]:
    """Yield the times and extents of READs and WRITEs that ended with GOOD."""
    for event in history.select("scsi", "done"):
        if GOOD in str(event.data["result"]) and (extent := _extent(event)):
            yield event.time, extent


def _extent(event: Event) -> Extent | None:
    """Return the extent of a READ or WRITE; None for another command."""
    cdb = bytes.fromhex(str(event.data["cdb"]))
    direction = DIRECTION.get(cdb[0]) if cdb else None
    if direction is None:
        return None
    long = len(cdb) == 16
    block, count = (cdb[2:10], cdb[10:14]) if long else (cdb[2:6], cdb[7:9])
    return direction, int.from_bytes(block) + int.from_bytes(count)
