# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of scst_user that the kernel keeps towards a backend (scst_user_spec, scst_user.h).

Runs in the guest; stdlib only. ``Rules`` compares every subcommand of one device as it is received,
before its answer. The order of a command's subcommands is PARSE, ALLOC_MEM, EXEC or
EXT_COPY_REMAP, ON_FREE_CMD, each at most once, each answered before the next. Legal, and no breach:

- a task management function for a command that was never received: it may have been aborted on its
  way (dev_user_process_reply_tm_exec, scst_user.c); TASK_MGMT_DONE without TASK_MGMT_RECEIVED, for
  a session that was attached in between;
- ON_FREE_CMD without EXEC: the command was aborted, or SCST itself answered it;
- subcommands after UNREGISTER_DEVICE, which only unblocks the threads;
- DETACH_SESS before the ON_FREE_CMD of the session's last commands.

Two threads may receive two subcommands in one order and pass them on in the other. Only what the
kernel sends without waiting for an answer can change places: a DETACH_SESS, and the ATTACH_SESS of
a later session at the same address. Handles count up, so the later of the two is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from targets.backend.disk import Buffer
from targets.backend.witness_guest import Witness
from targets.scst import abi
from targets.scst.user_guest.memory import Memory
from targets.scst.user_guest.outputs import BODY, POISON, SHORT, outputs, poisoned, unwritten

SOURCE = "scst_user_spec, scst_user.h"

KEPT = 4096
"""Handles of ended commands that are remembered: to see one of them again is a breach."""

LATE = 3.0
"""Seconds after which a DETACH_SESS that another thread received has been passed on."""

HEAD = (0, abi.GetCmd, ("cmd_h", "subcode"))
parse_seen = abi.packing((BODY, abi.CmdParse, (
    "sess_h", "cdb", "cdb_len", "queue_type", "data_direction", "expected_values_set", "sn")))
alloc_seen = abi.packing((BODY, abi.CmdAllocMem, (
    "sess_h", "cdb", "cdb_len", "alloc_len", "queue_type", "data_direction", "sn")))
exec_seen = abi.packing((BODY, abi.CmdExec, (
    "sess_h", "cdb", "cdb_len", "lba", "data_len", "bufflen", "alloc_len", "pbuf", "queue_type",
    "data_direction", "partial", "sn")))
on_free_seen = abi.packing((BODY, abi.OnFreeCmd, (
    "pbuf", "buffer_cached", "aborted", "status", "delivery_status")))
cached_seen = abi.packing((BODY, abi.OnCachedMemFree, ("pbuf",)))
tm_seen = abi.packing((BODY, abi.Tm, ("sess_h", "fn", "cmd_sn_set")))
sess_seen = abi.packing((BODY, abi.Sess, ("sess_h", "rd_only", "initiator_name", "target_name")))
remap_seen = abi.packing((BODY, abi.ExtCopyRemap, ("sess_h",)))

STAGES: Mapping[str, int] = {
    "PARSE": 1, "ALLOC_MEM": 2, "EXEC": 3, "EXT_COPY_REMAP": 3, "ON_FREE_CMD": 4}

FIELDS: Mapping[str, str] = {"session": "sess_h", "cdb": "cdb", "sn": "sn"}
"""Fields that all subcommands of a command have in common, by their names in ``Known``."""

WRITES = abi.DataDirection.WRITE
DIRECTIONS = frozenset(map(int, abi.DataDirection)) - {int(abi.DataDirection.UNKNOWN)}
QUEUE_TYPES = range(5)
"""SCST_CMD_QUEUE_*, scst_const.h: untagged, simple, ordered, head of queue, ACA."""
STATUSES = frozenset({0x00, 0x02, 0x04, 0x08, 0x18, 0x28, 0x30, 0x40})
"""Status codes: SAM-5 5.3.1."""
DELIVERIES = frozenset({0, 0xFF, 0xFE})
"""SCST_CMD_DELIVERY_*, scst_const.h: success, failed, aborted."""
FUNCTIONS = frozenset(map(int, abi.TmFunction))

EXTENTS: Mapping[int, tuple[int, int, int]] = {
    0x28: (6, 7, 9), 0x2A: (6, 7, 9), 0x88: (10, 10, 14), 0x8A: (10, 10, 14)}
