# SPDX-License-Identifier: GPL-2.0-or-later
"""The calls on a descriptor of /dev/scst_user, as data: every ioctl with each field that it takes.

Runs in the guest and on the host; stdlib only. Fields and their use by the kernel: scst_user.h,
scst_user_spec.txt, and where these are silent, scst_user.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from targets.backend.pointers import Access, Pointer

READS, WRITES, BOTH, PINS = Access


class Handle(StrEnum):
    """The command that a call's ``cmd_h`` belongs to."""

    NONE = "none"  # the call takes no handle
    ZERO = "zero"
    MINUS_ONE = "minus-one"
    UNKNOWN = "unknown"  # never given out
    FREED = "freed"
    PREALLOCATED = "preallocated"  # of SCST_USER_PREALLOC_BUFFER
    ANOTHER_DEVICE = "another-device"  # of another device of this process
    QUEUED = "queued"  # no command: one waits to be fetched
    PARSE = "PARSE"
    ALLOC_MEM = "ALLOC_MEM"
    EXEC = "EXEC"
    BACKGROUND = "BACKGROUND"  # EXEC has been answered with SCST_EXEC_REPLY_BACKGROUND
    ON_FREE_CMD = "ON_FREE_CMD"


STATES = (Handle.PARSE, Handle.ALLOC_MEM, Handle.EXEC, Handle.BACKGROUND, Handle.ON_FREE_CMD)
"""States of a command that the process has fetched."""

LIVE = (Handle.QUEUED, *STATES)
"""Handles for which there is a command of an initiator."""

DEAD = tuple(handle for handle in Handle if handle not in (*LIVE, Handle.NONE))


class Amount(StrEnum):
    """A size or count, by its place in the range of its field."""

    USUAL = "usual"
    ZERO = "zero"
    ONE = "one"
    NEGATIVE = "negative"  # -1, or the greatest value of an unsigned field
    LEAST = "least"  # of a signed field; the half of an unsigned one's range
    LIMIT = "limit"  # the most that is allowed
    OVER = "over"  # the limit, and one more
    HUGE = "huge"  # the greatest signed value
    MANY = "many"  # usual, in MANY calls one after the other


MANY = 64

FEW = 4
"""Registrations in place of MANY: each waits for several RCU grace periods."""


class DeviceState(StrEnum):
    """The state of the device at the call."""

    BEFORE = "before"  # the descriptor is open, no device is registered
    REGISTERED = "registered"
    BLOCKING = "blocking"  # registered without O_NONBLOCK
    UNREGISTERED = "unregistered"  # SCST_USER_UNREGISTER_DEVICE has been called
    CLOSING = "closing"  # another thread closes the descriptor meanwhile


class Then(StrEnum):
    """What the process does at once after the call."""

    GO_ON = "go-on"  # it serves on, honestly, and closes the device at the end
    CLOSE = "close"
    KILL = "kill"  # SIGKILL
    FORK = "fork"  # it ends; a child keeps the descriptor for a while
    DUP = "dup"  # it closes the descriptor, and calls again by a duplicate
    HAND_OVER = "hand-over"  # another process gets the descriptor (SCM_RIGHTS), and calls again
    RMMOD = "rmmod"  # the module's removal is tried, then the descriptor is used again
    ANSWER = "answer"  # it answers a command whose fetching failed


@dataclass(frozen=True)
class Call:
    """An ioctl (or another system call) with one field under test.

    ``field``: "arg" for the argument itself, otherwise a path of fields in it; "": none.
    ``access``: what the kernel does at the pointer; None: the field is no pointer. ``count``: the
    field that holds a size or count, "" for none; ``limit``, ``usual``: its values. ``handle``:
    whether it takes a command's handle; ``states``: the live ones in which the field is used.
    ``cdb``: the command that the initiator sends for a live handle.
    """

    ioctl: str
    field: str = ""
    access: Access | None = None
    count: str = ""
    usual: int = 0
    limit: int = 0
    handle: bool = False
    states: tuple[Handle, ...] = ()
    cdb: str = "write"

    @property
    def name(self) -> str:
        """The ioctl's name, with the field: "PREALLOC_BUFFER.pbuf"."""
        return f"{self.ioctl}.{self.field}" if self.field else self.ioctl


PAGE = 4096
SENSE = 18

