# SPDX-License-Identifier: GPL-2.0-or-later
"""The threads that fetch a device's commands, and block in the ioctl as in real handlers.

Runs in the guest; stdlib only. Each command of the kernel is answered in the same ioctl that
fetches the next command or commands: SCST_USER_REPLY_AND_GET_CMD, SCST_USER_REPLY_AND_GET_MULTI.

A signal makes a thread return from the ioctl; the kernel reacts to nothing else except
SCST_USER_UNREGISTER_DEVICE. A signal may come just before the thread blocks, so signals are
repeated.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import struct
import threading
from collections.abc import Callable
from functools import partial

from targets.backend.disk import Buffer
from targets.scst import abi
from targets.scst.user_guest.answers import REPLY_SIZE, Sheet
from targets.scst.user_guest.device import Device, header
from targets.scst.user_guest.outputs import GET_SIZE, POISONED, SHORT

CALL_OUT = signal.SIGUSR1
"""Interrupts the ioctl. ``main`` sets a handler that does nothing."""

CALL_AGAIN = 0.02
"""Seconds after which a thread that has not returned gets another signal."""

BATCH = 16
"""Most commands that REPLY_AND_GET_MULTI fetches at once."""

PREPLY_AT = abi.GetCmd.preply.offset
preply = struct.Struct("=Q")

preplies = abi.packing((0, abi.GetMulti, ("preplies",)))
counts = struct.Struct("=hhh")  # replies_cnt, replies_done, cmds_cnt
COUNTS_AT = abi.GetMulti.replies_cnt.offset
CMDS_AT = abi.GetMulti.cmds.offset
COMMANDS_AT = [CMDS_AT + number * GET_SIZE for number in range(BATCH)]
POISONED_BATCH = memoryview(POISONED * BATCH)
"""All output fields of REPLY_AND_GET_MULTI's subcommands, before a call."""

Call = Callable[[], int]

_ioctl = ctypes.CDLL(None, use_errno=True).ioctl


def ioctl_at(fd: int, request: int, address: int) -> Call:
    """Return a function that does an ioctl on a structure of any size.

    The function returns 0, or a negative number and sets errno. fcntl.ioctl does not let other
    threads run when it is given more than 1024 bytes to change (fcntl_ioctl_impl in CPython's
    Modules/fcntlmodule.c). Arguments of ctypes' own types need no conversion at each call, which is
    a third of its time.
    """
    return partial(_ioctl, ctypes.c_int(fd), ctypes.c_ulong(request), ctypes.c_void_p(address))


