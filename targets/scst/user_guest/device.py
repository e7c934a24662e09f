# SPDX-License-Identifier: GPL-2.0-or-later
"""One scst_user device: the meaning of its commands, and the answer to each subcommand.

Runs in the guest; stdlib only. A thread that fetches commands (targets.scst.user_guest.getter)
passes each to ``take`` with a slot for the answer. Later answers are given by ``release`` and
``answer``, with SCST_USER_REPLY_CMD.

A READ or WRITE takes the faster path ``quick`` while nothing is observed: that path trusts the
kernel's values for LBA and length, and needs no lock.
"""

from __future__ import annotations

import ctypes
import fcntl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from targets.backend.calibration_guest import Calibration
from targets.backend.control_guest import Events, Holds
from targets.backend.disk import (
    CHECK_CONDITION,
    GOOD,
    MAX_TRANSFER,
    TASK_SET_FULL,
    Opcode,
    RamDisk,
    extent,
)
from targets.backend.disk.sense import ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB, fixed_sense
from targets.backend.misbehaviour_guest import How, Misbehaviour, Misbehaviours
from targets.backend.witness_guest import Witness
from targets.scst import abi
from targets.scst.user_guest.answers import Sheet, Slot
from targets.scst.user_guest.memory import Memory
from targets.scst.user_guest.outputs import POISON
from targets.scst.user_guest.registration import errno_name
from targets.scst.user_guest.rules import SOURCE, Rules, Shared
from targets.scst.user_guest.wrong import Fields, write_over
from targets.scst.user_spec import INT32_MAX, OPT, DeviceSpec

BODY = abi.GetCmd.preply.offset  # every member of the union begins there
HEAD = (0, abi.GetCmd, ("cmd_h", "subcode"))
REPLY_HEAD = (0, abi.ReplyCmd, ("cmd_h", "subcode"))

header = abi.packing(HEAD)
exec_shown = abi.packing((BODY, abi.CmdExec, ("lba", "bufflen", "pbuf", "data_direction")))
exec_command = abi.packing(HEAD, (BODY, abi.CmdExec, (
    "sess_h", "cdb", "cdb_len", "bufflen", "alloc_len", "pbuf", "data_direction")))
quick_command = abi.packing(
    HEAD, (BODY + abi.CmdExec.cdb.offset, abi.CdbHead, ("opcode_flags",)),
    (BODY + abi.CmdExec.lba.offset, abi.Unsigned64, ("value",)),
    (BODY, abi.CmdExec, ("data_len", "bufflen", "pbuf")))
parse_shown = abi.packing((BODY, abi.CmdParse, ("lba", "bufflen", "data_direction")))
parse_command = abi.packing(HEAD, (BODY, abi.CmdParse, (
    "cdb_len", "lba", "data_len", "bufflen", "out_bufflen", "op_flags", "queue_type",
    "data_direction", "expected_values_set", "expected_data_direction", "expected_transfer_len",
    "expected_out_transfer_len")))
alloc_shown = abi.packing((BODY, abi.CmdAllocMem, ("alloc_len", "data_direction")))
alloc_command = abi.packing(HEAD, (BODY, abi.CmdAllocMem, (
    "sess_h", "alloc_len", "data_direction")))
on_free_shown = abi.packing((BODY, abi.OnFreeCmd, ("pbuf",)))
on_free_command = abi.packing(HEAD, (BODY, abi.OnFreeCmd, ("pbuf", "buffer_cached")))
cached_command = abi.packing(HEAD, (BODY, abi.OnCachedMemFree, ("pbuf",)))
tm_command = abi.packing(HEAD, (BODY, abi.Tm, ("sess_h", "fn", "cmd_h_to_abort")))
sess_command = abi.packing(HEAD, (BODY, abi.Sess, (
    "sess_h", "lun", "initiator_name", "target_name")))
REMAPPED = BODY + abi.ExtCopyRemap.data_descr.offset
remap_command = abi.packing(
    HEAD, (BODY, abi.ExtCopyRemap, ("sess_h", "src_sess_h", "dst_sess_h")),
    (REMAPPED, abi.ExtCopyDataDescr, ("src_lba", "dst_lba", "data_len")))
REMAPPED_SIZE = ctypes.sizeof(abi.ExtCopyDataDescr)

