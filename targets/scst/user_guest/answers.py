# SPDX-License-Identifier: GPL-2.0-or-later
"""Room for replies to the kernel: the replies, their sense data, and the buffers that are free once
they have been sent.

Runs in the guest; stdlib only. The kernel reads a reply and its sense data by address, possibly
while the next command is on its way already: each answering thread therefore has slots of its own.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

from targets.scst import abi
from targets.scst.user_guest.memory import Memory

EXTRA = 512
"""Bytes after a reply for its sense data or descriptors."""

REPLY_SIZE = ctypes.sizeof(abi.ReplyCmd)


@dataclass(frozen=True)
class Slot:
    """Room for one reply. ``extra``: for sense data or descriptors, at address ``extra_at``.

    ``spent``: addresses of buffers that return to the backend once the reply has been sent; shared
    by the slots of one sheet. ``preply``: address of the reply, where that is an input in the place
    of the next command's payload; else 0.
    """

    reply: memoryview
    extra: memoryview
    extra_at: int
    spent: list[int] = field(default_factory=list)
    preply: int = 0

    def note(self, data: bytes) -> int:
        """Store sense data or descriptors; return their address, 0 for none."""
        self.extra[:len(data)] = data
        return self.extra_at if data else 0


class Sheet:
    """``count`` slots whose replies are contiguous from ``address`` on.

    ``replies``: all of them, as one view.
    """

    def __init__(self, memory: Memory, count: int = 1) -> None:
        self._memory = memory
        self.spent: list[int] = []
        self.address = memory.take(count * (REPLY_SIZE + EXTRA))
        page = memory.view(self.address)
        self.replies = page[:count * REPLY_SIZE]
        preply = self.address if count == 1 else 0
        self.slots = [self._slot(page, number * REPLY_SIZE,
                                 count * REPLY_SIZE + number * EXTRA, preply)
                      for number in range(count)]

    def _slot(self, page: memoryview, reply: int, extra: int, preply: int) -> Slot:
        return Slot(page[reply:reply + REPLY_SIZE], page[extra:extra + EXTRA],
                    self.address + extra, self.spent, preply)

    def settle(self) -> None:
        """Take back the buffers that are free, now that their replies have been sent."""
        while self.spent:
            self._memory.abandon(self.spent.pop())

    def give_back(self) -> None:
        """Return the memory; the sheet must not be used afterwards."""
        self.settle()
        self._memory.give(self.address)
