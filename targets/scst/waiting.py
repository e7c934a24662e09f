# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for commands on a descriptor of /dev/scst_user, as data: poll(2) and epoll(7).

Runs in the guest and on the host; stdlib only.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Way(StrEnum):
    """How a process waits."""

    POLL = "poll"
    LEVEL = "epoll"
    EDGE = "epoll-edge"
    ONESHOT = "epoll-oneshot"  # armed again by EPOLL_CTL_MOD before each further wait
    EXCLUSIVE = "epoll-exclusive"
    NESTED = "epoll-nested"  # an epoll instance in another one


class Before(StrEnum):
    """What precedes the wait whose end is judged."""

    IDLE = "idle"  # registered without a command; one arrives during the wait
    QUEUED = "queued"  # a command is queued at the registration
    DRAINED = "drained"  # the same, all commands are fetched, and another one arrives
    MODIFIED = "modified"  # registered without events and without a command, then EPOLL_CTL_MOD


EVENTS: Mapping[str, int] = {
    "none": 0, "in": 0x1, "pri": 0x2, "out": 0x4, "err": 0x8, "hup": 0x10, "nval": 0x20,
    "rdnorm": 0x40, "rdband": 0x80, "wrnorm": 0x100, "wrband": 0x200, "msg": 0x400,
    "remove": 0x1000, "rdhup": 0x2000, "all": 0x37DF,
}
"""Requested events, by name (include/uapi/linux/eventpoll.h); "all": all but nval."""

INPUT = EVENTS["in"] | EVENTS["rdnorm"]
"""The events of a command that can be fetched (scst_user_spec.txt)."""

WITH_EXCLUSIVE = ("none", "in", "out", "err", "hup")
"""Events that EPOLLEXCLUSIVE can be combined with (fs/eventpoll.c, EPOLLEXCLUSIVE_OK_BITS)."""

REPRODUCERS: Mapping[str, Mapping[str, str]] = {
    "epoll-drained": {"way": "epoll", "events": "in", "before": "drained"},
    "idle-nval": {"way": "poll", "events": "nval", "before": "idle"},
}
"""Waits that SCST gets wrong, each in a scenario of its own, by their names in ids."""

AVOIDED: tuple[Mapping[str, frozenset[str]], ...] = (
    {"way": frozenset(Way) - {Way.POLL}, "before": frozenset({"drained"}),
     "events": frozenset({"in", "rdnorm", "all"})},
    {"events": frozenset({"nval"}), "before": frozenset(Before) - {Before.QUEUED}},
)
"""Waits with the same outcome as a reproducer, by fields and their values: batches omit them."""


def avoided(case: Mapping[str, str]) -> bool:
    """Return whether a reproducer has the outcome of a wait."""
    return any(all(case[name] in values for name, values in each.items()) for each in AVOIDED)
