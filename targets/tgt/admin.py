# SPDX-License-Identifier: GPL-2.0-or-later
"""tgtadm: an order to tgtd, and its refusals.

tgtadm ends with status 22 (EINVAL) for every refusal of tgtd: only its message distinguishes them
(tgtadm_strerror, usr/tgtadm.c).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from results.errors import TargetFailedError
from targets.machine import Machine, Pending

LUN_ACTIVE = "this logical unit is still active"
TARGET_ACTIVE = "this target is still active"
NO_LUN = "can't find the logical unit"
NO_TARGET = "can't find the target"
INVALID = "invalid request"

GONE = (NO_LUN, NO_TARGET, "can't find the session", "can't find the connection",
        "this access control rule does not exist")
"""Messages when the object to be deleted has gone already."""

POLL = 0.02

CONNECTION = re.compile(r"Session: (\d+)\s+Connection: (\d+)")
LUN = re.compile(r"^ +LUN: (\d+)$", re.MULTILINE)


def order(op: str, mode: str, **options: str | int) -> list[str]:
    """Return the command line of an order; ``options`` by tgtadm's names, "_" for "-"."""
    return ["tgtadm", "--lld", "iscsi", "--op", op, "--mode", mode,
            *(word for name, value in options.items()
              for word in (f"--{name.replace('_', '-')}", *([str(value)] if value != "" else [])))]


@dataclass
class Given:
    """An order that was sent to tgtd (a targets.operation.Work).

    ``refused``: message with which it has to be refused; "": it has to succeed. ``insists``:
    message of a refusal after which it is sent again each time ``done`` is read; "": none.
    """

    machine: Machine
    argv: list[str]
    refused: str = ""
    insists: str = ""
    refusals: int = 0
    _answer: Mapping[str, Any] | None = None
    _looking: threading.Lock = field(default_factory=threading.Lock)
    _pending: Pending = field(init=False)

    def __post_init__(self) -> None:
        self._pending = self.machine.begin("run", self.argv)

    @property
    def done(self) -> bool:
        """Whether the order has ended.

        Reading this property sends an order again that was refused with the message ``insists``,
        once per refusal, even when several threads read it.
        """
        with self._looking:
            if self._answer is None and self._pending.done:
                answer = self._pending.result(0)
                if answer["status"] and self.insists and self.insists in answer["stderr"]:
                    self.refusals += 1
                    self._pending = self.machine.begin("run", self.argv)
                else:
                    self._answer = answer
            return self._answer is not None

    def waits(self) -> bool:
        """Return whether the order has been refused, and is being repeated."""
        return not self.done and self.refusals > 0

    def finish(self, deadline: float) -> None:
        """Wait for its end. Raises TargetFailedError unless it ended as required."""
        end = self.machine.now() + deadline
        while not self.done:
            if self.machine.now() > end:
                raise TargetFailedError(
                    f"{self._what}: not ended after {deadline:g} s"
                    + (f", refused {self.refusals} times: {self.insists}" if self.refusals else ""))
            time.sleep(POLL)
        assert self._answer is not None
        words = str(self._answer["stderr"]).strip()
        if not self._answer["status"] and self.refused:
            raise TargetFailedError(f"{self._what}: it was not refused")
        if self._answer["status"] and not (self.refused and self.refused in words):
            raise TargetFailedError(f"{self._what}: {words}")

    @property
    def _what(self) -> str:
        return " ".join(self.argv)


def give(
    machine: Machine, deadline: float, argv: list[str], *, unless: Sequence[str] = (),
    insists: str = "",
) -> None:
    """Send an order and wait for its end, ``deadline`` seconds at most.

    ``unless``: messages of acceptable refusals. Raises TargetFailedError.
    """
    given = Given(machine, argv, insists=insists)
    try:
        given.finish(deadline)
    except TargetFailedError as error:
        if not any(words in str(error) for words in unless):
            raise


def show(machine: Machine, deadline: float, mode: str, **options: str | int) -> str | None:
    """Return tgtd's output; None when there is no such object, or tgtd does not answer."""
    done = machine.run(["timeout", f"{deadline:g}", *order("show", mode, **options)], check=False,
                       deadline=2 * deadline)
    return None if done.status else done.stdout


def luns(machine: Machine, deadline: float) -> list[int]:
    """Return the LUNs of the only target; empty when there is none."""
    return [int(lun) for lun in LUN.findall(show(machine, deadline, "target") or "")]


def connections(machine: Machine, deadline: float, tid: int) -> list[tuple[int, int]]:
    """Return session and connection ids of a target's connections."""
    text = show(machine, deadline, "conn", tid=tid) or ""
    return [(int(sid), int(cid)) for sid, cid in CONNECTION.findall(text)]