CALLS: tuple[Call, ...] = (
    Call("REGISTER_DEVICE", "arg", READS),
    Call("REGISTER_DEVICE", "version_str", READS),
    Call("REGISTER_DEVICE", "license_str", READS),
    Call("REGISTER_DEVICE", "block_size", count="block_size", usual=512, limit=1 << 30),
    Call("REGISTER_DEVICE", "type", count="type", limit=15),
    Call("REGISTER_DEVICE", "name", count="name", usual=5, limit=48),
    Call("REGISTER_DEVICE", "sgv_single_alloc_pages", count="sgv_single_alloc_pages", limit=1024),
    Call("REGISTER_DEVICE", "sgv_purge_interval", count="sgv_purge_interval", limit=3600),
    Call("UNREGISTER_DEVICE"),
    Call("SET_OPTIONS", "arg", READS, states=(Handle.EXEC,)),
    Call("SET_OPTIONS", "partial_len", count="partial_len", limit=PAGE),
    Call("SET_OPTIONS", "memory_reuse_type", count="memory_reuse_type", usual=3, limit=3),
    Call("SET_OPTIONS", "parse_type", count="parse_type", limit=2),
    Call("GET_OPTIONS", "arg", WRITES),
    Call("REPLY_AND_GET_CMD", "arg", BOTH, states=(Handle.QUEUED,)),
    Call("REPLY_AND_GET_CMD", "preply", READS, handle=True, states=STATES),
    Call("REPLY_AND_GET_MULTI", "arg", BOTH, count="cmds_cnt", usual=4, limit=16,
         states=(Handle.QUEUED,)),
    Call("REPLY_AND_GET_MULTI", "cmds", WRITES, count="cmds_cnt", usual=4, limit=16,
         states=(Handle.QUEUED,)),
    Call("REPLY_AND_GET_MULTI", "preplies", READS, count="replies_cnt", usual=1, limit=16,
         handle=True, states=STATES),
    Call("REPLY_CMD", "arg", READS, handle=True, states=STATES),
    Call("REPLY_CMD", "subcode", count="subcode", handle=True, states=STATES),
    Call("REPLY_CMD", "parse_reply.psense_buffer", READS, "parse_reply.sense_len", SENSE, 252,
         True, (Handle.PARSE,)),
    Call("REPLY_CMD", "parse_reply.bufflen", None, "parse_reply.bufflen", PAGE, 1 << 20, True,
         (Handle.PARSE,)),
    Call("REPLY_CMD", "parse_reply.data_len", None, "parse_reply.data_len", PAGE, 1 << 20, True,
         (Handle.PARSE,)),
    Call("REPLY_CMD", "parse_reply.cdb_len", None, "parse_reply.cdb_len", 10, 10, True,
         (Handle.PARSE,)),
    Call("REPLY_CMD", "parse_reply.data_direction", None, "parse_reply.data_direction", 1, 4,
         True, (Handle.PARSE,)),
    Call("REPLY_CMD", "alloc_reply.pbuf", PINS, handle=True, states=(Handle.ALLOC_MEM,)),
    Call("REPLY_CMD", "exec_reply.pbuf", PINS, "exec_reply.resp_data_len", PAGE, PAGE, True,
         (Handle.EXEC,), "read"),
    Call("REPLY_CMD", "exec_reply.psense_buffer", READS, "exec_reply.sense_len", SENSE, 252, True,
         (Handle.EXEC, Handle.BACKGROUND)),
    Call("REPLY_CMD", "exec_reply.ws_descriptors", READS, "exec_reply.ws_descriptors_len", 32,
         PAGE, True, (Handle.EXEC,), "write-same"),
    Call("REPLY_CMD", "exec_reply.reply_type", None, "exec_reply.reply_type", 1, 2, True,
         (Handle.EXEC, Handle.BACKGROUND)),
    Call("REPLY_CMD", "result", None, "result", 0, 0, True, (Handle.ON_FREE_CMD,)),
    Call("FLUSH_CACHE", states=(Handle.EXEC,)),
    Call("DEVICE_CAPACITY_CHANGED"),
    Call("GET_EXTENDED_CDB", "arg", READS, handle=True, states=STATES),
    Call("GET_EXTENDED_CDB", "ext_cdb_buffer", WRITES, handle=True, states=STATES,
         cdb="write-32"),
    Call("PREALLOC_BUFFER", "arg", BOTH),
    Call("PREALLOC_BUFFER", "pbuf", PINS, "in.bufflen", 4 * PAGE, 1 << 20),
    Call("UNKNOWN_IOCTL", "arg", BOTH),
    Call("READ", "arg", WRITES),
    Call("WRITE", "arg", READS),
    Call("MMAP"),
    Call("LSEEK"),
    Call("POLL", states=(Handle.QUEUED,)),
    Call("EPOLL", states=(Handle.QUEUED,)),
)

