# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls to /dev/scst_user with wrong arguments, each in a process with a device of its own.

Runs in the guest; stdlib only. Argument: JSON with ``cases`` and ``bounds`` as in
targets.backend.cases_guest, ``version`` (scst_user's version string), ``luns`` (directory of the
LUNs of a loopback target) and ``host`` (the number of its SCSI host). A case has number, call,
pointer, handle, amount, device and then, by the names of targets.scst.interface.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from targets.backend import bsg_guest, cases_guest
from targets.backend.cases_guest import emit
from targets.backend.pointers import PAGE, Pointer
from targets.backend.pointers_guest import place
from targets.scst import abi
from targets.scst.arguments_guest import Setting, argument
from targets.scst.interface import (
    BY_NAME,
    FEW,
    LIVE,
    MANY,
    Amount,
    Call,
    DeviceState,
    Handle,
    Then,
)
from targets.scst.victim_guest import CDBS, LUN, Victim, describe, send, write_management

MODULE = "scst_user"
REFERENCES = Path(f"/sys/module/{MODULE}/refcnt")
LOCK = "/dev/shm/stf-interface.lock"
"""Locked by the process that sends the initiator's command, until its end."""

ARRANGED_IN = 4.0
"""Seconds within which a command comes to its state."""

SERVED = 0.3
"""Seconds for which a process that goes on serves its device after the call."""

SYS_DELETE_MODULE = 176  # arch/x86/entry/syscalls/syscall_64.tbl

_libc = ctypes.CDLL(None, use_errno=True)


def errno_of(result: int) -> str:
    """Return the name of the errno of a system call by ctypes, "" when it succeeded."""
    number = ctypes.get_errno()
    return "" if result >= 0 else errno.errorcode.get(number, str(number))


def ioctl(fd: int, request: int, address: int) -> str:
    """Make an ioctl by address; return its errno's name, "" for success."""
    return errno_of(_libc.ioctl(ctypes.c_int(fd), ctypes.c_ulong(request),
                                ctypes.c_void_p(address)))


