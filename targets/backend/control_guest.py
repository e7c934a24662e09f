"""The test's hand on a backend: commands in, events out, and the commands it holds.

Runs in the guest; stdlib only. One JSON object per line each way.

Commands (standard input), each answered by ``{"kind": "reply", "id": ..., "ok": ...}``:

=======  =====================================================================
do       arguments and effect
=======  =====================================================================
hold     point, count, opcodes (list or null: any), direction (write, read, none or
         null: any), device (null: any), least (bytes of data; 0 if left out): hold the
         next ``count`` commands that match at that point; say ``held`` once all are
         held; later ones pass
release  device (null: all): let every held command go on, and hold no further ones
close    close the device's descriptors (the process stays)
exit     leave
=======  =====================================================================

Events (standard output) have ``t`` (CLOCK_MONOTONIC, ns) and ``kind``; results.history lists
them under source "backend".
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
"""Takes a command's result."""


class Later(NamedTuple):
    """What a handler returns whose result is not known yet. ``begin`` must not wait."""

    begin: Callable[[Reply], None]


class Events(Protocol):
    """Where events go."""

    def emit(self, kind: str, **data: Any) -> None:
        """Queue one event, stamped now."""

    def flush(self) -> None:
        """Write what is queued."""


class Channel:
    """Events out on one descriptor, commands in on another; never blocks on reading.

    Events and replies may come from any thread, commands are read by one. ``bell`` is rung when
    there is something to flush, and not again before ``flush_idle``; ``rung``: whether it was.
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
        """Queue one event, stamped now."""
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
        """Write what is queued. Call before blocking, and before anything that may kill."""
        with self._lock:
            batch, self._unsent, self._unsent_bytes = b"".join(self._unsent), [], 0
            while batch:
                batch = batch[os.write(self._fd_out, batch):]

    def flush_idle(self) -> None:
        """Write what is queued, and have the bell rung again."""
        self.rung = False
        self.flush()

    def commands(self) -> Iterator[dict[str, Any]]:
        """Yield the commands that have arrived. Raises EOFError when the test hung up."""
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

        ``handlers``: by the command's ``do``; called with its other fields by name. What one
        returns becomes the reply's ``result`` (a Later's once it is known), what it raises its
        ``error``.
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

    ``least``: bytes of data that one must have, where a backend cannot see the opcode.
    ``released``: the devices for which it holds no longer.
    """

    point: str
    count: int
    opcodes: frozenset[int] | None = None
    direction: str | None = None
    device: str | None = None
    least: int = 0
    handles: list[int] = field(default_factory=list)
    devices: list[str | None] = field(default_factory=list)
    released: set[str | None] = field(default_factory=set)

    def concerns(self, device: str | None) -> bool:
        """Tell whether commands of a device may have to be held for it."""
        return self.device in (None, device) and device not in self.released

    def matches(
        self, point: str, opcode: int, direction: str, device: str | None, length: int,
    ) -> bool:
        """Tell whether a command at a point is one of those to hold."""
        return (
            len(self.handles) < self.count
            and self.point == point
            and (self.opcodes is None or opcode in self.opcodes)
            and (self.direction is None or direction == self.direction)
            and length >= self.least
            and self.concerns(device)
        )

    def take(self, handle: int, device: str | None) -> bool:
        """Count a command that is held; tell whether it was the last one asked for."""
        self.handles.append(handle)
        self.devices.append(device)
        return len(self.handles) == self.count

    def held(self) -> dict[str, Any]:
        """Return what the event ``held`` says; the device if all are of one that has a name."""
        owners = set(self.devices)
        named = {"device": self.devices[0]} if owners - {None} and len(owners) == 1 else {}
        return {"point": self.point, "count": self.count, "handles": self.handles, **named}


class Holds:
    """The commands that are held, and the orders that made them so.

    A backend asks ``takes`` at every point a command reaches; on True it keeps the command
    (whatever it needs to go on) and answers it when ``release`` hands the handle back. Handles
    are told apart by their devices where a backend has several.
    """

    def __init__(self, channel: Events) -> None:
        self._channel = channel
        self._orders: list[Hold] = []
        self._lock = threading.Lock()

    def order(
        self, point: str, count: int, opcodes: list[int] | None = None,
        direction: str | None = None, device: str | None = None, *, least: int = 0,
    ) -> None:
        """Take an order: the handler of the ``hold`` command."""
        wanted = None if opcodes is None else frozenset(opcodes)
        with self._lock:
            self._orders.append(Hold(point, count, wanted, direction, device, least))

    def wanted(self, device: str | None = None) -> bool:
        """Tell whether there is an order that commands of a device may have to be held for."""
        return any(hold.concerns(device) for hold in self._orders)

    def takes(
        self, point: str, handle: int, opcode: int, direction: str, device: str | None = None,
        *, length: int = 0,
    ) -> bool:
        """Tell whether this command is to be held here; count it if so."""
        with self._lock:
            for hold in self._orders:
                if hold.matches(point, opcode, direction, device, length):
                    if hold.take(handle, device):
                        self._channel.emit("held", **hold.held())
                        self._channel.flush()
                    return True
        return False

    def release(self, device: str | None = None) -> list[int]:
        """Hold no more of a device's commands; return the handles that were held, oldest first.

        ``device``: as in ``takes``; a backend that names none has one device.
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
