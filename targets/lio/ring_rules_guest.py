# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of TCMU's ring that the kernel keeps towards a backend (uapi target_core_user.h).

Runs in the guest; stdlib only. ``RingRules`` compares the mailbox and each entry as it is read.
Legal, and no breach: a task management notification that lists commands which have been answered in
the meantime; an identifier that is used again once its command was answered, late or not
(tcmu_check_expired_ring_cmd frees neither identifier nor data of a timed-out command).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from targets.backend.witness_guest import Witness

SOURCE = "target_core_user.h"

ALIGNED = 8
"""TCMU_OP_ALIGN_SIZE: entries begin and end at multiples of it."""

OPERATIONS = ("PAD", "CMD", "TMR")
"""TCMU_OP_*."""

Iovec = Sequence[tuple[int, int]]


class RingRules:
    """Compares one ring.

    ``start``, ``size``: of the command ring; ``end``: of the shared memory; in bytes.
    """

    def __init__(self, witness: Witness, *, start: int, size: int, end: int) -> None:
        self._witness = witness
        self._start, self._size, self._end = start, size, end
        self._data = start + size
        self._outstanding: dict[int, Iovec] = {}
        self._pieces: list[tuple[int, int, int]] = []  # (begin, end, cmd_id), sorted
        self._seen: set[int] = set()
        self._provoked = False
        self._inherits = False

    def inherit(self) -> None:
        """Note that a backend before this one has received commands of the ring."""
        self._inherits = True

    def provoke(self) -> None:
        """Note a wrong completion: what the kernel does with the ring from now on follows from it.

        It no longer knows the commands (TCMU_DEV_BIT_BROKEN).
        """
        self._provoked = True

    def end(self) -> None:
        """Emit the final numbers: the device is closed."""
        self._witness.end()

    def _breach(self, rule: str, cmd_id: int | None, seen: str, allowed: str, point: str = ""
                ) -> None:
        self._witness.breach(rule, cmd_id, seen, allowed, point=point, provoked=self._provoked)

    def mailbox(self, *, head: int, tail: int, read: int, written_tail: int) -> None:
        """Compare the pointers. ``read``: of the entries; ``written_tail``: as it was stored."""
        if tail != written_tail:
            self._breach("ring-tail", None, f"cmd_tail {tail}", f"{written_tail}, the backend's",
                         "mailbox")
        if head >= self._size or head % ALIGNED:
            self._breach("ring-head", None, f"cmd_head {head}", f"a multiple of {ALIGNED} below "
                         f"{self._size}, the ring's size", "mailbox")
        elif (head - written_tail) % self._size < (read - written_tail) % self._size:
            self._breach("ring-head", None, f"cmd_head {head}, behind {read}",
                         "cmd_head moves forward only", "mailbox")

    def entry(self, *, at: int, head: int, length: int, operation: int, cmd_id: int,
              flags: tuple[int, int]) -> None:
        """Compare an entry's header. ``at``: its offset in the ring; ``flags``: kflags, uflags."""
        self._witness.watch()
        if not length or length % ALIGNED or length > (head - at) % self._size \
                or at + length > self._size:
            self._breach("entry-length", cmd_id, f"an entry of {length} bytes at {at}, with "
                         f"cmd_head {head}", f"a multiple of {ALIGNED} up to cmd_head and the "
                         f"ring's end, {self._size}", "entry")
        if operation >= len(OPERATIONS):
            self._breach("entry-operation", cmd_id, f"operation {operation}",
                         "TCMU_OP_PAD, TCMU_OP_CMD or TCMU_OP_TMR", "entry")
        if any(flags):
            self._breach("entry-flags", cmd_id, f"kflags {flags[0]:#x}, uflags {flags[1]:#x}",
                         "0: the backend sets uflags, and there are no kflags", "entry")

    def command(self, cmd_id: int, cdb_off: int, iov: Iovec) -> None:
        """Compare a command; it is outstanding until ``completed``."""
        if cmd_id in self._outstanding:
            self._breach("handle-twice", cmd_id, "the cmd_id of a command that is not completed",
                         "once", "CMD")
            self.completed(cmd_id)
        if not self._start <= cdb_off < self._data:
            self._breach("cdb-place", cmd_id, f"cdb_off {cdb_off}",
                         f"in the command ring, {self._start} to {self._data - 1}", "CMD")
        for offset, length in iov:
            self._piece(cmd_id, offset, offset + length)
        self._outstanding[cmd_id] = iov
        self._seen.add(cmd_id)

    def _piece(self, cmd_id: int, begin: int, end: int) -> None:
        """Compare a part of a command's data, and keep it."""
        if not self._data <= begin < end <= self._end:
            self._breach("data-place", cmd_id, f"iov {begin} to {end}",
                         f"in the data area, {self._data} to {self._end}", "CMD")
        pieces, piece = self._pieces, (begin, end, cmd_id)
        at = bisect_left(pieces, piece)
        for other_begin, other_end, other in pieces[max(at - 1, 0):at + 1]:
            if other_begin < end and begin < other_end:
                self._breach("data-overlap", cmd_id, f"iov {begin} to {end}, of which command "
                             f"{other} has {other_begin} to {other_end}",
                             "data that no other command has", "CMD")
        insort(pieces, piece)

    def completed(self, cmd_id: int) -> None:
        """Note that a command is about to be completed."""
        for offset, length in self._outstanding.pop(cmd_id, ()):
            at = bisect_left(self._pieces, (offset, offset + length, cmd_id))
            del self._pieces[at:at + 1]

    def task_management(self, kind: int, known: bool, cmd_ids: Sequence[int]) -> None:
        """Compare a notification. ``known``: whether the header has the function ``kind``."""
        if not known:
            self._breach("field-value", None, f"tmr_type {kind}", "TCMU_TMR_*", "TMR")
        unknown = [cmd_id for cmd_id in cmd_ids if cmd_id not in self._seen]
        if unknown and not self._inherits:
            self._breach("handle-unknown", unknown[0], f"{len(unknown)} of {len(cmd_ids)} cmd_ids "
                         "that were never received", "identifiers of commands", "TMR")
