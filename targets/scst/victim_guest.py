# SPDX-License-Identifier: GPL-2.0-or-later
"""A device of scst_user whose process serves it honestly until a command is in a wanted state.

Runs in the guest; stdlib only. Its SCSI device has no driver at the initiator, so that no command
comes but those of the scan and the one that a case needs.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import time
from contextlib import suppress
from typing import Any

from targets.backend import bsg_guest
from targets.backend.pointers import PAGE, Pointer
from targets.backend.pointers_guest import place
from targets.scst import abi
from targets.scst.interface import Handle

INQUIRY = 0x12
LUN = 1
BUFFER = 16 * PAGE

CDBS = {
    "write": bytes((0x2A, 0, 0, 0, 0, 0, 0, 0, 8, 0)),
    "read": bytes((0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0)),
    "write-same": bytes((0x93, 0, *bytes(8), 0, 0, 0, 8, 0, 0)),
    "write-32": bytes((0x7F, 0, 0, 0, 0, 0, 0, 24, 0, 0x0B, 0, 0, *bytes(8), *bytes(8),
                       0, 0, 0, 8)),
}
"""WRITE(10), READ(10), WRITE SAME(16) and WRITE(32) of 8 blocks (SBC-4); those with data have
4096 bytes, WRITE SAME has 512."""

SUBCODES = {Handle.PARSE: abi.Subcode.PARSE, Handle.ALLOC_MEM: abi.Subcode.ALLOC_MEM,
            Handle.EXEC: abi.Subcode.EXEC, Handle.BACKGROUND: abi.Subcode.EXEC,
            Handle.ON_FREE_CMD: abi.Subcode.ON_FREE_CMD}


def describe(name: bytes, version: str, *, parse: int, on_free: int) -> abi.DevDesc:
    """Return a valid description of a device."""
    strings = [place(Pointer.GOOD, text, PAGE) for text in (version.encode(), b"GPL")]
    return abi.DevDesc(
        version_str=strings[0], license_str=strings[1], block_size=512, name=name,
        sgv_name=name,
        opt=abi.Opt(parse_type=parse, on_free_cmd_type=on_free,
                    memory_reuse_type=abi.MemoryReuseType.NONE, queue_alg=1))


class Victim:
    """A device on an open descriptor ``fd``."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.handle = 0
        self.last = 0
        """The newest handle that the kernel has given out."""
        self.command: abi.GetCmd | None = None
        self._buffer = place(Pointer.GOOD, b"", BUFFER)
        self._reply: abi.ReplyCmd | None = None

    def exchange(self) -> abi.GetCmd | None:
        """Send the pending reply and fetch a command; None when there is none. Raises OSError."""
        get = abi.GetCmd()
        if self._reply is not None:
            get.preply = ctypes.addressof(self._reply)
        try:
            fcntl.ioctl(self.fd, abi.REPLY_AND_GET_CMD, get)
        except OSError as error:
            self._reply = None
            if error.errno != errno.EAGAIN:
                raise
            return None
        self._reply = None
        self.last = max(self.last, get.cmd_h)
        return get

    def reply(self) -> None:
        """Send the pending reply alone."""
        if self._reply is not None:
            reply, self._reply = self._reply, None
            fcntl.ioctl(self.fd, abi.REPLY_CMD, reply)

    def serve(self, seconds: float, wanted: Handle | None = None, opcode: int = -1) -> bool:
        """Serve until a command with an operation code is in the wanted state.

        Returns whether one is; its handle is then in ``handle``. Raises OSError.
        """
        end = time.monotonic() + seconds
        ours, poll = False, select.poll()
        poll.register(self.fd, select.POLLIN)
        while time.monotonic() < end:
            command = self.exchange() if poll.poll(2) else None
            if command is None:
                continue
            is_ours = (ours and command.cmd_h == self.handle) if wanted is Handle.ON_FREE_CMD \
                else command.exec_cmd.cdb[0] == opcode
            if wanted is not None and command.subcode == SUBCODES[wanted] and is_ours:
                self.handle, self.command = command.cmd_h, command
                if wanted is Handle.BACKGROUND:
                    self._reply = honest(command, self._buffer)
                    self._reply.exec_reply.reply_type = abi.ExecReply.BACKGROUND
                    self.reply()
                return True
            if command.subcode == abi.Subcode.EXEC and command.exec_cmd.cdb[0] == opcode:
                ours, self.handle = True, command.cmd_h
            self._reply = honest(command, self._buffer)
            self.reply()
        return False

    def complete(self) -> None:
        """Complete the command in the background, unless the call under test has done it."""
        if self.command is not None:
            reply = honest(self.command, self._buffer)
            with suppress(OSError):
                fcntl.ioctl(self.fd, abi.REPLY_CMD, reply)

    def goes_on(self, seconds: float) -> None:
        """Serve for a time, whatever the kernel refuses."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self.serve(left)
            except OSError:
                time.sleep(0.01)


def honest(command: abi.GetCmd, buffer: int) -> abi.ReplyCmd:
    """Return the correct reply to a command. ``buffer``: address of memory for its data."""
    reply = abi.ReplyCmd(cmd_h=command.cmd_h, subcode=command.subcode)
    if command.subcode == abi.Subcode.PARSE:
        _parsed(command.parse_cmd, reply.parse_reply)
    elif command.subcode == abi.Subcode.ALLOC_MEM:
        reply.alloc_reply.pbuf = buffer
    elif command.subcode == abi.Subcode.EXEC:
        executed(command.exec_cmd, reply.exec_reply, buffer)
    return reply


def _parsed(command: Any, reply: Any) -> None:
    reply.queue_type, reply.cdb_len = command.queue_type, command.cdb_len
    reply.lba = max(command.lba, 0)
    length = command.expected_transfer_len if command.expected_values_set else command.bufflen
    reply.bufflen = reply.data_len = length
    reply.data_direction = (command.expected_data_direction if command.expected_values_set
                            else command.data_direction)
    if not length:
        reply.data_direction = abi.DataDirection.NONE
    reply.op_flags = abi.INFO_VALID | abi.LBA_NOT_VALID


def executed(command: Any, reply: Any, buffer: int) -> None:
    """Fill the reply to EXEC: GOOD; standard INQUIRY data, or zeros, for what reads."""
    reply.reply_type = abi.ExecReply.COMPLETED
    if command.data_direction != abi.DataDirection.READ:
        return
    reply.resp_data_len = command.bufflen
    at = command.pbuf or buffer
    if not command.pbuf:
        reply.pbuf = buffer
    data = bytes(min(command.bufflen, BUFFER))
    if command.cdb[0] == INQUIRY:
        plain = bsg_guest.INQUIRY_PROCESSOR
        data = (bytes((3, command.cdb[2])) if command.cdb[1] & 1 else plain).ljust(len(data), b"\0")
    ctypes.memmove(at, data, min(len(data), command.bufflen))


TEST_UNIT_READY = bytes(6)


def send(address: str, kind: str, luns: str, device: str, *, attentive: bool) -> None:
    """Export a device as LUN 1 of the target, and send the initiator's command to it.

    ``attentive``: take the unit attentions first, with which the command would end before EXEC.
    """
    write_management(f"{luns}/mgmt", f"add {device} {LUN}")
    if not bsg_guest.wait_node(address, 0.5):
        host = address.partition(":")[0]
        fd = os.open(f"/sys/class/scsi_host/host{host}/scan", os.O_WRONLY)
        try:
            os.write(fd, f"0 0 {LUN}".encode())
        finally:
            os.close(fd)
        bsg_guest.wait_node(address, 3.0)
    for _ in range(4 if attentive else 0):
        if not bsg_guest.issue(address, TEST_UNIT_READY):
            break
    data = 512 if kind == "write-same" else PAGE
    read = kind == "read"
    bsg_guest.issue(address, CDBS[kind], written=0 if read else data, read=data if read else 0)


def write_management(path: str, text: str) -> None:
    """Write to a management file of SCST; wait for a result that comes later. Raises OSError."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        if error.errno != errno.EAGAIN:
            raise
        _result()
    finally:
        os.close(fd)


def _result() -> None:
    while True:
        fd = os.open("/sys/kernel/scst_tgt/last_sysfs_mgmt_res", os.O_RDONLY)
        try:
            with suppress(BlockingIOError):
                os.read(fd, 64)
                return
        finally:
            os.close(fd)
        time.sleep(0.01)
