"""The scst_user backend: a RAM disk behind /dev/scst_user, obeying the test's commands.

Runs in the guest; stdlib only. One thread polls the device and the command channel; each
command of the kernel is answered in the same ioctl that fetches the next one
(SCST_USER_REPLY_AND_GET_CMD), held ones later by SCST_USER_REPLY_CMD, in any order.

Beside the commands of targets.backend.control and targets.backend.lies it takes:

===========  =================================================================================
do           arguments and effect
===========  =================================================================================
flush_cache  SCST_USER_FLUSH_CACHE: make the kernel drop the buffers it keeps. It waits for
             the commands in flight, so it runs beside the loop; event ``flushed`` (errno name
             or null, seconds) tells its end
serving      tell whether the device is open
steps        on: whether ``step`` events are sent (they cost most of the throughput)
===========  =================================================================================

Points are the names of the subcommands: PARSE, ALLOC_MEM, EXEC, ON_FREE_CMD,
ON_CACHED_MEM_FREE, TASK_MGMT_RECEIVED, TASK_MGMT_DONE, ATTACH_SESS, DETACH_SESS. Beside the
events of results.history it sends ``session`` (action: attached or detached, session, lun,
initiator, target), and ``refused`` (handle, error: errno name) when the kernel does not take an
answer.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import fcntl
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from targets.backend.control import Channel, Holds
from targets.backend.disk import GOOD, TASK_SET_FULL, RamDisk
from targets.backend.lies import How, Lie, Lies
from targets.scst import abi
from targets.scst.memory import Memory

BATCH = 64
"""Commands of the kernel that are served before the test's commands are looked at again."""

FLUSH_AFTER_MS = 5
"""Idle time after which events are sent that do not fill a pipe write."""

PREPLY_AT = abi.GetCmd.preply.offset
BODY = abi.GetCmd.preply.offset  # every member of the union begins there
HEAD = (0, abi.GetCmd, ("cmd_h", "subcode"))
REPLY_HEAD = (0, abi.ReplyCmd, ("cmd_h", "subcode"))

header = abi.packing(HEAD)
preply = struct.Struct("=Q")
exec_shown = abi.packing((BODY, abi.CmdExec, ("lba", "bufflen", "data_direction")))
exec_command = abi.packing(HEAD, (BODY, abi.CmdExec, (
    "sess_h", "cdb", "cdb_len", "bufflen", "alloc_len", "pbuf", "data_direction")))
parse_shown = abi.packing((BODY, abi.CmdParse, ("lba", "bufflen", "data_direction")))
parse_command = abi.packing(HEAD, (BODY, abi.CmdParse, (
    "cdb_len", "lba", "data_len", "bufflen", "out_bufflen", "op_flags", "queue_type",
    "data_direction", "expected_values_set", "expected_data_direction", "expected_transfer_len",
    "expected_out_transfer_len")))
alloc_shown = abi.packing((BODY, abi.CmdAllocMem, ("alloc_len", "data_direction")))
alloc_command = abi.packing(HEAD, (BODY, abi.CmdAllocMem, (
    "sess_h", "alloc_len", "data_direction")))
on_free_command = abi.packing(HEAD, (BODY, abi.OnFreeCmd, ("pbuf", "buffer_cached")))
cached_command = abi.packing(HEAD, (BODY, abi.OnCachedMemFree, ("pbuf",)))
tm_command = abi.packing(HEAD, (BODY, abi.Tm, ("fn", "cmd_h_to_abort")))
sess_command = abi.packing(HEAD, (BODY, abi.Sess, (
    "sess_h", "lun", "initiator_name", "target_name")))

result_reply = abi.packing(REPLY_HEAD, (0, abi.ReplyCmd, ("result",)))
alloc_reply = abi.packing(REPLY_HEAD, (BODY, abi.ReplyAllocMem, ("pbuf",)))
parse_reply = abi.packing(REPLY_HEAD, (BODY, abi.ReplyParse, (
    "status", "queue_type", "data_direction", "cdb_len", "lba", "data_len", "bufflen",
    "op_flags", "out_bufflen")))
exec_reply = abi.packing(REPLY_HEAD, (BODY, abi.ReplyExec, (
    "resp_data_len", "pbuf", "reply_type", "status", "sense_len", "psense_buffer")))
remap_reply = abi.packing(REPLY_HEAD, (BODY, abi.ReplyRemap, (
    "remap_descriptors", "remap_descriptors_len", "status", "sense_len", "psense_buffer")))