"""READ and WRITE, (10) and (16): end of the LBA, which begins at byte 2, and place of the TRANSFER
LENGTH in the CDB (SBC-4)."""


@dataclass
class Known:
    """A command that the kernel has sent.

    ``stage``: of its last subcommand; ``waiting``: name of the one without an answer, "" for none.
    ``buffer``: address of its buffer, 0 for none.
    """

    session: int
    cdb: bytes
    sn: int
    stage: int = 0
    waiting: str = ""
    buffer: int = 0


@dataclass
class Attached:
    """A session. ``handle``: of its ATTACH_SESS; ``used``: whether a command of it has come."""

    handle: int
    used: bool = False


@dataclass
class Shared:
    """Facts that the devices of one process share.

    ``users``: for each buffer the command that had it last. ``wrong``: addresses in wrong answers.
    """

    users: dict[int, tuple[Rules, int]] = field(default_factory=dict)
    wrong: set[int] = field(default_factory=set)


class Rules:
    """Compares a device's subcommands with the rules; not for several threads at once.

    ``block_size``: in bytes; 0 for a device type without logical blocks. ``foreign``: whether other
    processes may use the pool of buffers. ``parsed``: whether SCST has a parser for the type.
    """

    def __init__(
        self, witness: Witness, memory: Memory, shared: Shared, *, block_size: int = 0,
        foreign: bool = False, parsed: bool = True,
    ) -> None:
        self._witness, self._memory, self._shared = witness, memory, shared
        self._block_size, self._foreign, self._parsed = block_size, foreign, parsed
        self._options: Mapping[str, int] = {}
        self._parse_type, self._reports_end = int(abi.ParseType.STANDARD), True
        self._settled: bool | None = None
        self._gapless = True
        self._commands: dict[int, Known] = {}
        self._ended: dict[int, str] = {}
        self._others: dict[int, str] = {}
        self._sessions: dict[int, Attached] = {}
        self._doubted: dict[int, tuple[int, float]] = {}
        self._provoked: set[int] = set()
        self._checks: Mapping[str, Callable[[int, Buffer], None]] = {
            "PARSE": self._parse, "ALLOC_MEM": self._alloc_mem, "EXEC": self._exec,
            "ON_FREE_CMD": self._on_free_cmd, "ON_CACHED_MEM_FREE": self._on_cached_mem_free,
            "ATTACH_SESS": self._attach_sess, "DETACH_SESS": self._detach_sess,
            "TASK_MGMT_RECEIVED": self._task_mgmt, "TASK_MGMT_DONE": self._task_mgmt,
            "EXT_COPY_REMAP": self._ext_copy_remap}

    # facts from the device

    def use(self, options: Mapping[str, int]) -> None:
        """Use accepted options; a change leaves open which subcommands a command gets."""
        self._settled = self._settled is None
        self._options = dict(options)
        self._parse_type = options["parse_type"]
        self._reports_end = options["on_free_cmd_type"] == abi.OnFreeCmdType.CALL

    def overlook(self) -> None:
        """Note that subcommands pass which are not compared."""
        self._gapless = False
        self._commands.clear()
        self._others.clear()

    def provoke(self, handle: int, address: int | None = None) -> None:
        """Note a wrong answer to a command; ``address``: of the buffer in it."""
        self._provoked.add(handle)
        if address is not None:
            self._shared.wrong.add(address)

    def lent(self, handle: int, address: int) -> None:
        """Note the buffer that a command gets with its answer."""
        known = self._commands.get(handle)
        if known is not None and address:
            known.buffer = address
            self._shared.users[address] = (self, handle)

    def answered(self, handle: int) -> None:
        """Note that a subcommand is about to be answered."""
        known = self._commands.get(handle)
        if known is None:
            self._others.pop(handle, None)
            return
        point, known.waiting = known.waiting, ""
        if point == "ON_FREE_CMD" or (point == "EXEC" and not self._reports_end):
            self._end(handle, point)

    def forget(self) -> None:
        """Forget all commands and sessions: the descriptor is closed."""
        for table in (self._commands, self._ended, self._others, self._sessions, self._doubted):
            table.clear()
        self._witness.end()

    def uses(self, handle: int, address: int) -> bool:
        """Return whether a command has the buffer at ``address``, as far as is known.

        Without ON_FREE_CMD only until EXEC is answered.
        """
        known = self._commands.get(handle)
        return known is not None and known.buffer == address and bool(
            self._reports_end or known.waiting)

    # subcommands

    def received(self, point: str, handle: int, subcode: int, command: Buffer, preply: int) -> None:
        """Compare a subcommand.

        ``point``: its name. ``preply``: address of the reply in the same ioctl, 0 for none.
        """
        self._witness.watch()
        left = unwritten(command, subcode, preply)
        if left:
            self._breach("field-unwritten", handle, point,
                         f"{', '.join(left)} of {point} had the value from before the call",
                         "the kernel writes each output field")
        if self._doubted:
            self._judge_doubts()
        if point in STAGES:
            self._checks[point](handle, command)
            return
        if handle in self._others:
            self._breach("handle-twice", handle, point, f"{point} came while the "
                         f"{self._others[handle]} of that handle was unanswered", "once")
        self._others[handle] = point
        self._checks[point](handle, command)

    def not_lent(self, point: str, handle: int, address: int) -> None:
        """Report a buffer that this process has not lent."""
        if not self._foreign:
            self._breach("buffer-unknown", handle, point, f"pbuf {address:#x}",
                         "a buffer that the backend lent and did not get back",
                         provoked=address in self._shared.wrong)

    def unknown(self, handle: int, subcode: int) -> None:
        """Report a subcommand that the header does not have."""
        self._witness.watch()
        self._breach("subcode-unknown", handle, "", f"subcode {subcode:#x}",
                     "SCST_USER_ATTACH_SESS to SCST_USER_EXT_COPY_REMAP")

    # other ioctls

    def counts(self, given: int, done: int, fetched: int, room: int) -> int:
        """Compare the numbers that REPLY_AND_GET_MULTI returned with success.

        ``given``, ``room``: of replies, and of subcommands at most. Returns the number of
        subcommands that there are.
        """
        if done != given:
            self._number("replies_done", done, f"{given}, the replies_cnt")
        if 0 <= fetched <= room:
            return fetched
        self._number("cmds_cnt", fetched, f"0 to {room}, the room for subcommands")
        return 0

    def accepted(self, given: int, done: int, fetched: int, *, all_of_them: bool) -> int:
        """Compare the numbers that REPLY_AND_GET_MULTI returned with an error.

        ``all_of_them``: the error is that no subcommand came, else that a reply was refused.
        Returns the number of accepted replies.
        """
        least, most = (given, given) if all_of_them else (0, given - 1)
        if fetched:
            self._number("cmds_cnt", fetched, "0 with an error")
        if least <= done <= most:
            return done
        self._number("replies_done", done, f"{least} to {most}, of {given} replies")
        return least

    def _number(self, name: str, value: int, allowed: str) -> None:
        rule = "field-unwritten" if value == SHORT else "field-value"
        self._witness.breach(rule, None, f"{name} {value}", allowed, point="REPLY_AND_GET_MULTI")

    def options(self, returned: abi.Opt) -> None:
        """Compare the options that GET_OPTIONS returned with those that were set."""
        left = poisoned(bytes(returned), tuple(outputs(abi.Opt)))
        if left:
            self._witness.breach("field-unwritten", None, f"{', '.join(left)} had the value from "
                                 "before the call", "the kernel writes each output field",
                                 point="GET_OPTIONS")
        for name, wanted in self._options.items():
            value = getattr(returned, name)
            if value != wanted and name not in left and (self._parsed or name != "parse_type"):
                self._witness.breach("field-value", None, f"{name} {value}",
                                     f"{wanted}, as it was set", point="GET_OPTIONS")

    def preallocated(self, handle: int, address: int) -> None:
        """Compare the handle that PREALLOC_BUFFER returned for a buffer."""
        if handle == address & 0xFFFFFFFF:
            self._witness.breach("field-unwritten", handle, f"cmd_h {handle}, the low half of "
                                 "pbuf", "a handle", point="PREALLOC_BUFFER")
        elif handle in self._commands or handle in self._ended or handle in self._others:
            self._witness.breach("handle-twice", handle, f"cmd_h {handle} for a buffer",
                                 "a handle that no command has", point="PREALLOC_BUFFER")

    def extended(self, handle: int, room: bytes) -> None:
        """Compare the bytes that GET_EXTENDED_CDB returned."""
        if room.count(POISON) == len(room):
            self._breach("field-unwritten", handle, "GET_EXTENDED_CDB", f"{len(room)} bytes of "
                         "ext_cdb_buffer had the value from before the call",
                         "the CDB's bytes from the 17th on")

    def _breach(self, rule: str, handle: int, point: str, seen: str, allowed: str, *,
                provoked: bool = False) -> None:
        self._witness.breach(rule, handle, seen, allowed, point=point,
                             provoked=provoked or handle in self._provoked)

    def _field(self, handle: int, point: str, name: str, value: int, allowed: str) -> None:
        self._breach("field-value", handle, point, f"{name} {value}", allowed)

    # order

    def _step(self, point: str, handle: int, session: int, cdb: bytes = b"", sn: int = 0) -> Known:
        """Return the command of a subcommand, moved on to that; report a wrong order."""
        known, stage = self._commands.get(handle), STAGES[point]
        if known is None:
            known = self._first(point, handle, session, cdb, sn)
        elif known.waiting:
            rule = "handle-twice" if known.waiting == point else "order"
            self._breach(rule, handle, point, f"{point} came while the {known.waiting} of that "
                         "handle was unanswered", "once, and after the answer")
        elif stage <= known.stage and point != "EXT_COPY_REMAP":
            self._breach("order", handle, point, f"{point} came after stage {known.stage} of "
                         "PARSE (1), ALLOC_MEM (2), EXEC (3), ON_FREE_CMD (4)", "in this order")
        known.stage, known.waiting = stage, point
        return known

    def _first(self, point: str, handle: int, session: int, cdb: bytes, sn: int) -> Known:
        """Return the entry of a command whose first subcommand this is."""
        ended = self._ended.get(handle)
        if ended:
            self._breach("handle-twice", handle, point, f"{point} came after the answer to the "
                         f"{ended} of that handle", f"no subcommand after {ended}")
        elif point == "ON_FREE_CMD":
            if self._gapless:
                self._breach("handle-unknown", handle, point, "ON_FREE_CMD of a handle that was "
                             "never received", "only commands that the backend received")
        elif self._settled and self._gapless and self._parsed and point != "PARSE" \
                and self._parse_type == abi.ParseType.CALL:
            self._breach("order", handle, point, f"{point} without PARSE",
                         "PARSE first, with parse_type SCST_USER_PARSE_CALL")
        if len(self._commands) >= KEPT:
            self._evict()
        known = self._commands[handle] = Known(session, cdb, sn)
        return known

    def _evict(self) -> None:
        """Forget the oldest command that waits for nothing: it was aborted without a notice."""
        oldest = next((handle for handle, known in self._commands.items() if not known.waiting),
                      next(iter(self._commands)))
        del self._commands[oldest]

    def _end(self, handle: int, point: str) -> None:
        del self._commands[handle]
        self._ended[handle] = point
        if len(self._ended) > KEPT:
            del self._ended[next(iter(self._ended))]

    def _changed(self, handle: int, known: Known, now: Known) -> None:
        """Report values that differ from those of the command's earlier subcommands."""
        for name in ("session", "cdb", "sn"):
            before, value = getattr(known, name), getattr(now, name)
            if before != value:
                self._breach("field-changed", handle, known.waiting,
                             f"{FIELDS[name]} {_shown(value)}",
                             f"{_shown(before)}, as in the command's earlier subcommand")
                setattr(known, name, value)

    def _common(self, point: str, handle: int, session: int, cdb: bytes, length: int,  # noqa: PLR0917
                queue_type: int, direction: int, sn: int) -> Known:
        """Compare the fields that PARSE, ALLOC_MEM and EXEC have in common."""
        cdb = cdb[:length]
        known = self._step(point, handle, session, cdb, sn)
        if known.cdb != cdb or known.session != session or known.sn != sn:
            self._changed(handle, known, Known(session, cdb, sn))
        self._of_session(point, handle, session)
        if not length:
            self._field(handle, point, "cdb_len", length, "at least 1")
        if queue_type not in QUEUE_TYPES:
            self._field(handle, point, "queue_type", queue_type, "SCST_CMD_QUEUE_*, 0 to 4")
        if direction not in DIRECTIONS and (direction or point != "PARSE"):
            self._field(handle, point, "data_direction", direction, "SCST_DATA_*, 1 to 4")
        return known

    # the subcommands' fields

    def _parse(self, handle: int, command: Buffer) -> None:
        session, cdb, length, queue_type, direction, expected, sn = parse_seen.unpack_from(command)
        self._common("PARSE", handle, session, cdb, length, queue_type, direction, sn)
        if expected > 1:
            self._field(handle, "PARSE", "expected_values_set", expected, "0 or 1")
        if self._settled and self._parsed and self._parse_type == abi.ParseType.STANDARD:
            self._breach("order", handle, "PARSE", "PARSE came",
                         "none, with parse_type SCST_USER_PARSE_STANDARD")

    def _alloc_mem(self, handle: int, command: Buffer) -> None:
        session, cdb, length, size, queue_type, direction, sn = alloc_seen.unpack_from(command)
        self._common("ALLOC_MEM", handle, session, cdb, length, queue_type, direction, sn)
        if size <= 0:
            self._field(handle, "ALLOC_MEM", "alloc_len", size, "above 0")

    def _exec(self, handle: int, command: Buffer) -> None:
        (session, cdb, cdb_length, lba, data_length, length, size, pbuf, queue_type, direction,
         partial, sn) = exec_seen.unpack_from(command)
        known = self._common("EXEC", handle, session, cdb, cdb_length, queue_type, direction, sn)
        if length < 0 or partial:
            self._field(handle, "EXEC", "partial" if partial else "bufflen", partial or length,
                        "0" if partial else "not negative")
        if pbuf:
            self._buffer("EXEC", handle, pbuf)
            self._taken_up(handle, pbuf)
            known.buffer = pbuf
        elif length > 0 and direction & WRITES:
            self._breach("buffer-missing", handle, "EXEC", "pbuf 0 of a WRITE",
                         "the buffer with its data, from ALLOC_MEM or the cache")
        elif length > 0 and direction != abi.DataDirection.NONE and size < length:
            self._field(handle, "EXEC", "alloc_len", size, f"at least bufflen, {length}")
        if not length and direction != abi.DataDirection.NONE:
            self._field(handle, "EXEC", "bufflen", length,
                        f"above 0, with data_direction {direction}")
        self._extent(handle, cdb, lba, data_length)

    def _extent(self, handle: int, cdb: bytes, lba: int, data_length: int) -> None:
        """Compare the LBA and the length of a READ or WRITE with its CDB."""
        place = EXTENTS.get(cdb[0]) if cdb else None
        if place is None or not self._block_size:
            return
        end, start, stop = place
        blocks = int.from_bytes(cdb[start:stop], "big")
        block, size = int.from_bytes(cdb[2:end], "big"), blocks * self._block_size
        if lba != block:
            self._field(handle, "EXEC", "lba", lba, f"{block}, as in the CDB")
        if data_length != size:
            self._field(handle, "EXEC", "data_len", data_length, f"{size}, as in the CDB")

    def _on_free_cmd(self, handle: int, command: Buffer) -> None:
        pbuf, cached, aborted, status, delivery = on_free_seen.unpack_from(command)
        known = self._step("ON_FREE_CMD", handle, 0)
        if cached > 1 or aborted > 1:
            self._field(handle, "ON_FREE_CMD", *(
                ("buffer_cached", cached) if cached > 1 else ("aborted", aborted)), "0 or 1")
        if status not in STATUSES:
            self._field(handle, "ON_FREE_CMD", "status", status, "a status code of SAM")
        if delivery not in DELIVERIES:
            self._field(handle, "ON_FREE_CMD", "delivery_status", delivery,
                        "SCST_CMD_DELIVERY_*")
        if self._settled and not self._reports_end:
            self._breach("order", handle, "ON_FREE_CMD", "ON_FREE_CMD came",
                         "none, with on_free_cmd_type SCST_USER_ON_FREE_CMD_IGNORE")
        if pbuf and known.buffer and pbuf != known.buffer:
            self._breach("buffer-other", handle, "ON_FREE_CMD", f"pbuf {pbuf:#x}",
                         f"{known.buffer:#x}, the command's buffer")
        elif pbuf:
            self._buffer("ON_FREE_CMD", handle, pbuf)

    def _on_cached_mem_free(self, handle: int, command: Buffer) -> None:
        pbuf, = cached_seen.unpack_from(command)
        user = self._shared.users.pop(pbuf, None)
        if user is not None and user[0].uses(user[1], pbuf):
            self._breach("buffer-in-use", handle, "ON_CACHED_MEM_FREE",
                         f"the buffer {pbuf:#x} of command {user[1]}, which is not freed",
                         "buffers that no command has", provoked=self._is_wrong(pbuf, *user))

    def _ext_copy_remap(self, handle: int, command: Buffer) -> None:
        session, = remap_seen.unpack_from(command)
        self._step("EXT_COPY_REMAP", handle, session)
        self._of_session("EXT_COPY_REMAP", handle, session)

    def _task_mgmt(self, handle: int, command: Buffer) -> None:
        session, function, sn_set = tm_seen.unpack_from(command)
        point = self._others[handle]
        self._of_session(point, handle, session)
        if function not in FUNCTIONS:
            self._field(handle, point, "fn", function, "SCST_ABORT_TASK to SCST_PR_ABORT_ALL")
        if sn_set > 1:
            self._field(handle, point, "cmd_sn_set", sn_set, "0 or 1")

    # buffers

    def _buffer(self, point: str, handle: int, address: int) -> None:
        if not self._memory.lent(address):
            self.not_lent(point, handle, address)

    def _taken_up(self, handle: int, address: int) -> None:
        """Report a buffer that another command has; this command has it now."""
        user = self._shared.users.get(address)
        if user is not None and user != (self, handle) and user[0].uses(user[1], address):
            self._breach("buffer-in-use", handle, "EXEC",
                         f"pbuf {address:#x}, the buffer of command {user[1]}, which is not freed",
                         "a buffer that no other command has",
                         provoked=self._is_wrong(address, *user))
        self._shared.users[address] = (self, handle)

    def _is_wrong(self, address: int, owner: Rules, handle: int) -> bool:
        return address in self._shared.wrong or handle in owner._provoked

    # sessions

    def _of_session(self, point: str, handle: int, session: int) -> None:
        attached = self._sessions.get(session)
        if attached is None:
            self._breach("session-unknown", handle, point, f"sess_h {session:#x}",
                         "a session between its ATTACH_SESS and its DETACH_SESS")
        else:
            attached.used = True

    def _attach_sess(self, handle: int, command: Buffer) -> None:
        session, read_only, initiator, target = sess_seen.unpack_from(command)
        if not session or read_only > 1:
            self._field(handle, "ATTACH_SESS", "rd_only" if session else "sess_h",
                        read_only if session else session, "0 or 1" if session else "not 0")
        for name, value in (("initiator_name", initiator), ("target_name", target)):
            if not value[0] or 0 not in value:
                self._breach("field-value", handle, "ATTACH_SESS",
                             f"{name} {bytes(value[:16])!r}", "a name that ends with a zero byte")
        before = self._sessions.get(session)
        if before is not None and before.used:
            self._doubted[session] = (handle, time.monotonic())
        self._sessions[session] = Attached(handle)

    def _detach_sess(self, handle: int, command: Buffer) -> None:
        session, *_ = sess_seen.unpack_from(command)
        attached = self._sessions.get(session)
        if attached is None:
            self._breach("session-unknown", handle, "DETACH_SESS", f"sess_h {session:#x}",
                         "a session that was attached")
        elif attached.handle < handle:
            del self._sessions[session]
        self._doubted.pop(session, None)

    def _judge_doubts(self) -> None:
        """Report second ATTACH_SESS of a session whose DETACH_SESS is not just on its way."""
        now = time.monotonic()
        for session, (handle, since) in list(self._doubted.items()):
            if now - since > LATE:
                del self._doubted[session]
                self._breach("session-twice", handle, "ATTACH_SESS",
                             f"sess_h {session:#x} came again", "DETACH_SESS in between")


def _shown(value: int | bytes) -> str:
    return value.hex(" ") if isinstance(value, bytes) else f"{value:#x}"