BY_NAME = {call.name: call for call in CALLS}

TARGET_DRIVER = "scst_local"


def luns_of(device: str) -> str:
    """Return the directory of the LUNs of the loopback target with a deployed device."""
    return f"/sys/kernel/scst_tgt/targets/{TARGET_DRIVER}/{TARGET_DRIVER}_{device}/luns"


def avoided(case: Mapping[str, str]) -> bool:
    """Return whether a call is known to crash SCST: batches leave it out."""
    return any(all(case[name] in values for name, values in each.items()) for each in AVOIDED)


def _case(call: str, **fields: str) -> dict[str, str]:
    return {"call": call, "pointer": "good", "handle": "none", "amount": "usual",
            "device": "registered", "then": "close", **fields}


REPRODUCERS: Mapping[str, Mapping[str, str]] = {
    "ext-cdb-preallocated": _case("GET_EXTENDED_CDB.arg", handle="preallocated"),
    "ext-cdb-on-free": _case("GET_EXTENDED_CDB.arg", handle="ON_FREE_CMD"),
    "answer-unfetched": _case("REPLY_AND_GET_CMD.arg", handle="queued", pointer="read-only",
                              then="answer"),
    "answer-unfetched-multi": _case("REPLY_AND_GET_MULTI.cmds", handle="queued",
                                    pointer="read-only", then="answer"),
    "unfetched-closed": _case("REPLY_AND_GET_CMD.arg", handle="queued", pointer="read-only"),
    "module-removed": _case("GET_OPTIONS.arg", device="before", then="rmmod"),
    "prealloc-negative": _case("PREALLOC_BUFFER.pbuf", amount="negative"),
    "empty-name": _case("REGISTER_DEVICE.name", amount="zero", device="before"),
    "background-write-same": _case("REPLY_CMD.exec_reply.reply_type", handle="BACKGROUND",
                                   amount="limit"),
    "block-size-negative": _case("REGISTER_DEVICE.block_size", amount="negative", device="before"),
    "sense-closed": _case("REPLY_CMD.exec_reply.psense_buffer", handle="EXEC",
                          pointer="unmapped"),
    "close-killed": _case("GET_OPTIONS.arg", device="closing", then="kill"),
    "negative-length": _case("REPLY_CMD.exec_reply.pbuf", handle="EXEC", amount="negative"),
}
"""Calls that crash SCST or harm it otherwise, each in a scenario of its own, by their names in ids.
"""

ENDS = frozenset(Then) - {Then.GO_ON}
"""Ends of a process that answers no further command."""

GET_EXTENDED_CDB = frozenset({"GET_EXTENDED_CDB.arg", "GET_EXTENDED_CDB.ext_cdb_buffer"})

AVOIDED: tuple[Mapping[str, frozenset[str]], ...] = (
    {"call": GET_EXTENDED_CDB, "handle": frozenset({"preallocated", "ON_FREE_CMD"})},
    {"then": frozenset({"answer"})},
    {"call": frozenset({"REPLY_AND_GET_CMD.arg", "REPLY_AND_GET_MULTI.arg",
                        "REPLY_AND_GET_MULTI.cmds"}), "handle": frozenset({"queued"}),
     "pointer": frozenset(map(str, Pointer)) - {"good", "unaligned"}},
    {"then": frozenset({"rmmod"}), "device": frozenset({"before"})},
    {"call": frozenset({"PREALLOC_BUFFER.pbuf"}),
     "amount": frozenset({"negative", "least", "huge"})},
    {"call": frozenset({"REGISTER_DEVICE.name"}), "amount": frozenset({"zero"})},
    {"call": frozenset({"REPLY_CMD.exec_reply.reply_type"}), "handle": frozenset({"BACKGROUND"})},
    {"call": frozenset({"REGISTER_DEVICE.block_size"}),
     "amount": frozenset({"negative", "least", "huge", "over"})},
    {"call": frozenset({"REPLY_CMD.exec_reply.psense_buffer"}), "handle": frozenset({"EXEC"}),
     "pointer": frozenset(map(str, Pointer)) - {"good", "unaligned", "read-only"},
     "then": ENDS},
    {"call": frozenset({"REPLY_CMD.exec_reply.psense_buffer"}), "handle": frozenset({"EXEC"}),
     "amount": frozenset({"zero"}), "then": ENDS},
    {"call": frozenset({"REPLY_CMD.exec_reply.pbuf"}),
     "amount": frozenset({"negative", "least"})},
)
"""Calls that are as harmful as a reproducer, by fields and their values."""
