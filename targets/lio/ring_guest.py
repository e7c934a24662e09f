# SPDX-License-Identifier: GPL-2.0-or-later
"""TCMU's shared memory: the mailbox and the command ring (uapi/linux/target_core_user.h).

Runs in the guest; stdlib only. Accesses memory only, so it works on any buffer. Commands are read
ahead of the ring's tail by a private pointer, so a held command blocks no other; they may be
completed in any order (TCMU_MAILBOX_FLAG_CAP_OOOC).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

from targets.backend.witness_guest import Witness
from targets.lio.ring_rules_guest import RingRules

MAILBOX_VERSION = 2
FLAG_CAP_OOOC = 1 << 0
FLAG_CAP_READ_LEN = 1 << 1
FLAG_CAP_TMR = 1 << 2

# struct tcmu_mailbox
CMDR_OFF = 4
CMDR_SIZE = 8
CMD_HEAD = 12
CMD_TAIL = 64
MAILBOX_SIZE = 128

# struct tcmu_cmd_entry_hdr
OP_PAD, OP_CMD, OP_TMR = range(3)
OP_MASK = 0x7
CMD_ID = 4
UFLAG_READ_LEN = 0x2

# struct tcmu_cmd_entry
IOV_CNT = 8
CDB_OFF = 24
IOV = 48
RSP_SENSE_BUFFER = 16
SENSE_BUFFERSIZE = 96

# struct tcmu_tmr_entry
TMR_CMD_CNT = 12
TMR_CMD_IDS = 32

TMR_NAMES = {
    1: "ABORT TASK", 2: "ABORT TASK SET", 3: "CLEAR ACA", 4: "CLEAR TASK SET", 5: "LUN RESET",
    6: "TARGET WARM RESET", 7: "TARGET COLD RESET", 128: "LUN RESET PRO",
}

CDB_SIZE = 16
"""Bytes of a CDB that are copied: the longest CDB of this project's backends. Shorter CDBs are
followed by zeros (queue_cmd_ring clears the entry)."""

_ENTRY = struct.Struct("=IHBBII8xQ")
"""len_op, cmd_id, kflags, uflags, iov_cnt, iov_bidi_cnt, cdb_off."""
_RESPONSE = struct.Struct("=HxBB3xI")  # from CMD_ID: cmd_id, uflags, scsi_status, read_len
_TMR = struct.Struct("=B3xI")  # from 8: tmr_type, cmd_cnt


class Command(NamedTuple):
    """A SCSI command. ``iov``: its data, as (offset, length) pairs in the shared memory."""

    cmd_id: int
    cdb: bytes
    iov: tuple[tuple[int, int], ...]


class TaskManagement(NamedTuple):
    """A task management request reported by the kernel, and the commands that it aborts."""

    kind: int
    cmd_ids: tuple[int, ...]


class BrokenRingError(Exception):
    """The ring has impossible contents: another process has moved it."""


class Ring:
    """The command ring in ``area``, the whole shared memory.

    Raises BrokenRingError when the mailbox has another version or cannot complete commands out of
    order.
    """

    def __init__(self, area: memoryview | mmap.mmap | bytearray) -> None:
        version, flags = struct.unpack_from("=HH", area)
        if version != MAILBOX_VERSION or not flags & FLAG_CAP_OOOC:
            raise BrokenRingError(f"mailbox version {version}, flags {flags:#x}")
        self._has_read_len = bool(flags & FLAG_CAP_READ_LEN)
        self.area = memoryview(area).cast("B")
        # One aligned 32-bit access each, which the kernel never sees half-done; struct's standard
        # sizes would store byte by byte.
        self._words = self.area[:MAILBOX_SIZE].cast("I")
        self._start = self._words[CMDR_OFF // 4]
        self._size = self._words[CMDR_SIZE // 4]
        self._next = self._tail = self._words[CMD_TAIL // 4]
        self._head = self._words[CMD_HEAD // 4]
        self._inherited = (self._head - self._tail) % max(self._size, 1)
        self._rules: RingRules | None = None

    def watch(self, witness: Witness) -> None:
        """Compare the kernel's messages with the interface from now on."""
        self._rules = RingRules(witness, start=self._start, size=self._size, end=len(self.area))
        if self._inherited:
            self._rules.inherit()

    def provoke(self) -> None:
        """Note that a command is about to be completed a second time."""
        if self._rules is not None:
            self._rules.provoke()

    def close(self) -> None:
        """Release the memory."""
        if self._rules is not None:
            self._rules.end()
        self._words.release()
        self.area.release()

    def pointers(self) -> dict[str, int]:
        """Return the ring's pointers.

        ``cmd_head``: the kernel writes there next; ``cmd_tail``, ``read``: entries up to there are
        answered or read; ``size``: bytes of the ring.
        """
        return {"cmd_head": self._words[CMD_HEAD // 4], "cmd_tail": self._words[CMD_TAIL // 4],
                "read": self._next, "size": self._size}

    def take(self) -> Iterator[Command | TaskManagement]:
        """Yield the entries that have arrived."""
        while self._next != (head := self._words[CMD_HEAD // 4]):
            at, position = self._start + self._next, self._next
            len_op, cmd_id, kflags, uflags, *_ = _ENTRY.unpack_from(self.area, at)
            length, operation = len_op & ~OP_MASK, len_op & OP_MASK
            if self._rules is not None:
                if head != self._head:
                    self._rules.mailbox(head=head, tail=self._words[CMD_TAIL // 4],
                                        read=position, written_tail=self._tail)
                self._rules.entry(at=position, head=head, length=length, operation=operation,
                                  cmd_id=cmd_id, flags=(kflags, uflags))
            self._head = head
            self._next = self._after(position, len_op)
            inherited = self._inherited > 0
            self._inherited -= length if inherited else 0
            if operation == OP_CMD:
                yield self._command(at, inherited)
            elif operation == OP_TMR:
                yield self._task_management(at)

    def _command(self, at: int, inherited: bool) -> Command:
        _, cmd_id, _, _, iov_cnt, bidi_cnt, cdb_off = _ENTRY.unpack_from(self.area, at)
        flat = struct.unpack_from(f"={2 * (iov_cnt + bidi_cnt)}Q", self.area, at + IOV)
        iov = tuple(zip(flat[::2], flat[1::2], strict=True))
        # The backend before may have completed a command in the entry of an older one: entries that
        # it left do not show which commands are outstanding.
        if self._rules is not None and not inherited:
            self._rules.command(cmd_id, cdb_off, iov)
        return Command(cmd_id, bytes(self.area[cdb_off:cdb_off + CDB_SIZE]), iov[:iov_cnt])

    def _task_management(self, at: int) -> TaskManagement:
        kind, count = _TMR.unpack_from(self.area, at + 8)
        cmd_ids = struct.unpack_from(f"={count}H", self.area, at + TMR_CMD_IDS)
        if self._rules is not None:
            self._rules.task_management(kind, kind in TMR_NAMES, cmd_ids)
        return TaskManagement(kind, cmd_ids)

    def _after(self, position: int, len_op: int) -> int:
        """Return the position after an entry."""
        length = len_op & ~OP_MASK
        if not length or length > self._size:
            raise BrokenRingError(f"an entry of {length} bytes at {position}")
        return (position + length) % self._size

    def complete(
        self, cmd_id: int, status: int, sense: bytes = b"", read_len: int | None = None
    ) -> None:
        """Answer a command that was taken, in the oldest entry that has no answer yet.

        ``read_len``: bytes of data for the initiator when they are fewer than it has room for.
        """
        self.skip()
        at = self._start + self._tail
        len_op = self._len_op(self._tail)
        if self._tail == self._next or len_op & OP_MASK != OP_CMD:
            raise BrokenRingError(f"no entry to answer command {cmd_id} in")
        if self._rules is not None:
            self._rules.completed(cmd_id)
        flags = UFLAG_READ_LEN if read_len and self._has_read_len else 0
        _RESPONSE.pack_into(self.area, at + CMD_ID, cmd_id, flags, status, read_len or 0)
        if sense:
            sense = sense[:SENSE_BUFFERSIZE].ljust(SENSE_BUFFERSIZE, b"\0")
            self.area[at + RSP_SENSE_BUFFER:at + RSP_SENSE_BUFFER + SENSE_BUFFERSIZE] = sense
        self._move_tail(self._after(self._tail, len_op))

    def skip(self) -> None:
        """Advance the tail over taken entries that are not commands."""
        tail = self._tail
        while tail != self._next and (len_op := self._len_op(tail)) & OP_MASK != OP_CMD:
            tail = self._after(tail, len_op)
        if tail != self._tail:
            self._move_tail(tail)

    def _len_op(self, position: int) -> int:
        length_and_operation: int
        length_and_operation, = struct.unpack_from("=I", self.area, self._start + position)
        return length_and_operation

    def _move_tail(self, tail: int) -> None:
        self._tail = self._words[CMD_TAIL // 4] = tail
