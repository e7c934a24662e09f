"""The paper that answers to the kernel are written on: replies, their sense data, what they end.

Runs in the guest; stdlib only. The kernel reads a reply and its sense data by address, while the
next command may be on its way already: so whoever answers has slots of his own.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

from targets.scst import abi
from targets.scst.user_guest.memory import Memory

EXTRA = 512
"""Bytes beside a reply for sense data or descriptors, which have no other place."""

REPLY_SIZE = ctypes.sizeof(abi.ReplyCmd)


@dataclass(frozen=True)
class Slot:
    """Room for one reply. ``extra``: for sense data or descriptors, at address ``extra_at``.

    ``spent``: addresses of buffers that are ours again once the reply has been given; shared by
    the slots of one giver.
    """

    reply: memoryview
    extra: memoryview
    extra_at: int
    spent: list[int] = field(default_factory=list)

    def note(self, data: bytes) -> int:
        """Put sense data or descriptors down; return their address, 0 for none."""
        self.extra[:len(data)] = data
        return self.extra_at if data else 0


class Sheet:
    """``count`` slots whose replies lie one after another, from ``address`` on.

    ``replies``: all of them, as one view.
    """

    def __init__(self, memory: Memory, count: int = 1) -> None:
        self._memory = memory
        self.spent: list[int] = []
        self.address = memory.take(count * (REPLY_SIZE + EXTRA))
        page = memory.view(self.address)
        self.replies = page[:count * REPLY_SIZE]
        self.slots = [self._slot(page, number * REPLY_SIZE,
                                 count * REPLY_SIZE + number * EXTRA)
                      for number in range(count)]

    def _slot(self, page: memoryview, reply: int, extra: int) -> Slot:
        return Slot(page[reply:reply + REPLY_SIZE], page[extra:extra + EXTRA],
                    self.address + extra, self.spent)

    def settle(self) -> None:
        """The replies have been given: take back the buffers that they ended the use of."""
        while self.spent:
            self._memory.abandon(self.spent.pop())

    def give_back(self) -> None:
        """Return the memory; the sheet is not to be used any more."""
        self.settle()
        self._memory.give(self.address)
