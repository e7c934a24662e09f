# SPDX-License-Identifier: GPL-2.0-or-later
"""Waits for commands of scst_user by poll(2) and epoll(7), each in a process with its own device.

Runs in the guest; stdlib only. Argument: as in targets.scst.interface_guest, and ``patience``
(seconds of a wait). A case has number, way, events and before, by the names of
targets.scst.waiting. Beside the events of targets.backend.cases_guest:

======  ============================================================================================
kind    data
======  ============================================================================================
waited  number, idle (events reported while there was no command), woke (events reported for the
        command), seconds
======  ============================================================================================
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from targets.backend import bsg_guest, cases_guest
from targets.backend.cases_guest import emit
from targets.scst import abi
from targets.scst.interface_guest import LOCK, ScstUser
from targets.scst.victim_guest import (
    LUN,
    TEST_UNIT_READY,
    Victim,
    describe,
    write_management,
)
from targets.scst.waiting import EVENTS, Before, Way

ARRANGED_IN = 4.0
"""Seconds within which the device is scanned, and within which a command arrives."""

QUIET = 0.1
"""Seconds without a command after which the initiator's scan has ended."""

DELAY = 0.05
"""Seconds from the begin of a wait to the command."""

FLAGS = {Way.LEVEL: 0, Way.NESTED: 0, Way.EDGE: select.EPOLLET, Way.ONESHOT: select.EPOLLONESHOT,
         Way.EXCLUSIVE: 1 << 28}


class Waiter(Protocol):
    """A registration of a descriptor for events."""

    def wait(self, seconds: float) -> int:
        """Return the events reported within the time, 0 for none."""

    def request(self, events: int) -> None:
        """Change the requested events."""

    def renew(self) -> None:
        """Arm the registration again where one wait disarms it."""


class Poll:
    """poll(2): registers for each wait anew."""

    def __init__(self, fd: int, events: int) -> None:
        self._fd = fd
        self.request(events)

    def request(self, events: int) -> None:
        """Change the requested events."""
        self._poll = select.poll()
        self._poll.register(self._fd, events)

    def wait(self, seconds: float) -> int:
        """Wait by poll(2)."""
        return sum(events for _, events in self._poll.poll(seconds * 1000))

    def renew(self) -> None:
        """Do nothing: poll(2) keeps no registration."""


class Epoll:
    """epoll(7): registered once, waited for many times."""

    def __init__(self, fd: int, events: int, way: Way) -> None:
        self._fd, self._flags, self._events = fd, FLAGS[way], events
        self._inner = self._outer = select.epoll()
        if way is Way.NESTED:
            self._outer = select.epoll()
            self._outer.register(self._inner.fileno(), select.EPOLLIN)
        self._inner.register(fd, events | self._flags)

    def request(self, events: int) -> None:
        """Change the requested events by EPOLL_CTL_MOD."""
        self._events = events
        self._inner.modify(self._fd, events | self._flags)

    def wait(self, seconds: float) -> int:
        """Wait by epoll_wait(2), for a nested instance first for the outer one."""
        if self._outer is not self._inner:
            if not self._outer.poll(seconds):
                return 0
            seconds = 0.0
        return sum(events for _, events in self._inner.poll(seconds))

    def renew(self) -> None:
        """Arm a registration with EPOLLONESHOT again."""
        if self._flags == select.EPOLLONESHOT:
            self.request(self._events)


def waiter(way: Way, fd: int, events: int) -> Waiter:
    """Register a descriptor."""
    return Poll(fd, events) if way is Way.POLL else Epoll(fd, events, way)


class Waiting(ScstUser):
    """Arranges waits."""

    def __init__(self, version: str, luns: str, host: int, patience: float) -> None:
        super().__init__(version, luns, host)
        self._patience = patience

    def arrange(self, case: Mapping[str, Any]) -> Callable[[], None]:
        """Register the device, and let the initiator scan it."""
        return Wait(case, self._patience).arrange(self._version, self._luns, self._address)