ext_cdb = abi.packing((0, abi.GetExtCdb, ("cmd_h", "ext_cdb_buffer")))

CDB_AT = BODY + abi.CmdExec.cdb.offset  # the same in CmdParse and CmdAllocMem
WRITE, READ = int(abi.DataDirection.WRITE), int(abi.DataDirection.READ)
COMPLETED = int(abi.ExecReply.COMPLETED)  # members of an enumeration are slow to look up
DIRECTIONS = {
    int(abi.DataDirection.WRITE): "write", int(abi.DataDirection.READ): "read",
    int(abi.DataDirection.BIDI): "bidi", int(abi.DataDirection.NONE): "none",
    int(abi.DataDirection.UNKNOWN): "none"}

Buffer = bytes | bytearray | memoryview


class RegistrationError(Exception):
    """The kernel did not take the device; the text says why."""


@dataclass(frozen=True)
class Options:
    """Options of a device: fields of struct scst_user_opt, and of the pool of its buffers."""

    parse_type: abi.ParseType = abi.ParseType.STANDARD
    on_free_cmd_type: abi.OnFreeCmdType = abi.OnFreeCmdType.CALL
    memory_reuse_type: abi.MemoryReuseType = abi.MemoryReuseType.ALL

    def cached(self, direction: int) -> bool:
        """Tell whether the kernel keeps a command's buffer: is_buff_cached, scst_user.c."""
        reuse = self.memory_reuse_type
        return (
            reuse is abi.MemoryReuseType.ALL
            or (reuse is abi.MemoryReuseType.READ and direction == READ)
            or (reuse is abi.MemoryReuseType.WRITE and direction == WRITE))


REFUSALS = {
    errno.EPERM: "SCST does not take the license {license!r}",
    errno.EINVAL: "SCST refuses the version string {version!r}, the block size or an option; "
                  "the kernel log names what it expects",
    errno.EEXIST: "SCST has a device of that name already",
    errno.ENOENT: "SCST found a directory missing: /var/lib/scst/pr, /var/lib/scst/vdev_mode_pages",
}
"""What the errors of SCST_USER_REGISTER_DEVICE mean (dev_user_register_dev, scst_user.c)."""


