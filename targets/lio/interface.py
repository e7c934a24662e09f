# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface between TCMU and its backend, as data: shared memory, uio, netlink, attributes.

Runs in the guest and on the host; stdlib only. The kernel's side is
drivers/target/target_core_user.c; the structures are those of uapi/linux/target_core_user.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Value(StrEnum):
    """A value, by its place in the range of its field."""

    SAME = "same"  # the value that is there, or a valid one
    ZERO = "zero"
    ONE = "one"
    TWO = "two"
    MINUS_ONE = "minus-one"
    MISALIGNED = "misaligned"  # 3 more than it should be
    BEHIND = "behind"  # one entry before
    BEYOND = "beyond"  # one entry after
    LIMIT = "limit"
    OVER = "over"
    HUGE = "huge"


class Commands(StrEnum):
    """The commands in the ring."""

    NONE = "none"
    ONE = "one"  # one command waits for its answer
    SEVERAL = "several"
    TIMED_OUT = "timed-out"  # one that the kernel has given up


class Then(StrEnum):
    """What the process does at once after the change."""

    GO_ON = "go-on"  # it answers its commands, and closes the device at the end
    KICK = "kick"  # it writes to the uio device, and the kernel reads the ring
    COMPLETE = "complete"  # it moves the tail behind the first entry, and kicks
    CLOSE = "close"
    KILL = "kill"
    FORK = "fork"  # it ends; a child keeps device and mapping for a while
    SECOND_OPENER = "second-opener"  # another process opens the device, and kicks
    REMOVE = "remove"  # its backstore is removed at the same time


@dataclass(frozen=True)
class Call:
    """A field of the shared memory, or a call.

    ``area``: "mailbox", "entry" (the first entry of the ring), "uio", "attribute", "netlink".
    ``commands``: whether the field is there only with commands in the ring.
    """

    area: str
    field: str
    limit: int = 0

    @property
    def name(self) -> str:
        """Area and field: "entry.len_op"."""
        return f"{self.area}.{self.field}"

    @property
    def in_ring(self) -> bool:
        """Whether it is a field of an entry."""
        return self.area == "entry"

    @property
    def in_memory(self) -> bool:
        """Whether it is a field of the shared memory."""
        return self.area in ("mailbox", "entry")


CALLS: tuple[Call, ...] = (
    Call("mailbox", "version", 2),
    Call("mailbox", "flags", 7),
    Call("mailbox", "cmdr_off", 128),
    Call("mailbox", "cmdr_size", 1 << 20),
    Call("mailbox", "cmd_head", 1 << 20),
    Call("mailbox", "cmd_tail", 1 << 20),
    Call("entry", "len_op", 1 << 20),
    Call("entry", "length", 1 << 20),  # of len_op, the operation unchanged
    Call("entry", "operation", 2),  # of len_op, the length unchanged
    Call("entry", "pad", 1 << 20),  # an entry of operation PAD with such a length
    Call("entry", "cmd_id", 0xFFFF),
    Call("entry", "uflags", 3),
    Call("entry", "scsi_status", 0x40),
    Call("entry", "read_len", 4096),
    Call("entry", "sense_buffer", 255),
    Call("uio", "read", 4),
    Call("uio", "write", 4),
    Call("uio", "mmap_size", 1),
    Call("uio", "mmap_offset", 4),
    Call("uio", "munmap", 1),
    Call("uio", "mremap", 1),
    Call("uio", "ioctl", 1),
    Call("uio", "poll", 0xFFFF),
    Call("attribute", "cmd_time_out", 1 << 20),
    Call("attribute", "qfull_time_out", 1 << 20),
    Call("attribute", "emulate_write_cache", 1),
    Call("attribute", "tmr_notification", 1),
    Call("attribute", "dev_size", 1 << 40),
    Call("attribute", "dev_config", 256),
    Call("attribute", "nl_reply_supported", 1),
    Call("attribute", "block_dev", 1),
    Call("attribute", "reset_ring", 2),
    Call("netlink", "added_done.device_id", 1 << 16),
    Call("netlink", "added_done.status", 1),
    Call("netlink", "removed_done.device_id", 1 << 16),
    Call("netlink", "reconfig_done.device_id", 1 << 16),
    Call("netlink", "truncated", 8),
    Call("netlink", "unknown_command", 255),
)

BY_NAME = {call.name: call for call in CALLS}

DEVICE_FIRST = "device-first"
"""The value of a case's field "tidy": the SCSI device is deleted before the LUN."""

ACTIONS = ("block_dev", "reset_ring")
"""Attributes in the directory ``action``; the others are in ``attrib``."""


def avoided(case: Mapping[str, str]) -> bool:
    """Return whether a call is known to crash the kernel: batches leave it out."""
    return any(all(case[name] in values for name, values in each.items()) for each in AVOIDED)


REPRODUCERS: Mapping[str, Mapping[str, str]] = {
    "empty-pad": {"call": "entry.pad", "value": "zero", "commands": "one", "then": "complete"},
    "device-deleted": {"call": "attribute.emulate_write_cache", "value": "same", "commands": "one",
                       "then": "go-on", "tidy": DEVICE_FIRST},
}
"""Calls that the kernel does not survive or pays for with a leak, each in a scenario of its own, by
their names in ids."""

AVOIDED: tuple[Mapping[str, frozenset[str]], ...] = (
    {"call": frozenset({"entry.pad"}), "then": frozenset({"complete"}),
     "value": frozenset({"zero", "one", "two", "limit"})},
    {"call": frozenset({"entry.len_op"}), "then": frozenset({"complete"}),
     "value": frozenset({"zero", "two", "limit"})},
)
"""Calls that are as harmful as a reproducer, by fields and their values: an entry without a length
that is no command. LIMIT is the ring's size, and as good as 0."""
