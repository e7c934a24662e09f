# SPDX-License-Identifier: GPL-2.0-or-later
"""The test's control of a backend: commands in, events out, and held commands.

Runs in the guest; stdlib only. One JSON object per line each way.

Commands (standard input), each answered by ``{"kind": "reply", "id": ..., "ok": ...}``:

=======  =====================================================================
do       arguments and effect
=======  =====================================================================
hold     point, count, opcodes (list or null: any), direction (write, read, none or
         null: any), device (null: any), lbas (first, and one past the last): hold the
         next ``count`` commands that match at that point; emit ``held`` once all are
         held; later ones pass
release  device (null: all): let every held command continue; hold no more
close    close the device's descriptors (the process stays)
exit     end the process
=======  =====================================================================

Events (standard output) have ``t`` (CLOCK_MONOTONIC, ns) and ``kind``; results.events declares them
under source "backend".
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

FLUSH_AT = 3500
"""Bytes of events after which they are written without waiting for an idle moment; below
PIPE_BUF (4096), so that a write to the pipe is atomic."""

Reply = Callable[[Any], None]
"""Callback that takes a command's result."""


class Later(NamedTuple):
    """A handler's return value for a result that is not known yet. ``begin`` must not wait."""

    begin: Callable[[Reply], None]


class Events(Protocol):
    """A sink for events."""

    def emit(self, kind: str, **data: Any) -> None:
        """Queue one event with the current time."""

    def flush(self) -> None:
        """Write the queued events."""


class Channel:
    """Events out on one descriptor, commands in on another; never blocks on reading.

    Events and replies may come from any thread; one thread reads commands. ``bell`` is called at
    the first event after each ``flush_idle``; ``rung``: whether it has been called since.
    """

    def __init__(self, fd_in: int = 0, fd_out: int = 1) -> None:
        os.set_blocking(fd_in, False)
        self.fd_in = fd_in
        self.bell: Callable[[], None] | None = None
        self.rung = False
        self._fd_out = fd_out
        self._unread = b""
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._lock = threading.RLock()

    def emit(self, kind: str, **data: Any) -> None:
        """Queue one event with the current time."""
        line = json.dumps({"t": time.monotonic_ns(), "kind": kind, **data}).encode() + b"\n"
        with self._lock:
            self._unsent.append(line)
            self._unsent_bytes += len(line)
            if self._unsent_bytes > FLUSH_AT:
                self.flush()
        if self.bell is not None and not self.rung:
            self.rung = True
            self.bell()

    def flush(self) -> None:
        """Write the queued events.

        Call before blocking, and before any action that may kill the process.
        """
        with self._lock:
            batch, self._unsent, self._unsent_bytes = b"".join(self._unsent), [], 0
            while batch:
                batch = batch[os.write(self._fd_out, batch):]

    def flush_idle(self) -> None:
        """Write the queued events, and enable the bell again."""
        self.rung = False
        self.flush()

    def commands(self) -> Iterator[dict[str, Any]]:
        """Yield the commands that have arrived.

        Raises EOFError when the test has closed the channel.
        """
        try:
            chunk = os.read(self.fd_in, 65536)
        except BlockingIOError:
            return
        if not chunk:
            raise EOFError("the test hung up")
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def serve(self, handlers: Mapping[str, Callable[..., Any]]) -> None:
        """Carry out the commands that have arrived, and answer each.

        ``handlers``: by the command's ``do``; called with its other fields by name. A handler's
        return value becomes the reply's ``result`` (a Later's once it is known), its exception the
        reply's ``error``.
        """
        for command in self.commands():
            number, name = command.pop("id"), command.pop("do")
            try:
                result = handlers[name](**command)
                if isinstance(result, Later):
                    result.begin(partial(self._reply, number))
                    continue
            except Exception as error:  # a wrong command must not end the backend
                self.emit("reply", id=number, ok=False, error=f"{type(error).__name__}: {error}")
            else:
                self._reply(number, result)
        self.flush()

    def _reply(self, number: int, result: Any) -> None:
        self.emit("reply", id=number, ok=True, result=result)
        self.flush()