class ScstUser:
    """Arranges cases for scst_user."""

    def __init__(self, version: str, luns: str, host: int) -> None:
        self._version, self._luns = version, luns
        self._address = f"{host}:0:0:{LUN}"
        self._references = int(REFERENCES.read_text())

    def arrange(self, case: Mapping[str, Any]) -> Callable[[], None]:
        """Register the device, and bring the case's command to its state."""
        return Process(case, self._version, self._luns, self._address).arrange()

    def tidy(self, case: Mapping[str, Any]) -> None:
        """Remove the SCSI device and the LUN that the case made."""
        with Path(LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        bsg_guest.delete(self._address)
        if Path(f"{self._luns}/{LUN}").exists():
            with suppress(OSError):
                write_management(f"{self._luns}/mgmt", f"del {LUN}")

    def kept(self) -> str:
        """Return a description of the module's references beyond those at the beginning."""
        if not REFERENCES.exists():
            return f"the module {MODULE} has been removed"
        over = int(REFERENCES.read_text()) - self._references
        return "" if over <= 0 else f"{over} of the module's references are left"


class Process:
    """The process of one case: its descriptor, its device, its call, and what it does then."""

    def __init__(
        self, case: Mapping[str, Any], version: str, luns: str, address: str,
    ) -> None:
        self.number: int = case["number"]
        self.call: Call = BY_NAME[case["call"]]
        self.pointer, self.amount = Pointer(case["pointer"]), Amount(case["amount"])
        self.handle, self.state = Handle(case["handle"]), DeviceState(case["device"])
        self.then = Then(case["then"])
        self.name = f"abi{self.number}"
        self._version, self._luns, self._address = version, luns, address
        self.fd = -1

    def arrange(self) -> Callable[[], None]:
        """Make everything before the call; return the call."""
        self.fd = os.open(abi.DEVICE_NODE, os.O_RDWR | (
            0 if self.state is DeviceState.BLOCKING else os.O_NONBLOCK))
        victim = Victim(self.fd)
        if self.state is not DeviceState.BEFORE:
            self._register(self.fd, self.name)
        handle = self._bring(victim)
        if self.state is DeviceState.UNREGISTERED:
            fcntl.ioctl(self.fd, abi.UNREGISTER_DEVICE)
        name = self.name if self.state is DeviceState.BEFORE else f"{self.name}x"
        setting = Setting(self.call, self.pointer, self.amount, victim, handle, name,
                          self._version)
        return partial(self._make, victim, self._caller(setting))

    def _register(self, fd: int, name: str) -> None:
        fcntl.ioctl(fd, abi.REGISTER_DEVICE, describe(
            name.encode(), self._version, parse=int(self.handle is Handle.PARSE),
            on_free=int(self.handle is not Handle.ON_FREE_CMD)))

    def _bring(self, victim: Victim) -> int:
        """Bring a command to the case's state; return the handle to pass."""
        if self.state is DeviceState.BEFORE or self.handle is Handle.UNKNOWN:
            return 0x7FFF
        if self.handle in LIVE:
            return self._initiate(victim)
        if self.handle is Handle.PREALLOCATED:
            return self._preallocate(self.fd)
        if self.handle is Handle.FREED:
            freed = self._preallocate(self.fd)
            fcntl.ioctl(self.fd, abi.FLUSH_CACHE)
            victim.serve(0.1)
            return freed
        if self.handle is Handle.ANOTHER_DEVICE:
            other = os.open(abi.DEVICE_NODE, os.O_RDWR | os.O_NONBLOCK)
            self._register(other, f"{self.name}b")
            return max(self._preallocate(other) for _ in range(3))
        return -1 if self.handle is Handle.MINUS_ONE else 0

    def _preallocate(self, fd: int) -> int:
        buffer = abi.PreallocBuffer()
        inward = getattr(buffer, "in")
        inward.pbuf, inward.bufflen = place(Pointer.GOOD, b"", 4 * PAGE), 4 * PAGE
        fcntl.ioctl(fd, abi.PREALLOC_BUFFER, buffer)
        return int(buffer.out.cmd_h)

    def _initiate(self, victim: Victim) -> int:
        lock = os.open(LOCK, os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.fork():
            os.close(self.fd)
            with suppress(BaseException):
                send(self._address, self.call.cdb, self._luns, self.name,
                     attentive=self.handle is not Handle.QUEUED)
            os._exit(0)
        os.close(lock)  # the other process has it until its end
        if self.handle is Handle.QUEUED:
            self._queue(victim)
            return 0
        if not victim.serve(ARRANGED_IN, self.handle, CDBS[self.call.cdb][0]):
            raise ValueError(f"no command came to {self.handle}")
        return victim.handle

    def _queue(self, victim: Victim) -> None:
        """Serve the scan, and leave the command that comes after it in the kernel's queue."""
        end = time.monotonic() + ARRANGED_IN
        while not bsg_guest.node(self._address).exists() and time.monotonic() < end:
            victim.serve(0.01)
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if not poll.poll(1000 * ARRANGED_IN):
            raise ValueError("no command was queued")

    def _caller(self, setting: Setting) -> Callable[[int], str]:
        """Return the call as a function of a descriptor, with its arguments made."""
        others = OTHERS.get(self.call.ioctl)
        if others is not None:
            return partial(others, setting)
        request, address = argument(setting)
        return partial(ioctl, request=request, address=address)

    def _make(self, victim: Victim, call: Callable[[int], str]) -> None:
        """Make the call, emit its result, and do what comes then."""
        closing = threading.Thread(target=os.close, args=(self.fd,))
        if self.state is DeviceState.CLOSING:
            closing.start()
        began = time.monotonic()
        many = FEW if self.call.ioctl == "REGISTER_DEVICE" else MANY
        errors = [call(self.fd) for _ in range(many if self.amount is Amount.MANY else 1)]
        emit("done", number=self.number, errors=list(dict.fromkeys(errors)),
             seconds=round(time.monotonic() - began, 5))
        if self.state is DeviceState.CLOSING and self.then is not Then.KILL:
            closing.join()
        else:
            FOLLOW[self.then](self, victim, call)

    def again(self, call: Callable[[int], str], fd: int) -> None:
        """Make the call again, by another descriptor."""
        emit("again", number=self.number, errors=[call(fd)])


def _go_on(process: Process, victim: Victim, call: Callable[[int], str]) -> None:
    if process.handle is Handle.BACKGROUND:
        victim.complete()
    victim.goes_on(SERVED)
    os.close(process.fd)


def _close(process: Process, victim: Victim, call: Callable[[int], str]) -> None:
    os.close(process.fd)


def _kill(process: Process, victim: Victim, call: Callable[[int], str]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fork(process: Process, victim: Victim, call: Callable[[int], str]) -> None:
    if not os.fork():
        time.sleep(SERVED / 3)
    os._exit(0)


def _dup(process: Process, victim: Victim, call: Callable[[int], str]) -> None:
    other = os.dup(process.fd)
    os.close(process.fd)
    process.again(call, other)
    os.close(other)


def _hand_over(process: Process, victim: Victim, call: Callable[[int], str]) -> None:
    ours, theirs = socket.socketpair()
    if not os.fork():
        os.close(process.fd)
        _, (fd, *_), *_ = socket.recv_fds(theirs, 1, 1)
        process.again(call, fd)
        os._exit(0)
    socket.send_fds(ours, [b"d"], [process.fd])
    os.close(process.fd)


def _rmmod(process: Process, victim: Victim, call: Callable[[int], str]) -> None:
    error = errno_of(_libc.syscall(SYS_DELETE_MODULE, MODULE.encode(), os.O_NONBLOCK))
    emit("removal", number=process.number, error=error)
    if not error:
        time.sleep(0.05)  # the event leaves the guest first
    process.again(call, process.fd)
    os.close(process.fd)


def _answer(process: Process, victim: Victim, call: Callable[[int], str]) -> None:
    buffer = place(Pointer.GOOD, b"", 4 * PAGE)
    errors = []
    for handle in range(victim.last + 1, victim.last + 4):
        reply = abi.ReplyCmd(cmd_h=handle, subcode=abi.Subcode.ALLOC_MEM)
        reply.alloc_reply.pbuf = buffer
        errors.append(ioctl(process.fd, abi.REPLY_CMD, place(Pointer.GOOD, bytes(reply))))
    emit("again", number=process.number, errors=errors)
    victim.goes_on(SERVED)
    os.close(process.fd)


FOLLOW: Mapping[Then, Callable[[Process, Victim, Callable[[int], str]], None]] = {
    Then.GO_ON: _go_on, Then.CLOSE: _close, Then.KILL: _kill, Then.FORK: _fork, Then.DUP: _dup,
    Then.HAND_OVER: _hand_over, Then.RMMOD: _rmmod, Then.ANSWER: _answer,
}


def _read(setting: Setting, fd: int) -> str:
    address = place(setting.pointer, bytes(PAGE))
    return errno_of(_libc.read(fd, ctypes.c_void_p(address), ctypes.c_size_t(PAGE)))


def _write(setting: Setting, fd: int) -> str:
    address = place(setting.pointer, bytes(PAGE))
    return errno_of(_libc.write(fd, ctypes.c_void_p(address), ctypes.c_size_t(PAGE)))


def _mmap(setting: Setting, fd: int) -> str:
    try:
        mmap.mmap(fd, PAGE)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "")
    return ""


def _lseek(setting: Setting, fd: int) -> str:
    try:
        os.lseek(fd, 1 << 40, os.SEEK_SET)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "")
    return ""


MASKS = (0, *(1 << bit for bit in range(16)), 0xFFFF)


def _poll(setting: Setting, fd: int) -> str:
    """Poll for every event, alone and all together."""
    for mask in MASKS:
        poll = select.poll()
        poll.register(fd, mask)
        poll.poll(0)
    return ""


def _epoll(setting: Setting, fd: int) -> str:
    """Wait for every event, level- and edge-triggered, once, and exclusively."""
    for mask in (*MASKS, *(1 << bit for bit in range(28, 32)), 0xF000FFFF):
        with select.epoll() as epoll:
            try:
                epoll.register(fd, mask)
            except OSError as error:
                if error.errno != errno.EINVAL:  # EPOLLEXCLUSIVE with some of the others
                    return errno.errorcode.get(error.errno or 0, "")
                continue
            epoll.poll(0)
    return ""


OTHERS: Mapping[str, Callable[[Setting, int], str]] = {
    "READ": _read, "WRITE": _write, "MMAP": _mmap, "LSEEK": _lseek, "POLL": _poll,
    "EPOLL": _epoll}
"""System calls other than ioctl, by their names in the catalogue."""


def main(argv: Sequence[str]) -> None:
    """Run the argument's cases."""
    cases_guest.main(argv, lambda given: ScstUser(given["version"], given["luns"], given["host"]))