def register(name: str, block_size: int, version: str, options: Options) -> int:
    """Register a disk; return its descriptor, which does not block. Raises RegistrationError."""
    if not 0 < len(name) <= abi.NAME_MAX or set(name) & set("./"):
        raise RegistrationError(
            f"device {name!r}: a name has 1 to {abi.NAME_MAX} characters, none of them . or /")
    version_room = ctypes.create_string_buffer(version.encode(), abi.STRING_ROOM)
    license_room = ctypes.create_string_buffer(abi.LICENSE.encode(), abi.STRING_ROOM)
    description = abi.DevDesc(
        version_str=ctypes.addressof(version_room), license_str=ctypes.addressof(license_room),
        type=abi.TYPE_DISK, block_size=block_size, name=name.encode(),
        opt=abi.Opt(
            parse_type=options.parse_type, on_free_cmd_type=options.on_free_cmd_type,
            memory_reuse_type=options.memory_reuse_type,
            queue_alg=abi.QUEUE_ALG_UNRESTRICTED_REORDER))  # as the disk's control mode page says
    try:
        device = os.open(abi.DEVICE_NODE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RegistrationError(
            f"{abi.DEVICE_NODE}: {error.strerror}; is the module scst_user loaded?") from error
    try:
        fcntl.ioctl(device, abi.REGISTER_DEVICE, description)
    except OSError as error:
        os.close(device)
        why = REFUSALS.get(error.errno or 0, "{error}").format(
            license=abi.LICENSE, version=version, error=error.strerror)
        raise RegistrationError(
            f"device {name!r}: {why} ({errno.errorcode.get(error.errno or 0)})") from error
    return device


class Shown(NamedTuple):
    """What ``step`` events say of a command of the kernel."""

    opcode: int | None = None
    direction: str = "none"
    lba: int | None = None
    bytes: int | None = None


@dataclass
class Loan:
    """A buffer that was lent for one command, and is not in the kernel's cache."""

    address: int
    session: int


@dataclass
class Device:
    """One registered device: its protocol with the kernel.

    ``fd``: its descriptor. ``ioctl``: fcntl.ioctl, or a stand-in. ``steps``: whether steps are
    told. ``holding``: whether ``holds`` has orders; without both, commands are only answered.
    """

    fd: int
    disk: RamDisk
    memory: Memory
    options: Options
    channel: Channel
    holds: Holds
    ioctl: Callable[..., Any] = fcntl.ioctl
    steps: bool = True
    holding: bool = False
    held: dict[int, bytes] = field(default_factory=dict)
    dropped: list[bytes] = field(default_factory=list)
    _loans: dict[int, Loan] = field(default_factory=dict)
    _shown: dict[int, Shown] = field(default_factory=dict)
    _spent: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._get = bytearray(ctypes.sizeof(abi.GetCmd))
        size = ctypes.sizeof(abi.ReplyCmd)
        # The kernel reads the reply and the sense data by address.
        self._page = self.memory.take(size + 256)
        page = self.memory.view(self._page)
        self._reply, self._sense = page[:size], page[size:]
        self._sense_at = self._page + size
        self._late = bytearray(size)
        self._keeps_shown = self.options.on_free_cmd_type is abi.OnFreeCmdType.CALL
        self.lies = Lies(self.channel, self.disk)
        self._lie: Lie | None = None  # what the command being carried out is told
        sub = abi.Subcode
        self._table: dict[int, tuple[
            str, Callable[[Buffer], Shown], Callable[[Buffer, Any], int | None]]] = {
            sub.EXEC: ("EXEC", self._show_exec, self._exec),
            sub.ALLOC_MEM: ("ALLOC_MEM", self._show_alloc, self._alloc_mem),
            sub.PARSE: ("PARSE", self._show_parse, self._parse),
            sub.ON_FREE_CMD: ("ON_FREE_CMD", self._show_on_free, self._on_free_cmd),
            sub.ON_CACHED_MEM_FREE: (
                "ON_CACHED_MEM_FREE", self._show_nothing, self._on_cached_mem_free),
            sub.ATTACH_SESS: ("ATTACH_SESS", self._show_nothing, self._attach_sess),
            sub.DETACH_SESS: ("DETACH_SESS", self._show_nothing, self._detach_sess),
            sub.TASK_MGMT_RECEIVED: ("TASK_MGMT_RECEIVED", self._show_nothing, self._done),
            sub.TASK_MGMT_DONE: ("TASK_MGMT_DONE", self._show_nothing, self._done),
            sub.EXT_COPY_REMAP: ("EXT_COPY_REMAP", self._show_nothing, self._ext_copy_remap),
        }

    def work(self) -> None:
        """Serve the kernel until it has no more, or a batch is full."""
        get, ioctl, fd = self._get, self.ioctl, self.fd
        answer = 0
        for _ in range(BATCH):
            preply.pack_into(get, PREPLY_AT, answer)
            try:
                ioctl(fd, abi.REPLY_AND_GET_CMD, get, True)
            except BlockingIOError:
                answer = 0
                break
            except OSError as error:
                self._refused(header.unpack_from(get)[0], error)
                answer = 0
                continue
            finally:
                if self._spent:
                    self._abandon_spent()
            answer = self._page if self._take(get) else 0
        if answer:
            self._send(self._reply)

    def _take(self, command: bytearray) -> bool:
        """Answer a command into the reply buffer, or hold it; tell whether it was answered."""
        handle, subcode = header.unpack_from(command)
        point, show, answer = self._table[subcode]
        if not (self.steps or self.holding or self.lies.armed):
            answer(command, self._reply)
            return True
        shown = show(command)
        if self.steps:
            self._step(point, "received", handle, shown)
        if self.holding and self.holds.takes(
            point, handle, -1 if shown.opcode is None else shown.opcode, shown.direction
        ):
            self.held[handle] = bytes(command)
            self._step(point, "held", handle, shown)
            self.channel.flush()
            return False
        status = answer(command, self._reply)
        if self._lie is not None and self._drops(command, self._reply):
            return False
        if self.steps:
            self._step(point, "answered", handle, shown, status=status)
        return True

    def release(self, handle: int) -> None:
        """Answer a command that was held."""
        command = self.held.pop(handle, None)
        if command is not None:
            self._answer_late(command)

    def release_dropped(self) -> None:
        """Answer what was dropped, once nothing is to be dropped any more."""
        while self.dropped and not self.lies.armed:
            self._answer_late(self.dropped.pop(0))

    def _answer_late(self, command: bytes) -> None:
        if self.fd < 0:  # it went with the device
            return
        handle, subcode = header.unpack_from(command)
        point, show, answer = self._table[subcode]
        status = answer(command, self._late)
        if self._lie is not None and self._drops(command, self._late):
            return
        self._step(point, "answered", handle, show(command), status=status)
        self._send(self._late)

    def _drops(self, command: Buffer, reply: Buffer) -> bool:
        """Do to an answer what the command's lie does: drop it, or give it once more."""
        lie, self._lie = self._lie, None
        if lie is not None and lie.how is How.DROP:
            self.dropped.append(bytes(command))
            return True
        if lie is not None and lie.how is How.TWICE:
            handle, subcode = header.unpack_from(command)
            point, show, _ = self._table[subcode]
            self._step(point, "answered", handle, show(command), status=GOOD)
            self._send(reply)
        return False

    def _send(self, reply: Buffer) -> None:
        try:
            self.ioctl(self.fd, abi.REPLY_CMD, bytes(reply))
        except OSError as error:
            self._refused(header.unpack_from(reply)[0], error)
        self._abandon_spent()

    def _refused(self, handle: int, error: OSError) -> None:
        self.channel.emit(
            "refused", handle=handle, error=errno.errorcode.get(error.errno or 0, str(error)))
        self.channel.flush()

    def _step(
        self, point: str, action: str, handle: int, shown: Shown, **more: int | None
    ) -> None:
        opcode, direction, lba, size = shown
        self.channel.emit(
            "step", point=point, action=action, handle=handle, opcode=opcode,
            direction=direction, lba=lba, bytes=size, **more)

    def close(self) -> None:
        """Close the descriptor; what is held goes with it. Closing twice is fine."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.held.clear()
            self.dropped.clear()
            self.channel.emit("closed")
            self.channel.flush()

    # what a step shows

    def _show_exec(self, command: Buffer) -> Shown:
        lba, size, direction = exec_shown.unpack_from(command)
        return self._keep_shown(command, Shown(
            command[CDB_AT], DIRECTIONS[direction], None if lba < 0 else lba, size))

    def _show_alloc(self, command: Buffer) -> Shown:
        size, direction = alloc_shown.unpack_from(command)
        return self._keep_shown(command, Shown(
            command[CDB_AT], DIRECTIONS[direction], None, size))

    def _show_parse(self, command: Buffer) -> Shown:
        lba, size, direction = parse_shown.unpack_from(command)
        return self._keep_shown(command, Shown(
            command[CDB_AT], DIRECTIONS[direction], None if lba < 0 else lba, size))

    def _keep_shown(self, command: Buffer, shown: Shown) -> Shown:
        if self._keeps_shown:  # ON_FREE_CMD does not say what the command was
            self._shown[header.unpack_from(command)[0]] = shown
        return shown

    def _show_on_free(self, command: Buffer) -> Shown:
        return self._shown.get(header.unpack_from(command)[0], Shown())

    def _show_nothing(self, _: Buffer) -> Shown:
        return Shown()

    # the subcommands: each packs its reply, and returns the SCSI status of an EXEC

    def _exec(self, command: Buffer, reply: Any) -> int:
        (handle, subcode, session, cdb, cdb_length, length, alloc_length, pbuf,
         direction) = exec_command.unpack_from(command)
        if cdb_length > abi.SCST_MAX_CDB_SIZE:
            cdb += self._extended_cdb(handle, cdb_length)
        access = self.disk.decode(cdb)
        lie = self._lie = self.lies.pick(handle, cdb[0], access) if self.lies.armed else None
        if lie is not None and lie.how is How.DROP:
            return GOOD  # which nobody will be told
        lent = 0
        if not pbuf and alloc_length:
            try:
                pbuf = lent = self.memory.take(alloc_length)
            except MemoryError:
                exec_reply.pack_into(reply, 0, handle, subcode, 0, 0,
                                     COMPLETED, TASK_SET_FULL, 0, 0)
                return TASK_SET_FULL
        status, got, sense = GOOD, 0, b""
        if access is None or (direction == WRITE and length < access.length):
            status, got, sense = self._control(cdb[:cdb_length], direction, pbuf, length)
        elif not pbuf:
            pass  # no blocks to move
        elif direction == READ:
            got = min(access.length, length)
            self.memory.view(pbuf)[:got] = self.lies.source(lie, access)[:got]
        elif lie is None or lie.how is not How.SKIP:
            self.disk.data[access.offset:access.end] = self.memory.view(pbuf)[:access.length]
            self.lies.spoil(lie, access)
        if lent and not got:
            self.memory.give(lent)
            pbuf = lent = 0
        if lent and self._is_loan(direction):
            self._loans[handle] = Loan(lent, session)
        if sense:
            self._sense[:len(sense)] = sense
        exec_reply.pack_into(reply, 0, handle, subcode, got, pbuf, COMPLETED,
                             status, len(sense), self._sense_at if sense else 0)
        if self._loans and not self._keeps_shown:
            self._spend(handle)
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

    def _extended_cdb(self, handle: int, length: int) -> bytes:
        room = ctypes.create_string_buffer(length - abi.SCST_MAX_CDB_SIZE)
        self.ioctl(self.fd, abi.GET_EXTENDED_CDB, ext_cdb.pack(handle, ctypes.addressof(room)))
        return room.raw

    def _alloc_mem(self, command: Buffer, reply: Any) -> None:
        handle, subcode, session, length, direction = alloc_command.unpack_from(command)
        try:
            pbuf = self.memory.take(length)
        except MemoryError:
            pbuf = 0  # the kernel answers the initiator with BUSY
        if pbuf and self._is_loan(direction):
            self._loans[handle] = Loan(pbuf, session)
        alloc_reply.pack_into(reply, 0, handle, subcode, pbuf)

    def _is_loan(self, direction: int) -> bool:
        """Tell whether a buffer is to be found again by its command.

        With on_free CALL all are, for ON_FREE_CMD says what became of each.
        """
        return self._keeps_shown or not self.options.cached(direction)

    def _on_free_cmd(self, command: Buffer, reply: Any) -> None:
        handle, subcode, pbuf, cached = on_free_command.unpack_from(command)
        self._shown.pop(handle, None)
        loan = self._loans.pop(handle, None)
        # A buffer in the kernel's cache comes back by ON_CACHED_MEM_FREE; one that the kernel
        # did not take (the answer came after the command's end) is not in this message.
        if loan is not None and not (cached and loan.address == pbuf):
            self.memory.give(loan.address)
        result_reply.pack_into(reply, 0, handle, subcode, 0)

    def _on_cached_mem_free(self, command: Buffer, reply: Any) -> None:
        handle, subcode, pbuf = cached_command.unpack_from(command)
        try:
            self.memory.give(pbuf)
        except KeyError:  # not ours: a pool shared with another process
            self.channel.emit("refused", handle=handle, error=f"no buffer at {pbuf:#x}")
            self.channel.flush()
        result_reply.pack_into(reply, 0, handle, subcode, 0)

    def _spend(self, handle: int) -> None:
        """With on_free IGNORE, an uncached buffer is ours again once EXEC is answered."""
        loan = self._loans.pop(handle, None)
        if loan is not None:
            self._spent.append(loan.address)

    def _abandon_spent(self) -> None:
        while self._spent:
            self.memory.abandon(self._spent.pop())

    def _parse(self, command: Buffer, reply: Any) -> None:
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
        parse_reply.pack_into(
            reply, 0, handle, subcode, GOOD, queue_type, direction, cdb_length, max(lba, 0),
            max(data_length, 0), length, flags, out_length)

    def _attach_sess(self, command: Buffer, reply: Any) -> None:
        handle, subcode, session, lun, initiator, target = sess_command.unpack_from(command)
        self.channel.emit("session", action="attached", session=session, lun=lun,
                          initiator=_text(initiator), target=_text(target))
        self.channel.flush()
        result_reply.pack_into(reply, 0, handle, subcode, 0)

    def _detach_sess(self, command: Buffer, reply: Any) -> None:
        handle, subcode, session, *_ = sess_command.unpack_from(command)
        self.channel.emit("session", action="detached", session=session)
        self.channel.flush()
        # With on_free IGNORE, commands that ended before EXEC left their buffers behind.
        for left in [key for key, loan in self._loans.items() if loan.session == session]:
            self._spend(left)
        result_reply.pack_into(reply, 0, handle, subcode, 0)

    def _ext_copy_remap(self, command: Buffer, reply: Any) -> None:
        """Nothing is left to copy: all of it was remapped."""
        handle, subcode = header.unpack_from(command)
        remap_reply.pack_into(reply, 0, handle, subcode, 0, 0, GOOD, 0, 0)

    def _done(self, command: Buffer, reply: Any) -> None:
        handle, subcode = header.unpack_from(command)
        result_reply.pack_into(reply, 0, handle, subcode, 0)


def _text(room: bytes) -> str:
    return room.partition(b"\0")[0].decode(errors="replace")


class Loop:
    """Waits for the kernel and for the test at once, until one of them ends it."""

    def __init__(self, channel: Channel, holds: Holds, device: Device) -> None:
        self._channel = channel
        self._holds = holds
        self._device = device
        self._leaving = False
        self._poll = select.poll()
        self._flushed_out, self._flushed_in = os.pipe2(os.O_CLOEXEC)
        for descriptor in (channel.fd_in, device.fd, self._flushed_out):
            self._poll.register(descriptor, select.POLLIN)
        self._handlers: dict[str, Callable[..., Any]] = {
            "hold": self._hold, "release": self._release, "close": self._close,
            "exit": self._exit, "flush_cache": self._flush_cache, "steps": self._steps,
            "serving": self._serving, "lie": device.lies.order, "truth": device.lies.stop,
        }

    def run(self) -> None:
        """Serve. Ends on ``exit``, or when the test hangs up."""
        wait: int | None = None
        while not self._leaving:
            ready = self._poll.poll(wait)
            for descriptor, _ in ready:
                if descriptor == self._device.fd:
                    self._device.work()
                elif descriptor == self._flushed_out:
                    self._report_flush()
                else:
                    self._serve_test()
            if not ready:
                self._channel.flush()
            wait = FLUSH_AFTER_MS if ready and self._device.steps else None
        self._close()

    def _serve_test(self) -> None:
        try:
            self._channel.serve(self._handlers)
        except EOFError:
            self._leaving = True

    def _hold(self, **order: Any) -> None:
        self._holds.order(**order)
        self._device.holding = True

    def _release(self) -> None:
        self._device.holding = False
        self._device.release_dropped()
        for handle in self._holds.release():
            self._device.release(handle)

    def _close(self) -> None:
        if self._device.fd >= 0:
            self._poll.unregister(self._device.fd)
            self._device.close()

    def _exit(self) -> None:
        self._leaving = True

    def _serving(self) -> bool:
        return self._device.fd >= 0

    def _steps(self, on: bool) -> None:
        self._device.steps = on

    def _flush_cache(self) -> None:
        if self._device.fd < 0:
            raise ValueError("the device is closed")
        threading.Thread(target=self._flush, args=(self._device.fd,), daemon=True).start()

    def _flush(self, descriptor: int) -> None:
        began, error = time.monotonic(), None
        try:
            self._device.ioctl(descriptor, abi.FLUSH_CACHE)
        except OSError as failure:
            error = errno.errorcode.get(failure.errno or 0, str(failure))
        self._flush_result = {"error": error, "seconds": time.monotonic() - began}
        os.write(self._flushed_in, b"x")

    def _report_flush(self) -> None:
        os.read(self._flushed_out, 1)
        self._channel.emit("flushed", **self._flush_result)
        self._channel.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=__name__, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--name", required=True, help="the device's name in SCST")
    parser.add_argument("--medium", required=True, help="file that keeps the data")
    parser.add_argument("--size", type=int, required=True, help="bytes")
    parser.add_argument("--block-size", type=int, required=True, help="bytes")
    parser.add_argument("--vendor", required=True)
    parser.add_argument("--product", required=True)
    parser.add_argument("--serial", required=True, help="unit serial number")
    parser.add_argument("--version-string", required=True, help="what SCST expects")
    for option, kind in abi.OPTIONS.items():
        parser.add_argument(f"--{option.replace('_', '-')}", choices=[e.name for e in kind],
                            default=getattr(Options, option).name)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Register the device and serve it. Exits with a line that says why it cannot."""
    arguments = _parser().parse_args(argv)
    options = Options(
        abi.ParseType[arguments.parse_type], abi.OnFreeCmdType[arguments.on_free_cmd_type],
        abi.MemoryReuseType[arguments.memory_reuse_type])
    disk = RamDisk(arguments.medium, arguments.size, arguments.block_size,
                   vendor=arguments.vendor, product=arguments.product, serial=arguments.serial)
    channel = Channel()
    holds = Holds(channel)
    try:
        descriptor = register(
            arguments.name, arguments.block_size, arguments.version_string, options)
    except RegistrationError as error:
        raise SystemExit(str(error)) from error
    device = Device(descriptor, disk, Memory(), options, channel, holds)
    loop = Loop(channel, holds, device)
    channel.emit("ready", device=arguments.name, pid=os.getpid())
    channel.flush()
    loop.run()


if __name__ == "__main__":
    main()