@dataclass(eq=False)
class Hold:
    """One order to hold ``count`` commands at ``point``, of one device or (None) of any.

    ``lbas``: the first LBA that a command may begin at, and one past the last, for backends that
    cannot see the opcode.
    ``released``: the devices whose commands it no longer holds.
    """

    point: str
    count: int
    opcodes: frozenset[int] | None = None
    direction: str | None = None
    device: str | None = None
    lbas: tuple[int, int] | None = None
    handles: list[int] = field(default_factory=list)
    devices: list[str | None] = field(default_factory=list)
    released: set[str | None] = field(default_factory=set)

    def concerns(self, device: str | None) -> bool:
        """Return whether the order may hold commands of a device."""
        return self.device in (None, device) and device not in self.released

    def matches(
        self, point: str, opcode: int, direction: str, device: str | None, lba: int | None,
    ) -> bool:
        """Return whether the order holds a command at a point."""
        return (
            len(self.handles) < self.count
            and self.point == point
            and (self.opcodes is None or opcode in self.opcodes)
            and (self.direction is None or direction == self.direction)
            and (self.lbas is None or (lba is not None and self.lbas[0] <= lba < self.lbas[1]))
            and self.concerns(device)
        )

    def take(self, handle: int, device: str | None) -> bool:
        """Count a held command; return whether the order is complete."""
        self.handles.append(handle)
        self.devices.append(device)
        return len(self.handles) == self.count

    def held(self) -> dict[str, Any]:
        """Return the data of the event ``held``.

        They contain the device if all commands are of one device that has a name.
        """
        owners = set(self.devices)
        named = {"device": self.devices[0]} if owners - {None} and len(owners) == 1 else {}
        return {"point": self.point, "count": self.count, "handles": self.handles, **named}


class Holds:
    """The held commands, and the orders to hold them.

    A backend calls ``takes`` at every point that a command reaches. On True it keeps the command,
    with the state needed to continue it, and answers it when ``release`` returns its handle. Where
    a backend has several devices, a handle belongs to a device.
    """

    def __init__(self, channel: Events) -> None:
        self._channel = channel
        self._orders: list[Hold] = []
        self._lock = threading.Lock()

    def order(
        self, point: str, count: int, opcodes: list[int] | None = None,
        direction: str | None = None, device: str | None = None, *,
        lbas: tuple[int, int] | None = None,
    ) -> None:
        """Accept an order: the handler of the ``hold`` command."""
        wanted = None if opcodes is None else frozenset(opcodes)
        with self._lock:
            self._orders.append(Hold(point, count, wanted, direction, device, lbas))

    def wanted(self, device: str | None = None) -> bool:
        """Return whether an order may hold commands of a device."""
        return any(hold.concerns(device) for hold in self._orders)

    def takes(
        self, point: str, handle: int, opcode: int, direction: str, device: str | None = None,
        *, lba: int | None = None,
    ) -> bool:
        """Return whether to hold this command here; count it if so."""
        with self._lock:
            for hold in self._orders:
                if hold.matches(point, opcode, direction, device, lba):
                    if hold.take(handle, device):
                        self._channel.emit("held", **hold.held())
                        self._channel.flush()
                    return True
        return False

    def release(self, device: str | None = None) -> list[int]:
        """Hold no more of a device's commands; return the handles that were held, oldest first.

        ``device``: as in ``takes``; None for a backend with one device.
        """
        with self._lock:
            mine = [hold for hold in self._orders if hold.concerns(device)]
            handles = [handle for hold in mine
                       for handle, owner in zip(hold.handles, hold.devices, strict=True)
                       if owner == device]
            for hold in mine:
                hold.released.add(device)
        named = {} if device is None else {"device": device}
        self._channel.emit("released", handles=handles, **named)
        return handles

    def clear(self) -> None:
        """Forget all orders."""
        with self._lock:
            self._orders.clear()