def last_error() -> OSError:
    """Return the error of this thread's last ioctl by address."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


class Getter:
    """Fetches commands of a device and answers them, in a thread or by calls of ``turn``.

    ``multi``: several at a time. ``ioctl``: the ioctl by address, or a stand-in.
    """

    def __init__(self, device: Device, *, multi: bool,
                 ioctl: Callable[[int, int, int], Call] = ioctl_at) -> None:
        self._device = device
        self.multi = multi
        self._leaving = False
        self._sheet = Sheet(device.memory, BATCH if multi else 1)
        self._answered = 0
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._get = bytearray(GET_SIZE)
        self._page = device.memory.take(CMDS_AT + BATCH * GET_SIZE) if multi else 0
        self._room = device.memory.view(self._page) if multi else memoryview(b"")
        if multi:
            preplies.pack_into(self._room, 0, self._sheet.address)
            self._room[CMDS_AT:CMDS_AT + len(POISONED_BATCH)] = POISONED_BATCH
        self._fetch = ioctl(device.fd, abi.REPLY_AND_GET_MULTI, self._page)
        self._thread = threading.Thread(
            target=self._run, name=f"{device.name} getter", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to fetch, in a thread."""
        self._thread.start()

    def nudge(self) -> None:
        """Make the thread return from the kernel and fetch again.

        It then sees the waiting commands.
        """
        if self._thread.is_alive() and self._thread.ident is not None:
            signal.pthread_kill(self._thread.ident, CALL_OUT)

    def stop(self) -> None:
        """Make the thread return from the kernel and end, and send its answers. May block."""
        self._leaving = True
        os.eventfd_write(self._bell, 1)
        while self._thread.is_alive():
            self.nudge()
            self._thread.join(CALL_AGAIN)
        os.close(self._bell)
        self._sheet.give_back()
        if self._page:
            self._device.memory.give(self._page)

    def _run(self) -> None:
        turn = self._turn_multi if self.multi else self._turn
        while not self._leaving:
            turn()
        self.finish()

    def turn(self) -> bool:
        """Send the answers, fetch and answer; return whether there were commands."""
        return self._turn_multi() if self.multi else self._turn()

    def _turn(self) -> bool:
        """Serve one command after another until the kernel has none, or the thread is to end."""
        device, get, sheet = self._device, self._get, self._sheet
        ioctl, fd, quick, spent = device.ioctl, device.fd, device.quick, sheet.spent
        slot, address, put = sheet.slots[0], sheet.address, preply.pack_into
        replies, request = sheet.replies, abi.REPLY_AND_GET_CMD
        while not self._leaving:
            get[:] = POISONED
            put(get, PREPLY_AT, address if self._answered else 0)
            try:
                ioctl(fd, request, get, True)
            except OSError as error:
                return self._trouble(error, self._answered)
            if spent:
                sheet.settle()
            self._answered = quick(get, 0, replies, 0) or device.take(get, slot)
        return True

    def _turn_multi(self) -> bool:
        """Serve one batch after another until the kernel has none, or the thread is to end."""
        device, room, sheet, fetch = self._device, self._room, self._sheet, self._fetch
        quick, replies, slots, spent = device.quick, sheet.replies, sheet.slots, sheet.spent
        put, look = counts.pack_into, counts.unpack_from
        while not self._leaving:
            put(room, COUNTS_AT, self._answered, SHORT, BATCH)
            if fetch() < 0:
                error = last_error()
                _, done, fetched = look(room, COUNTS_AT)
                return self._trouble(error, self._answered, done, fetched)
            if spent:
                sheet.settle()
            _, done, fetched = look(room, COUNTS_AT)
            if done != self._answered or not 0 <= fetched <= BATCH:
                fetched = device.rules.counts(self._answered, done, fetched, BATCH)
            answered = 0
            for at in COMMANDS_AT[:fetched]:
                if quick(room, at, replies, answered * REPLY_SIZE) or device.take(
                        room[at:at + GET_SIZE], slots[answered]):
                    answered += 1
            self._answered = answered
            room[CMDS_AT:CMDS_AT + fetched * GET_SIZE] = POISONED_BATCH[:fetched * GET_SIZE]
        return True

    def _trouble(self, error: OSError, count: int, given: int = 0, fetched: int = 0) -> bool:
        """Handle the failure of an ioctl with ``count`` replies, ``given`` of them accepted.

        ``fetched``: the number of subcommands that it returned all the same. Returns whether to try
        again at once.
        """
        if self.multi and error.errno not in GONE and (count or error.errno in WAITED):
            given = self._device.rules.accepted(
                count, given, fetched, all_of_them=error.errno in WAITED)
        if error.errno in WAITED:  # the replies had been accepted, and no command came
            self._done()
            if not self._leaving and error.errno != errno.EINTR:
                self._wait()
        elif error.errno in GONE or not count:
            self._answered = 0
            self._leaving = True
            self._device.refused(-1, error)
        else:
            self._device.refused(header.unpack_from(self._reply(given))[0], error)
            self._keep_after(given, count)
            return True
        return False

    def _done(self) -> None:
        self._answered = 0
        self._sheet.settle()

    def _reply(self, number: int) -> memoryview:
        return self._sheet.slots[number].reply

    def _keep_after(self, refused: int, count: int) -> None:
        """Keep the replies after the refused one for the next ioctl."""
        left = range(refused + 1, count)
        for number in left:
            self._reply(number - refused - 1)[:] = self._reply(number)
        self._answered = len(left)
        if not left:
            self._sheet.settle()

    def _wait(self) -> None:
        """Wait for a command on a descriptor that does not block (any more)."""
        poll = select.poll()
        poll.register(self._device.fd, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        poll.poll()

    def finish(self) -> None:
        """Send the answers, and fetch no more."""
        for number in range(self._answered):
            self._give(self._reply(number))
        self._done()

    def _give(self, reply: Buffer) -> None:
        try:
            self._device.ioctl(self._device.fd, abi.REPLY_CMD, bytes(reply))
        except OSError as error:
            self._device.refused(header.unpack_from(reply)[0], error)


WAITED = frozenset({errno.EAGAIN, errno.EINTR})
GONE = frozenset({errno.ENODEV, errno.EBADF})


class Getters:
    """The threads that fetch a device's commands. Changing their number may block."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._getters: list[Getter] = []
        self.multi = device.spec.multi

    @property
    def count(self) -> int:
        """The number of running threads."""
        return sum(getter.alive for getter in self._getters)

    def nudge(self) -> None:
        """Make one thread look again for waiting commands.

        When SCST_USER_REPLY_CMD moves a command to its next subcommand, the kernel adds it to the
        list of commands to be fetched without waking a thread: the replying thread is expected to
        fetch next (dev_user_add_to_ready, scst_user.c).
        """
        for getter in self._getters[:1]:
            getter.nudge()

    def set(self, count: int) -> None:
        """Start or stop threads until there are ``count``."""
        with self._lock:
            while len(self._getters) > count:
                self._getters.pop().stop()
            while len(self._getters) < count:
                getter = Getter(self._device, multi=self.multi)
                self._getters.append(getter)
                getter.start()

    def fetch(self, multi: bool) -> None:
        """Fetch one by one, or several at a time."""
        count = len(self._getters)
        self.set(0)
        self.multi = multi
        self.set(count)
