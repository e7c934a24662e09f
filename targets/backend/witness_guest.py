# SPDX-License-Identifier: GPL-2.0-or-later
"""A backend as a witness of its kernel: what it compared, and each breach of their interface.

Runs in the guest; stdlib only. The rules are those of each interface
(targets.scst.user_guest.rules, targets.lio.ring_rules_guest, targets.backend.nbd_guest). Events:

========  =========================================================================
kind      data and time
========  =========================================================================
watched   entries: the number of messages of the kernel that were compared, at 1, 10,
          100, ... and when the device is closed
breach    rule, handle, point, seen, allowed, document, provoked: for the first MOST
          of the kernel's own breaches, and of the provoked ones
breaches  rules: number of breaches by rule, at each doubling after that, and when the
          device is closed
========  =========================================================================

A breach is provoked where the backend, as requested by the test, has answered that command wrongly
or twice, or lent that buffer in a wrong answer: it says nothing about the kernel.
"""

from __future__ import annotations

import threading
from collections import Counter

from targets.backend.control_guest import Events

MOST = 20
"""Breaches that have an event of their own: a kernel that breaks a rule always must not fill the
history."""


class Witness:
    """Counts what was compared, and emits breaches. ``document``: the interface's."""

    def __init__(self, events: Events, document: str) -> None:
        self._events = events
        self._document = document
        self._entries, self._report_at = 0, 1
        self._rules: Counter[str] = Counter()
        self._count = {False: 0, True: 0}
        self._lock = threading.Lock()

    def watch(self) -> None:
        """Count one message of the kernel."""
        self._entries += 1
        if self._entries >= self._report_at:
            self._report_at *= 10
            self._events.emit("watched", entries=self._entries)

    def breach(
        self, rule: str, handle: int | None, seen: str, allowed: str, *, point: str = "",
        provoked: bool = False,
    ) -> None:
        """Report that the kernel broke a rule.

        ``seen``: the value, or what happened; ``allowed``: the value or event by the interface.
        ``point``: name of the message, where one is concerned.
        """
        with self._lock:
            self._count[provoked] += 1
            count = self._count[provoked]
            if not provoked:
                self._rules[rule] += 1
        if count <= MOST:
            self._events.emit(
                "breach", rule=rule, handle=handle, point=point, seen=seen, allowed=allowed,
                document=self._document, provoked=provoked)
            self._events.flush()
        elif not provoked and count % MOST == 0 and (count // MOST).bit_count() == 1:
            self._emit_rules()
            self._events.flush()

    def end(self) -> None:
        """Emit the final numbers."""
        self._events.emit("watched", entries=self._entries)
        if self._count[False] > MOST:
            self._emit_rules()
        self._events.flush()

    def _emit_rules(self) -> None:
        self._events.emit("breaches", rules=dict(self._rules))