result_reply = abi.packing(REPLY_HEAD, (0, abi.ReplyCmd, ("result",)))
alloc_reply = abi.packing(REPLY_HEAD, (BODY, abi.ReplyAllocMem, ("pbuf",)))
parse_reply = abi.packing(REPLY_HEAD, (BODY, abi.ReplyParse, (
    "status", "queue_type", "data_direction", "cdb_len", "lba", "data_len", "bufflen",
    "op_flags", "out_bufflen")))
parse_refusal = abi.packing(REPLY_HEAD, (BODY, abi.ReplyParse, (
    "status", "sense_len", "psense_buffer")))
exec_reply = abi.packing(REPLY_HEAD, (BODY, abi.ReplyExec, (
    "resp_data_len", "pbuf", "reply_type", "status", "sense_len", "psense_buffer")))
same_reply = abi.packing(REPLY_HEAD, (BODY, abi.ReplyExec, (
    "reply_type", "status", "ws_descriptors_len", "ws_descriptors")))
remap_reply = abi.packing(REPLY_HEAD, (BODY, abi.ReplyRemap, (
    "remap_descriptors", "remap_descriptors_len", "status", "sense_len", "psense_buffer")))
ext_cdb = abi.packing((0, abi.GetExtCdb, ("cmd_h", "ext_cdb_buffer")))
EXTENDED_COPY = 0x83  # SCST sends only the remapping of it (SPC-4 6.4, 6.5)

blocks_at = struct.Struct("=QQ")  # struct scst_user_data_descriptor

CDB_AT = BODY + abi.CmdExec.cdb.offset  # the same in CmdParse and CmdAllocMem
REPLY_TYPE_AT = BODY + abi.ReplyExec.reply_type.offset
WRITE, READ = int(abi.DataDirection.WRITE), int(abi.DataDirection.READ)
EXEC = int(abi.Subcode.EXEC)
COMPLETED = int(abi.ExecReply.COMPLETED)  # members of an enumeration are slow to look up
BACKGROUND = int(abi.ExecReply.BACKGROUND)
DO_WRITE_SAME = int(abi.ExecReply.DO_WRITE_SAME)
WRITE_SAMES = (Opcode.WRITE_SAME_10, Opcode.WRITE_SAME_16)
DIRECTIONS = {
    int(abi.DataDirection.WRITE): "write", int(abi.DataDirection.READ): "read",
    int(abi.DataDirection.BIDI): "bidi", int(abi.DataDirection.NONE): "none",
    int(abi.DataDirection.UNKNOWN): "none"}

SESSIONS = frozenset({"ATTACH_SESS", "DETACH_SESS"})
"""Points at which a session begins and ends."""

BLOCKS = frozenset(map(int, (abi.DeviceType.DISK, abi.DeviceType.ROM, abi.DeviceType.MOD)))
"""Device types whose READ and WRITE count in logical blocks."""

PARSED = frozenset(map(int, abi.DeviceType))
"""Device types for which SCST has a parser."""

DPO, FUA = 0x10, 0x08
QUICK = {
    opcode | flags << 8: opcode in (Opcode.WRITE_10, Opcode.WRITE_16)
    for opcode in (Opcode.READ_10, Opcode.WRITE_10, Opcode.READ_16, Opcode.WRITE_16)
    for flags in (0, FUA, DPO, DPO | FUA)}
"""The first two bytes of CDBs that take the quick path, and whether they are WRITEs."""

Buffer = bytes | bytearray | memoryview
Quick = Callable[[Buffer, int, memoryview, int], bool]


class WriteSame(StrEnum):
    """The component that carries WRITE SAME out."""

    SELF = "self"  # this backend
    KERNEL = "kernel"  # SCST, by WRITEs to this backend: SCST_EXEC_REPLY_DO_WRITE_SAME
    DESCRIPTORS = "descriptors"  # SCST, by descriptors of the ranges to write


class Shown(NamedTuple):
    """Data of a kernel command in ``step`` events.

    ``pbuf``: address of its buffer, 0 when it has none yet; two commands never have the same one at
    the same time.
    """

    opcode: int | None = None
    direction: str = "none"
    lba: int | None = None
    bytes: int | None = None
    pbuf: int | None = None


@dataclass(frozen=True)
class Loan:
    """A buffer that was lent for one command, and is not in the kernel's cache."""

    address: int
    session: int


