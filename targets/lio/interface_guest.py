# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong contents of TCMU's ring and wrong calls, each by a process with a device of its own.

Runs in the guest; stdlib only. Argument: JSON with ``cases`` and ``bounds`` as in
targets.backend.cases_guest, ``group`` (directory of a loopback target's portal group) and ``host``
(number of its SCSI host). A case has number, call, value, commands and then, by the names of
targets.lio.interface.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import select
import signal
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from targets.backend import bsg_guest, cases_guest
from targets.backend.cases_guest import emit
from targets.lio import netlink_guest
from targets.lio.interface import ACTIONS, BY_NAME, DEVICE_FIRST, Call, Commands, Then, Value
from targets.lio.ring_guest import (
    CMD_TAIL,
    CMDR_OFF,
    OP_MASK,
    BrokenRingError,
    Command,
    Ring,
)
from targets.lio.tcmu_guest import KICK, UIO_CLASS

HBA = "/sys/kernel/config/target/core/user_0"
LUN = 1
LOCK = "/dev/shm/stf-interface.lock"
"""Locked by the processes that send the initiator's commands, until the end of the last."""

SIZE = 1 << 20
TIME_OUT, TIMED_OUT = 1, 1.6
"""Seconds: cmd_time_out of the device, and after which a command has been given up."""

ARRANGED_IN = 4.0
SERVED = 0.3
INQUIRY, WRITE_10 = 0x12, 0x2A
WRITE = bytes((WRITE_10, 0, 0, 0, 0, 0, 0, 0, 8, 0))
COUNTS = {Commands.NONE: 0, Commands.ONE: 1, Commands.SEVERAL: 3, Commands.TIMED_OUT: 1}

FIELDS: Mapping[str, tuple[int, str]] = {
    "mailbox.version": (0, "=H"), "mailbox.flags": (2, "=H"), "mailbox.cmdr_off": (4, "=I"),
    "mailbox.cmdr_size": (8, "=I"), "mailbox.cmd_head": (12, "=I"),
    "mailbox.cmd_tail": (CMD_TAIL, "=I"), "entry.len_op": (0, "=I"), "entry.length": (0, "=I"),
    "entry.operation": (0, "=I"), "entry.pad": (0, "=I"), "entry.cmd_id": (4, "=H"),
    "entry.uflags": (7, "=B"), "entry.scsi_status": (8, "=B"), "entry.read_len": (12, "=I"),
    "entry.sense_buffer": (16, "=B"),
}
"""Offsets and formats: of the mailbox, and of an entry."""


def number(value: Value, now: int, entry: int, limit: int, bits: int) -> int:
    """Return a value for a field of ``bits`` that holds ``now``. ``entry``: an entry's length."""
    return {Value.SAME: now, Value.ZERO: 0, Value.ONE: 1, Value.TWO: 2, Value.MINUS_ONE: -1,
            Value.MISALIGNED: now + 3, Value.BEHIND: now - entry, Value.BEYOND: now + entry,
            Value.LIMIT: limit, Value.OVER: limit + 1, Value.HUGE: (1 << bits - 1) - 1,
            }[value] % (1 << bits)


def write_attribute(path: str, text: str) -> None:
    """Write to a file of configfs with one write(2). Raises OSError."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def errno_of(act: Callable[[], object]) -> str:
    """Do something; return the name of its errno, "" for success."""
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return ""


class Tcmu:
    """Arranges cases for TCMU."""

    def __init__(self, group: str, host: int) -> None:
        self._lun = f"{group}/lun/lun_{LUN}"
        self._address = f"{host}:0:{group.rpartition('_')[2]}:{LUN}"

    def arrange(self, case: Mapping[str, Any]) -> Callable[[], None]:
        """Make the device, and bring its commands into the ring."""
        return Process(case, self._lun, self._address).arrange()

    def tidy(self, case: Mapping[str, Any]) -> None:
        """Remove LUN and backstore of the case; tcm_loop removes the SCSI device with the LUN.

        If the SCSI device is removed first, as with DEVICE_FIRST, tcm_loop counts the LUN for ever,
        and never frees the nexus (known issue lio-loop-device-deleted).
        """
        with Path(LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        if case.get("tidy") == DEVICE_FIRST:
            bsg_guest.delete(self._address)
        with suppress(FileNotFoundError):
            (Path(self._lun) / "backstore").unlink()
        for directory in (self._lun, f"{HBA}/abi{case['number']}"):
            with suppress(FileNotFoundError):
                Path(directory).rmdir()

    def kept(self) -> str:
        """Return a description of the backstores and LUNs that are left."""
        left = [path.name for path in Path(HBA).glob("abi*")]
        left += [self._lun] if Path(self._lun).exists() else []
        return f"{', '.join(left)} cannot be removed" if left else ""


class Process:
    """The process of one case: its device, its ring, its change, and what it does then."""

    def __init__(self, case: Mapping[str, Any], lun: str, address: str) -> None:
        self.number: int = case["number"]
        self.call: Call = BY_NAME[case["call"]]
        self.value, self.then = Value(case["value"]), Then(case["then"])
        self.commands = Commands(case["commands"])
        self.backstore = f"{HBA}/abi{self.number}"
        self._lun, self._address = lun, address
        self.fd = -1
        self.held: list[Command] = []

    def arrange(self) -> Callable[[], None]:
        """Make everything before the call; return the call."""
        self._make_backstore()
        entry = next(entry for entry in UIO_CLASS.glob("uio*") if (
            entry / "name").read_text().strip() == f"tcm-user/0/abi{self.number}/abi")
        self.size = int((entry / "maps/map0/size").read_text(), 0)
        self.node = f"/dev/{entry.name}"
        self.fd = os.open(self.node, os.O_RDWR | os.O_NONBLOCK)
        self.area = mmap.mmap(self.fd, self.size)
        self.ring = Ring(self.area)
        if COUNTS[self.commands]:
            self._bring()
        if self.commands is Commands.TIMED_OUT:
            time.sleep(TIMED_OUT)
        return self._make

    def _make_backstore(self) -> None:
        Path(self.backstore).mkdir()
        write_attribute(f"{self.backstore}/control", ",".join((
            "dev_config=abi", f"dev_size={SIZE}", "hw_block_size=512", "hw_max_sectors=128",
            "max_data_area_mb=1", "cmd_ring_size_mb=1", "nl_reply_supported=-1")))
        write_attribute(f"{self.backstore}/attrib/cmd_time_out", str(TIME_OUT))
        write_attribute(f"{self.backstore}/enable", "1")

    def _bring(self) -> None:
        lock = os.open(LOCK, os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.fork():
            with suppress(BaseException):
                self._send()
            os._exit(0)
        os.close(lock)
        end = time.monotonic() + ARRANGED_IN
        while len(self.held) < COUNTS[self.commands]:
            if time.monotonic() > end:
                raise ValueError(f"{len(self.held)} of {COUNTS[self.commands]} commands came")
            self.serve(hold=True)
            time.sleep(0.002)

    def _send(self) -> None:
        """Export the device, and send its commands at the same time."""
        self.ring.close()
        self.area.close()
        os.close(self.fd)
        Path(self._lun).mkdir()
        (Path(self._lun) / "backstore").symlink_to(self.backstore)
        bsg_guest.wait_node(self._address, 3.0)
        for _ in range(COUNTS[self.commands] - 1):
            if not os.fork():
                break
        bsg_guest.issue(self._address, WRITE, written=4096)

    def serve(self, *, hold: bool) -> None:
        """Answer the commands that have come; ``hold``: keep the WRITEs."""
        ring, came = self.ring, False
        for command in ring.take():
            if not isinstance(command, Command):
                continue
            came = True
            if hold and command.cdb[0] == WRITE_10:
                self.held.append(command)
                continue
            if command.cdb[0] == INQUIRY and command.iov:
                at, room = command.iov[0]
                data = bytes((3, command.cdb[2])) if command.cdb[1] & 1 else \
                    bsg_guest.INQUIRY_PROCESSOR
                ring.area[at:at + room] = data.ljust(room, b"\0")[:room]
            ring.complete(command.cmd_id, 0)
        if came:
            os.write(self.fd, KICK)

    def _make(self) -> None:
        """Make the change, emit its result, and do what comes then."""
        began = time.monotonic()
        if self.then is Then.REMOVE:
            threading.Thread(target=lambda: errno_of(Path(self.backstore).rmdir)).start()
        error = self._change()
        emit("done", number=self.number, errors=[error],
             seconds=round(time.monotonic() - began, 5))
        FOLLOW[self.then](self)

    def _change(self) -> str:
        if self.call.in_memory:
            self._poke()
            return ""
        return errno_of(partial(CHANGES[self.call.area], self))

    def _poke(self) -> None:
        """Write the value to its field of the shared memory."""
        tail = self.word(CMD_TAIL)
        at, kind = FIELDS[self.call.name]
        base = self.word(CMDR_OFF) + tail
        len_op = self.word(base)
        at += base if self.call.in_ring else 0
        now = struct.unpack_from(kind, self.area, at)[0]
        new = number(self.value, now, max(len_op & ~OP_MASK, 64), self.call.limit,
                     8 * struct.calcsize(kind))
        new = {"length": new & ~OP_MASK | len_op & OP_MASK, "pad": new & ~OP_MASK,
               "operation": len_op & ~OP_MASK | new & OP_MASK}.get(self.call.field, new)
        self.entry_length = len_op & ~OP_MASK
        struct.pack_into(kind, self.area, at, new)

    entry_length = 0

    def word(self, at: int) -> int:
        """Return a 32-bit word of the shared memory."""
        found: int = struct.unpack_from("=I", self.area, at)[0]
        return found

    def plain(self) -> int:
        """Return the value for a call outside the shared memory."""
        return number(self.value, self.call.limit, 4, self.call.limit, 32)

    def close(self) -> None:
        """Close the device, with its mapping."""
        with suppress(BufferError, OSError):
            self.ring.close()
            self.area.close()
        os.close(self.fd)

    def kick(self) -> None:
        """Make the kernel read the ring; emit its result."""
        emit("again", number=self.number, errors=[errno_of(lambda: os.write(self.fd, KICK))])


def _uio(process: Process) -> None:
    size = process.plain()
    field = process.call.field
    signed = size - (1 << 32) if size >> 31 else size
    if field == "read":
        process.fd_read = os.read(process.fd, min(size, 1 << 20))  # type: ignore[attr-defined]
    elif field == "write":
        os.write(process.fd, bytes(min(size, 1 << 16)))
    elif field == "mmap_size":
        mmap.mmap(process.fd, max(1, (process.size + signed * 4096) % (1 << 40)))
    elif field == "mmap_offset":
        mmap.mmap(process.fd, 4096, offset=(size % (1 << 20)) * 4096)
    elif field == "ioctl":
        fcntl.ioctl(process.fd, size, 0)
    elif field == "poll":
        poll = select.poll()
        poll.register(process.fd, size & 0xFFFF)
        poll.poll(0)
    else:
        _remap(process, size)


MAYMOVE = 1


def _remap(process: Process, size: int) -> None:
    """Unmap a part of the shared memory, or move and resize it."""
    libc = ctypes.CDLL(None, use_errno=True)
    at = ctypes.addressof(ctypes.c_char.from_buffer(process.area))
    pages = (size % 64) * 4096
    if process.call.field == "munmap":
        result = libc.munmap(ctypes.c_void_p(at + process.size // 2), ctypes.c_size_t(pages))
    else:
        libc.mremap.restype = ctypes.c_long
        result = libc.mremap(ctypes.c_void_p(at), ctypes.c_size_t(process.size),
                             ctypes.c_size_t(process.size + pages), MAYMOVE)
    if result == -1:
        raise OSError(ctypes.get_errno(), "the memory cannot be remapped")


def _attribute(process: Process) -> None:
    name, value = process.call.field, process.plain()
    signed = value - (1 << 32) if value >> 31 else value
    directory = "action" if name in ACTIONS else "attrib"
    write_attribute(f"{process.backstore}/{directory}/{name}", str(signed))


def _netlink(process: Process) -> None:
    link, family = netlink_guest.connect()
    value, field = process.plain(), process.call.field
    status = netlink_guest.attribute(netlink_guest.ATTR_CMD_STATUS, struct.pack(
        "=I", value if field.endswith("status") else 0))
    device = netlink_guest.attribute(
        netlink_guest.ATTR_DEVICE_ID, struct.pack("=I", value),
        value & 0xFFFF if field == "truncated" else None)
    command = {"added_done": netlink_guest.ADDED_DEVICE_DONE,
               "removed_done": netlink_guest.REMOVED_DEVICE_DONE,
               "reconfig_done": netlink_guest.RECONFIG_DEVICE_DONE,
               "truncated": netlink_guest.ADDED_DEVICE_DONE}.get(
                   field.partition(".")[0], value & 0xFF)
    error, _ = netlink_guest.exchange(link, netlink_guest.message(family, command, status + device))
    if error:
        raise OSError(error, os.strerror(error))


CHANGES: Mapping[str, Callable[[Process], None]] = {
    "uio": _uio, "attribute": _attribute, "netlink": _netlink}


def _go_on(process: Process) -> None:
    end = time.monotonic() + SERVED
    with suppress(BrokenRingError, OSError, struct.error, ValueError, IndexError):
        for command in process.held:
            process.ring.complete(command.cmd_id, 0)
        process.kick()
        while time.monotonic() < end:
            process.serve(hold=False)
            time.sleep(0.005)
    process.close()


def _kick(process: Process) -> None:
    process.kick()
    process.close()


def _complete(process: Process) -> None:
    """Move the tail behind the first entry, whatever the entry's own length is now."""
    tail = process.word(CMD_TAIL) + process.entry_length
    struct.pack_into("=I", process.area, CMD_TAIL, tail & 0xFFFFFFFF)
    process.kick()
    process.close()


def _close(process: Process) -> None:
    process.close()


def _kill(process: Process) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fork(process: Process) -> None:
    if not os.fork():
        process.kick()
        time.sleep(SERVED / 3)
    os._exit(0)


def _second_opener(process: Process) -> None:
    if not os.fork():
        error = errno_of(lambda: os.write(os.open(process.node, os.O_RDWR), KICK))
        emit("again", number=process.number, errors=[error])
        os._exit(0)
    process.close()


def _remove(process: Process) -> None:
    process.kick()
    process.close()


FOLLOW: Mapping[Then, Callable[[Process], None]] = {
    Then.GO_ON: _go_on, Then.KICK: _kick, Then.COMPLETE: _complete, Then.CLOSE: _close,
    Then.KILL: _kill, Then.FORK: _fork, Then.SECOND_OPENER: _second_opener, Then.REMOVE: _remove,
}


def main(argv: Sequence[str]) -> None:
    """Run the argument's cases."""
    cases_guest.main(argv, lambda given: Tcmu(given["group"], given["host"]))