class Wait:
    """The process of one case: its device, its initiator, and its wait."""

    def __init__(self, case: Mapping[str, Any], patience: float) -> None:
        self.number: int = case["number"]
        self.way, self.before = Way(case["way"]), Before(case["before"])
        self.events = EVENTS[case["events"]]
        self.patience = patience
        self.fd = os.open(abi.DEVICE_NODE, os.O_RDWR | os.O_NONBLOCK)
        self.victim = Victim(self.fd)

    def arrange(self, version: str, luns: str, address: str) -> Callable[[], None]:
        """Make everything before the registration; return the rest."""
        name = f"abi{self.number}"
        fcntl.ioctl(self.fd, abi.REGISTER_DEVICE, describe(name.encode(), version, parse=0,
                                                           on_free=1))
        self.orders = initiator(self.fd, luns, name, address)
        end = time.monotonic() + ARRANGED_IN
        while not bsg_guest.node(address).exists() and time.monotonic() < end:
            self.victim.serve(0.01)
        self.drain(QUIET)
        return self._make

    def drain(self, quiet: float) -> None:
        """Serve until no command has come for a time."""
        while Poll(self.fd, select.POLLIN).wait(quiet):
            self.victim.serve(0.01)

    def send(self) -> None:
        """Let the initiator send a command."""
        os.write(self.orders, b"c")

    def arrived(self) -> None:
        """Wait by a poll(2) of its own until a command can be fetched. Raises ValueError."""
        if not Poll(self.fd, select.POLLIN).wait(ARRANGED_IN / 2):
            raise ValueError("no command arrived")

    def _make(self) -> None:
        began = time.monotonic()
        idle, woke = STAGES[self.before](self)
        emit("waited", number=self.number, idle=idle, woke=woke,
             seconds=round(time.monotonic() - began, 3))
        emit("done", number=self.number, errors=[""], seconds=0.0)
        self.drain(QUIET)
        os.close(self.fd)

    def woken(self, waiting: Waiter) -> int:
        """Let a command arrive during a wait; return the events that are reported for it.

        When none is, the command is there in the end, and the registration reports nothing still.
        """
        threading.Timer(DELAY, self.send).start()
        found = waiting.wait(self.patience)
        if not found:
            self.arrived()
            found = waiting.wait(self.patience / 4)
        return found


def initiator(fd: int, luns: str, device: str, address: str) -> int:
    """Export the device, and start a process that sends a command for each byte; return its pipe.

    The process holds the lock until it ends, with the process that has called this.
    """
    asked, orders = os.pipe()
    lock = os.open(LOCK, os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.fork():
        os.close(asked)
        os.close(lock)
        return orders
    os.close(fd)
    os.close(orders)
    with suppress(BaseException):
        write_management(f"{luns}/mgmt", f"add {device} {LUN}")
        bsg_guest.wait_node(address, ARRANGED_IN)
        while os.read(asked, 1):
            with suppress(OSError):
                bsg_guest.issue(address, TEST_UNIT_READY)
    os._exit(0)


def _idle(wait: Wait) -> tuple[int, int]:
    waiting = waiter(wait.way, wait.fd, wait.events)
    idle = waiting.wait(0)
    waiting.renew()
    return idle, wait.woken(waiting)


def _queued(wait: Wait) -> tuple[int, int]:
    wait.send()
    wait.arrived()
    return 0, waiter(wait.way, wait.fd, wait.events).wait(wait.patience / 4)


def _drained(wait: Wait) -> tuple[int, int]:
    wait.send()
    wait.arrived()
    waiting = waiter(wait.way, wait.fd, wait.events)
    waiting.wait(0)
    return _next(wait, waiting)


def _modified(wait: Wait) -> tuple[int, int]:
    waiting = waiter(wait.way, wait.fd, 0)
    wait.send()
    wait.arrived()
    waiting.request(wait.events)
    waiting.wait(0)
    return _next(wait, waiting)


def _next(wait: Wait, waiting: Waiter) -> tuple[int, int]:
    """Fetch and answer all commands, and wait for the next one."""
    wait.drain(QUIET)
    waiting.renew()
    idle = waiting.wait(0)
    waiting.renew()
    return idle, wait.woken(waiting)


STAGES: Mapping[Before, Callable[[Wait], tuple[int, int]]] = {
    Before.IDLE: _idle, Before.QUEUED: _queued, Before.DRAINED: _drained,
    Before.MODIFIED: _modified}


def main(argv: Sequence[str]) -> None:
    """Run the argument's cases."""
    cases_guest.main(argv, lambda given: Waiting(
        given["version"], given["luns"], given["host"], given["patience"]))