@dataclass(frozen=True)
class Voice:
    """Events of one device."""

    channel: Events
    device: str

    def emit(self, kind: str, **data: Any) -> None:
        """Queue one event of this device."""
        self.channel.emit(kind, device=self.device, **data)

    def flush(self) -> None:
        """Write the queued events."""
        self.channel.flush()


class Device:
    """One registered device: its protocol with the kernel.

    ``fd``: its descriptor, -1 once closed. ``ioctl``: fcntl.ioctl, or a stand-in. ``sessions``: the
    device of each session of the process. ``rules``: what the kernel is compared with; ``shared``:
    with the process's other devices. ``steps``: whether ``step`` events are emitted. ``held``:
    commands that the test holds; ``aside``: commands answered in the background, or by an answer
    that did not end them. ``review`` must follow every change of the observed commands.
    """

    def __init__(
        self, spec: DeviceSpec, fd: int, disk: RamDisk, memory: Memory, *, channel: Events,
        holds: Holds, sessions: dict[int, Device] | None = None, shared: Shared | None = None,
        ioctl: Callable[..., Any] = fcntl.ioctl,
    ) -> None:
        self.name, self.spec, self.fd, self.disk, self.memory = spec.name, spec, fd, disk, memory
        self.voice, self.holds, self.ioctl = Voice(channel, spec.name), holds, ioctl
        self.sessions = {} if sessions is None else sessions
        self.steps = True
        self.background = False
        self.write_same = WriteSame.SELF
        self.misbehaviours = Misbehaviours(self.voice, disk)
        self._calibration = Calibration()
        self.held: dict[int, bytes] = {}
        self.aside: dict[int, bytes] = {}
        self.dropped: list[bytes] = []
        self._holding = False
        self._misbehaviour: Misbehaviour | None = None  # of the command being carried out
        self._loans: dict[int, Loan] = {}
        self._shown: dict[int, Shown] = {}
        self._lock = threading.RLock()
        self._late = Sheet(memory)
        self._ways: dict[int, bool] = {}
        kind = spec.option("type")
        self.rules = Rules(
            Witness(self.voice, SOURCE), memory, shared or Shared(),
            block_size=spec.block_size if kind in BLOCKS else 0,
            foreign=bool(spec.option("sgv_shared")), parsed=kind in PARSED)
        self.use({name: int(spec.option(name)) for name in OPT})
        self.quick = self._make_quick()
        sub = abi.Subcode
        self._table: dict[int, tuple[
            str, Callable[[Buffer], Shown], Callable[[Buffer, Slot], int | None]]] = {
            sub.EXEC: ("EXEC", self._show_exec, self._exec),
            sub.ALLOC_MEM: ("ALLOC_MEM", self._show_alloc, self._alloc_mem),
            sub.PARSE: ("PARSE", self._show_parse, self._parse),
            sub.ON_FREE_CMD: ("ON_FREE_CMD", self._show_on_free, self._on_free_cmd),
            sub.ON_CACHED_MEM_FREE: (
                "ON_CACHED_MEM_FREE", self._show_nothing, self._on_cached_mem_free),
            sub.ATTACH_SESS: ("ATTACH_SESS", self._show_nothing, self._attach_sess),
            sub.DETACH_SESS: ("DETACH_SESS", self._show_nothing, self._detach_sess),
            sub.TASK_MGMT_RECEIVED: (
                "TASK_MGMT_RECEIVED", self._show_nothing, self._task_mgmt),
            sub.TASK_MGMT_DONE: ("TASK_MGMT_DONE", self._show_nothing, self._task_mgmt),
            sub.EXT_COPY_REMAP: ("EXT_COPY_REMAP", self._show_remap, self._ext_copy_remap),
        }

    # settings from the test

    def use(self, options: Mapping[str, int]) -> None:
        """Use options that the kernel has accepted (fields of struct scst_user_opt)."""
        reuse = options["memory_reuse_type"]
        kept = {abi.MemoryReuseType.NONE: (), abi.MemoryReuseType.READ: (READ,),
                abi.MemoryReuseType.WRITE: (WRITE,)}
        # is_buff_cached, scst_user.c: with ALL the kernel keeps the buffers of all commands.
        self._cached: Sequence[int] = kept.get(abi.MemoryReuseType(reuse), tuple(DIRECTIONS))
        self._reports_end = options["on_free_cmd_type"] == abi.OnFreeCmdType.CALL
        if not self._reports_end:
            self._shown.clear()
        self.rules.use(options)
        self.review()

    def options_in_flux(self) -> None:
        """Leave buffers that may be in the kernel's cache to it while options change."""
        self._cached = tuple(DIRECTIONS)
        self.review()

    def review(self) -> None:
        """Recompute whether commands are observed; if so no command takes the quick path."""
        self._holding = self.holds.wanted(self.name)
        self._ways.clear()
        if not (self.steps or self._holding or self.misbehaviours.armed or self.background):
            self._ways.update({
                head: writes for head, writes in QUICK.items()
                if self._reports_end or (WRITE if writes else READ) in self._cached})

    def misbehave(self, **order: Any) -> None:
        """Start a misbehaviour by an order."""
        with self._lock:
            self.misbehaviours.order(**order)
        self.review()

    def behave(self) -> None:
        """End the misbehaviour."""
        with self._lock:
            self.misbehaviours.stop()
        self.review()

    # the quick path

    def _make_quick(self) -> Quick:
        """Return the function of the quick path.

        It answers a READ or WRITE in an existing buffer while nothing is observed.

        Its arguments are the command with its offset, and the replies with the offset of this
        one's; it returns whether it answered. It uses local names only, because it does most of the
        work.
        """
        ways, views, data = self._ways, self.memory.views, self.disk.data
        size, block_size = self.disk.size, self.disk.block_size
        unpack, pack = quick_command.unpack_from, exec_reply.pack_into

        def quick(command: Buffer, at: int, replies: memoryview, reply_at: int) -> bool:
            handle, subcode, head, lba, wanted, length, pbuf = unpack(command, at)
            if subcode != EXEC or head not in ways or pbuf not in views or wanted != length:
                return False
            offset = lba * block_size
            end = offset + length
            if end > size or length > MAX_TRANSFER:
                return False
            buffer = views[pbuf]
            if len(buffer) != length:  # a slice costs more than this comparison
                buffer = buffer[:length]
            if ways[head]:
                data[offset:end] = buffer
                pack(replies, reply_at, handle, EXEC, 0, 0, COMPLETED, GOOD, 0, 0)
            else:
                buffer[:] = data[offset:end]
                pack(replies, reply_at, handle, EXEC, length, 0, COMPLETED, GOOD, 0, 0)
            return True

        return quick

    # holding and answering a command

    def take(self, command: Buffer, slot: Slot) -> bool:
        """Answer a command into a slot, or hold it; return whether it was answered."""
        with self._lock:
            return self._take(command, slot)

    def _take(self, command: Buffer, slot: Slot) -> bool:
        handle, subcode = header.unpack_from(command)
        if subcode not in self._table:
            self.rules.unknown(handle, subcode)
            return False
        point, show, answer = self._table[subcode]
        if not (self.steps or self._holding or self.misbehaviours.armed or self.background):
            self.rules.overlook()
            if point in SESSIONS:
                self.rules.received(point, handle, subcode, command, slot.preply)
            answer(command, slot)
            return True
        self.rules.received(point, handle, subcode, command, slot.preply)
        shown = show(command)
        if self.steps:
            beside = self._calibration.sample() if subcode == EXEC else {}
            self._step(point, "received", handle, shown, **beside)
        if self._holding and self.holds.takes(
            point, handle, -1 if shown.opcode is None else shown.opcode, shown.direction,
            self.name,
        ):
            self.held[handle] = bytes(command)
            self._step(point, "held", handle, shown)
            self.voice.flush()
            return False
        status = answer(command, slot)
        if self._misbehaviour is not None and self._drops(command, slot):
            return False
        self.rules.answered(handle)
        if self.background and subcode == EXEC and shown.direction != "read" and status == GOOD:
            self._answer_in_background(slot)
        if self.steps:
            self._step(point, "answered", handle, shown, status=status)
        return True

    def _answer_in_background(self, slot: Slot) -> None:
        """Send a BACKGROUND reply to end the command for the initiator; the slot is sent later."""
        if slot.reply[REPLY_TYPE_AT] == COMPLETED:
            slot.reply[REPLY_TYPE_AT] = BACKGROUND
            self._give(slot)
            slot.reply[REPLY_TYPE_AT] = COMPLETED

    def release(self) -> None:
        """Answer held commands, oldest first, and those aside.

        Dropped commands are answered first, if no order to misbehave is left.
        """
        while self.dropped and not self.misbehaviours.armed:
            self._answer_late(self.dropped.pop(0))
        with self._lock:  # a command that is just being held is stored in a moment
            commands = [*self.held.values(), *self.aside.values()]
            self.held.clear()
            self.aside.clear()
        for command in commands:
            self._answer_late(command)

    def _answer_late(self, command: bytes) -> None:
        if self.fd < 0:  # the command went with the device
            return
        handle, subcode = header.unpack_from(command)
        point, show, answer = self._table[subcode]
        slot = self._late.slots[0]
        with self._lock:
            status = answer(command, slot)
            if self._misbehaviour is not None and self._drops(command, slot):
                return
            self.rules.answered(handle)
        self._step(point, "answered", handle, show(command), status=status)
        self._give(slot)
        self._late.settle()

    def answer(
        self, handle: int | None, fields: Fields, as_handle: int | None, times: int
    ) -> dict[str, Any]:
        """Answer a held command (None: the oldest) wrongly.

        The command is carried out first; then ``fields`` overwrite the correct reply. Returns its
        handle, and the kernel's result of each reply: an errno's name or None. Raises ValueError
        when there is no such command or field.
        """
        command = self._handed_out(handle)
        handle, subcode = header.unpack_from(command)
        point, show, answer = self._table[subcode]
        slot = self._late.slots[0]
        with self._lock:
            status = answer(command, slot)
            self._misbehaviour = None
        write_over(slot, fields if as_handle is None else {**fields, "cmd_h": as_handle})
        self._provoke(handle, as_handle, fields)
        self.held.pop(handle, None)
        self.aside.pop(handle, None)
        errors = [self._give(slot) for _ in range(times)]
        self._late.settle()
        if self._ends(handle, slot, errors):
            self.rules.answered(handle)
            self._step(point, "answered", handle, show(command), status=status)
        else:
            self.aside[handle] = command
        self.voice.emit("misanswered", point=point, handle=handle, as_handle=as_handle,
                        fields=dict(fields), errors=errors)
        self.voice.flush()
        return {"handle": handle, "errors": errors}

    def _provoke(self, handle: int, as_handle: int | None, fields: Fields) -> None:
        """Note that what follows from a wrong answer is no breach of the kernel's."""
        pbuf = fields.get("pbuf")
        with self._lock:
            self.rules.provoke(handle, pbuf if isinstance(pbuf, int) else None)
            if as_handle is not None:
                self.rules.provoke(as_handle)

    def _handed_out(self, handle: int | None) -> bytes:
        if self.fd < 0:
            raise ValueError(f"the device {self.name} is closed")
        with self._lock:  # a command that is just being held is stored in a moment
            if handle is None:
                handle = next(iter(self.held), None)
            command = None if handle is None else self.held.get(handle, self.aside.get(handle))
        if command is None:
            which = "" if handle is None else f" {handle}"
            raise ValueError(f"no command{which} of {self.name} is held")
        return command

    @staticmethod
    def _ends(handle: int, slot: Slot, errors: Sequence[str | None]) -> bool:
        """Return whether a wrong answer ended its command all the same."""
        replied, subcode = header.unpack_from(slot.reply)
        return (replied == handle and None in errors
                and not (subcode == EXEC and slot.reply[REPLY_TYPE_AT] == BACKGROUND))

    def _drops(self, command: Buffer, slot: Slot) -> bool:
        """Apply the command's misbehaviour to its answer: drop it, or send it once more.

        Returns whether the answer was dropped.
        """
        order, self._misbehaviour = self._misbehaviour, None
        if order is not None and order.how is How.DROP:
            self.dropped.append(bytes(command))
            return True
        if order is not None and order.how is How.TWICE:
            handle, subcode = header.unpack_from(command)
            point, show, _ = self._table[subcode]
            self._step(point, "answered", handle, show(command), status=GOOD)
            self.rules.provoke(handle)
            self._give(slot)
        return False

    def _give(self, slot: Slot) -> str | None:
        """Send a reply at once; return the errno's name if the kernel does not accept it."""
        try:
            self.ioctl(self.fd, abi.REPLY_CMD, bytes(slot.reply))
        except OSError as error:
            return self.refused(header.unpack_from(slot.reply)[0], error)
        return None

    def refused(self, handle: int, error: OSError) -> str:
        """Report that the kernel did not accept an answer; return the errno's name."""
        name = errno_name(error)
        self.voice.emit("refused", handle=handle, error=name)
        self.voice.flush()
        return name

    def _step(
        self, point: str, action: str, handle: int, shown: Shown, **more: float | None
    ) -> None:
        opcode, direction, lba, size, pbuf = shown
        self.voice.emit(
            "step", point=point, action=action, handle=handle, opcode=opcode,
            direction=direction, lba=lba, bytes=size, pbuf=pbuf, **more)

    def forget(self) -> None:
        """Forget the commands held and the buffers lent: the descriptor is closed.

        Devices that share its pool may still use its buffers.
        """
        self.fd = -1
        if not self.spec.option("sgv_shared"):
            self.memory.forsake(self)
        self.held.clear()
        self.aside.clear()
        self.dropped.clear()
        with self._lock:
            self.rules.forget()
        for session in [key for key, device in self.sessions.items() if device is self]:
            del self.sessions[session]

    # data of ``step`` events

    def _show_exec(self, command: Buffer) -> Shown:
        lba, size, pbuf, direction = exec_shown.unpack_from(command)
        return self._keep_shown(command, Shown(
            command[CDB_AT], DIRECTIONS.get(direction, "none"), None if lba < 0 else lba, size,
            pbuf))

    def _show_alloc(self, command: Buffer) -> Shown:
        size, direction = alloc_shown.unpack_from(command)
        return self._keep_shown(command, Shown(
            command[CDB_AT], DIRECTIONS.get(direction, "none"), None, size))

    def _show_parse(self, command: Buffer) -> Shown:
        lba, size, direction = parse_shown.unpack_from(command)
        return self._keep_shown(command, Shown(
            command[CDB_AT], DIRECTIONS.get(direction, "none"), None if lba < 0 else lba, size))

    def _keep_shown(self, command: Buffer, shown: Shown) -> Shown:
        if self._reports_end:  # ON_FREE_CMD does not contain the command
            self._shown[header.unpack_from(command)[0]] = shown
        return shown

    def _show_on_free(self, command: Buffer) -> Shown:
        pbuf, = on_free_shown.unpack_from(command)
        return self._shown.get(header.unpack_from(command)[0], Shown())._replace(pbuf=pbuf)

    def _show_remap(self, command: Buffer) -> Shown:
        *_, sink, length = remap_command.unpack_from(command)
        return self._keep_shown(command, Shown(EXTENDED_COPY, "write", sink, length))

    def _show_nothing(self, _: Buffer) -> Shown:
        return Shown()

    # the subcommands: each packs its reply, and returns the SCSI status of an EXEC

    def _exec(self, command: Buffer, slot: Slot) -> int:
        (handle, subcode, session, cdb, cdb_length, length, alloc_length, pbuf,
         direction) = exec_command.unpack_from(command)
        if cdb_length > abi.SCST_MAX_CDB_SIZE:
            cdb += self._extended_cdb(handle, cdb_length)
        access = self.disk.decode(cdb)
        order = self._misbehaviour = (
            self.misbehaviours.pick(handle, cdb[0], access) if self.misbehaviours.armed else None)
        if order is not None and order.how is How.DROP:
            return GOOD  # not sent to the initiator
        if self.write_same is not WriteSame.SELF and cdb[0] in WRITE_SAMES:
            return self._leave_write_same(handle, cdb, slot)
        lent = 0
        if not pbuf and alloc_length:
            try:
                pbuf = lent = self.memory.take(alloc_length, self)
            except MemoryError:
                exec_reply.pack_into(slot.reply, 0, handle, subcode, 0, 0,
                                     COMPLETED, TASK_SET_FULL, 0, 0)
                return TASK_SET_FULL
        status, got, sense = GOOD, 0, b""
        if access is None or (direction == WRITE and length < access.length):
            status, got, sense = self._control(cdb[:cdb_length], direction, pbuf, length)
        elif not pbuf:
            pass  # no blocks to move
        elif direction == READ:
            got = min(access.length, length)
            self.memory.view(pbuf)[:got] = self.misbehaviours.source(order, access)[:got]
        elif order is None or order.how is not How.SKIP:
            self.disk.data[access.offset:access.end] = self.memory.view(pbuf)[:access.length]
            self.misbehaviours.spoil(order, access)
        if lent and not got:
            self.memory.give(lent)
            pbuf = lent = 0
        self.rules.lent(handle, lent)
        if lent and self._is_loan(direction):
            self._loans[handle] = Loan(lent, session)
        exec_reply.pack_into(slot.reply, 0, handle, subcode, got, pbuf, COMPLETED,
                             status, len(sense), slot.note(sense))
        if self._loans and not self._reports_end:
            self._spend(handle, slot)
        return status

    def _control(
        self, cdb: bytes, direction: int, pbuf: int, length: int
    ) -> tuple[int, int, bytes]:
        """Return (status, bytes put in the buffer, sense data) of any other command."""
        buffer = self.memory.view(pbuf)[:length] if pbuf else memoryview(bytearray())
        answer = self.disk.control(cdb, buffer if direction & WRITE else b"")
        got = min(len(answer.data), len(buffer)) if direction == READ else 0
        buffer[:got] = answer.data[:got]
        return answer.status, got, answer.sense

    def _leave_write_same(self, handle: int, cdb: bytes, slot: Slot) -> int:
        """Make SCST carry WRITE SAME out: all of it, or the listed ranges."""
        lba, blocks = extent(cdb)
        listed = b""
        if self.write_same is WriteSame.DESCRIPTORS and lba is not None and blocks > 1:
            half = blocks // 2
            listed = b"".join(blocks_at.pack(*piece) for piece in (
                (lba, half), (lba + half, blocks - half), (0, 0)))
        same_reply.pack_into(slot.reply, 0, handle, EXEC, DO_WRITE_SAME, GOOD, len(listed),
                             slot.note(listed))
        return GOOD

    def _extended_cdb(self, handle: int, length: int) -> bytes:
        size = length - abi.SCST_MAX_CDB_SIZE
        room = ctypes.create_string_buffer(bytes([POISON]) * size, size)
        self.ioctl(self.fd, abi.GET_EXTENDED_CDB, ext_cdb.pack(handle, ctypes.addressof(room)))
        self.rules.extended(handle, room.raw)
        return room.raw

    def _alloc_mem(self, command: Buffer, slot: Slot) -> None:
        handle, subcode, session, length, direction = alloc_command.unpack_from(command)
        try:
            pbuf = self.memory.take(length, self)
        except MemoryError:
            pbuf = 0  # the kernel answers the initiator with BUSY
        self.rules.lent(handle, pbuf)
        if pbuf and self._is_loan(direction):
            self._loans[handle] = Loan(pbuf, session)
        alloc_reply.pack_into(slot.reply, 0, handle, subcode, pbuf)

    def _is_loan(self, direction: int) -> bool:
        """Return whether the backend must find a buffer again by its command.

        With on_free CALL that holds for all buffers, since ON_FREE_CMD reports the fate of each.
        """
        return self._reports_end or direction not in self._cached

    def _on_free_cmd(self, command: Buffer, slot: Slot) -> None:
        handle, subcode, pbuf, cached = on_free_command.unpack_from(command)
        self._shown.pop(handle, None)
        loan = self._loans.pop(handle, None)
        # A buffer in the kernel's cache comes back by ON_CACHED_MEM_FREE; a buffer that the kernel
        # did not accept (the answer came after the command's end) is not in this message.
        if loan is not None and not (cached and loan.address == pbuf):
            self.memory.give(loan.address)
        result_reply.pack_into(slot.reply, 0, handle, subcode, 0)

    def _on_cached_mem_free(self, command: Buffer, slot: Slot) -> None:
        """Take a buffer back: this device's, or that of another device which shares the pool."""
        handle, subcode, pbuf = cached_command.unpack_from(command)
        try:
            self.memory.give(pbuf)
        except KeyError:
            self.rules.not_lent("ON_CACHED_MEM_FREE", handle, pbuf)
        result_reply.pack_into(slot.reply, 0, handle, subcode, 0)

    def _spend(self, handle: int, slot: Slot) -> None:
        """Mark an uncached buffer for return: with on_free IGNORE, EXEC's answer ends its use."""
        loan = self._loans.pop(handle, None)
        if loan is not None:
            slot.spent.append(loan.address)

    def _parse(self, command: Buffer, slot: Slot) -> None:
        (handle, subcode, cdb_length, lba, data_length, length, out_length, flags, queue_type,
         direction, expected, expected_direction, expected_length,
         expected_out) = parse_command.unpack_from(command)
        if not flags & abi.INFO_VALID:  # an operation code that SCST does not know
            direction = expected_direction if expected else abi.DataDirection.NONE
            length = data_length = expected_length if expected else 0
            out_length = expected_out if expected else 0
            flags = abi.INFO_VALID | abi.LBA_NOT_VALID
            if direction & WRITE:
                flags |= abi.WRITE_MEDIUM
        elif flags & abi.UNKNOWN_LENGTH:
            length = data_length = expected_length if expected else length
            flags &= ~abi.UNKNOWN_LENGTH
        elif flags & abi.TRANSFER_LEN_TYPE_FIXED:  # lengths are in blocks until they are parsed
            length *= self.disk.block_size
            data_length *= self.disk.block_size
            out_length *= self.disk.block_size
        if not length:
            direction = abi.DataDirection.NONE
        if max(length, out_length) > INT32_MAX:  # more than a field of the reply can hold
            sense = fixed_sense(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB)
            parse_refusal.pack_into(slot.reply, 0, handle, subcode, CHECK_CONDITION, len(sense),
                                    slot.note(sense))
            return
        parse_reply.pack_into(
            slot.reply, 0, handle, subcode, GOOD, queue_type, direction, cdb_length, max(lba, 0),
            max(data_length, 0), length, flags, out_length)

    def _attach_sess(self, command: Buffer, slot: Slot) -> None:
        handle, subcode, session, lun, initiator, target = sess_command.unpack_from(command)
        self.sessions[session] = self
        self.voice.emit("session", action="attached", session=session, lun=lun,
                        initiator=_text(initiator), target=_text(target))
        self.voice.flush()
        result_reply.pack_into(slot.reply, 0, handle, subcode, 0)

    def _detach_sess(self, command: Buffer, slot: Slot) -> None:
        handle, subcode, session, *_ = sess_command.unpack_from(command)
        self.sessions.pop(session, None)
        self.voice.emit("session", action="detached", session=session)
        self.voice.flush()
        if not self._reports_end:  # else ON_FREE_CMD reports it, possibly after DETACH_SESS
            # Commands that ended before EXEC left their buffers behind.
            for left in [key for key, loan in self._loans.items() if loan.session == session]:
                self._spend(left, slot)
        result_reply.pack_into(slot.reply, 0, handle, subcode, 0)

    def _task_mgmt(self, command: Buffer, slot: Slot) -> None:
        handle, subcode, session, function, victim = tm_command.unpack_from(command)
        stage = "received" if subcode == abi.Subcode.TASK_MGMT_RECEIVED else "done"
        named = function in list(abi.TmFunction)
        self.voice.emit(
            "tmr", stage=stage, session=session,
            function=abi.TmFunction(function).name if named else str(function),
            handles=[victim] if function == abi.TmFunction.ABORT_TASK else [])
        self.voice.flush()
        result_reply.pack_into(slot.reply, 0, handle, subcode, 0)

    def _ext_copy_remap(self, command: Buffer, slot: Slot) -> None:
        """Copy between devices of this process; leave segments of other devices to SCST."""
        handle, subcode, _, source, sink, src, dst, length = remap_command.unpack_from(command)
        left = b"" if self._copied(source, sink, src, dst, length) else bytes(
            command[REMAPPED:REMAPPED + REMAPPED_SIZE])
        remap_reply.pack_into(slot.reply, 0, handle, subcode, slot.note(left), len(left), GOOD,
                              0, 0)

    def _copied(self, source: int, sink: int, src: int, dst: int, length: int) -> bool:
        """Copy ``length`` bytes between blocks of two sessions' devices.

        Returns whether that was possible.
        """
        ends = self.sessions.get(source), self.sessions.get(sink)
        if None in ends or length <= 0:
            return False
        windows = list(_windows(ends, (src, dst), length))
        if len(windows) < len(ends):
            return False
        windows[1][:] = bytes(windows[0])
        return True


def _windows(
    devices: Sequence[Device | None], blocks: Sequence[int], length: int
) -> Iterator[memoryview]:
    """Yield the ``length`` bytes from a block on of each medium, where it has them."""
    for device, block in zip(devices, blocks, strict=True):
        assert device is not None
        offset = block * device.disk.block_size
        if offset + length <= device.disk.size:
            yield device.disk.data[offset:offset + length]


def _text(room: bytes) -> str:
    return room.partition(b"\0")[0].decode(errors="replace")
