"""The test's hand on a backend: commands in, events out, and the commands it holds.

Runs in the guest; stdlib only. One JSON object per line each way.

Commands (standard input), each answered by ``{"kind": "reply", "id": ..., "ok": ...}``:

=======  =====================================================================
do       arguments and effect
=======  =====================================================================
hold     point, count, opcodes (list or null: any), direction (write, read, none or
         null: any): hold the next ``count`` commands that match at that point; say
         ``held`` once all are held; later ones pass
release  let every held command go on, and hold no further ones
close    close the device's descriptors (the process stays)
exit     leave in an orderly way
=======  =====================================================================

Events (standard output) have ``t`` (CLOCK_MONOTONIC, ns) and ``kind``; results.history lists
them under source "backend".
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

FLUSH_AT = 3500
"""Bytes of events after which they are written without waiting for an idle moment; below
PIPE_BUF (4096), so that a write to the pipe is atomic."""


class Channel:
    """Events out on one descriptor, commands in on another; never blocks on reading."""

    def __init__(self, fd_in: int = 0, fd_out: int = 1) -> None:
        os.set_blocking(fd_in, False)
        self.fd_in = fd_in
        self._fd_out = fd_out
        self._unread = b""
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0

    def emit(self, kind: str, **data: Any) -> None:
        """Queue one event, stamped now."""
        line = json.dumps({"t": time.monotonic_ns(), "kind": kind, **data}).encode() + b"\n"
        self._unsent.append(line)
        self._unsent_bytes += len(line)
        if self._unsent_bytes > FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Write what is queued. Call before blocking, and before anything that may kill."""
        if self._unsent:
            batch, self._unsent, self._unsent_bytes = b"".join(self._unsent), [], 0
            while batch:
                batch = batch[os.write(self._fd_out, batch):]

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
        returns becomes the reply's ``result``, what it raises its ``error``.
        """
        for command in self.commands():
            number, name = command.pop("id"), command.pop("do")
            try:
                result = handlers[name](**command)
            except Exception as error:  # a wrong command must not end the backend
                self.emit("reply", id=number, ok=False, error=f"{type(error).__name__}: {error}")
            else:
                self.emit("reply", id=number, ok=True, result=result)
        self.flush()


@dataclass
class Hold:
    """One order to hold ``count`` commands at ``point``."""

    point: str
    count: int
    opcodes: frozenset[int] | None = None
    direction: str | None = None
    handles: list[int] = field(default_factory=list)

    def matches(self, point: str, opcode: int, direction: str) -> bool:
        """Tell whether a command at a point is one of those to hold."""
        return (
            len(self.handles) < self.count
            and self.point == point
            and (self.opcodes is None or opcode in self.opcodes)
            and (self.direction is None or direction == self.direction)
        )


class Holds:
    """The commands that are held, and the orders that made them so.

    A backend asks ``takes`` at every point a command reaches; on True it keeps the command
    (whatever it needs to go on) and answers it when ``release`` hands the handle back.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._orders: list[Hold] = []

    def order(
        self, point: str, count: int, opcodes: list[int] | None = None,
        direction: str | None = None,
    ) -> None:
        """Take an order: the handler of the ``hold`` command."""
        self._orders.append(
            Hold(point, count, None if opcodes is None else frozenset(opcodes), direction))

    def takes(self, point: str, handle: int, opcode: int, direction: str) -> bool:
        """Tell whether this command is to be held here; count it if so."""
        for hold in self._orders:
            if hold.matches(point, opcode, direction):
                hold.handles.append(handle)
                if len(hold.handles) == hold.count:
                    self._channel.emit("held", point=point, count=hold.count,
                                       handles=hold.handles)
                    self._channel.flush()
                return True
        return False

    def release(self) -> list[int]:
        """Forget all orders; return the handles that were held, oldest first."""
        handles = [handle for hold in self._orders for handle in hold.handles]
        self._orders.clear()
        self._channel.emit("released", handles=handles)
        return handles
