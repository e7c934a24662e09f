# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of calls to /dev/scst_user: valid, but for the field under test.

Runs in the guest; stdlib only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from targets.backend.pointers import PAGE, Pointer
from targets.backend.pointers_guest import pages, place, protect
from targets.scst import abi
from targets.scst.interface import SENSE, Amount, Call
from targets.scst.victim_guest import Victim, describe, honest

UNKNOWN = 3 << 30 | 8 << 16 | ord("u") << 8 | 99
"""An ioctl of scst_user's group with a number that it does not have."""

ROOM = 4 * PAGE


@dataclass(frozen=True)
class Setting:
    """A case, as far as arguments depend on it. ``handle``: of the command; ``name``: of a device
    to register."""

    call: Call
    pointer: Pointer
    amount: Amount
    victim: Victim
    handle: int
    name: str
    version: str

    def count(self, structure: Any) -> None:
        """Set the field that holds the call's size or count."""
        if not self.call.count:
            return
        owner, field = _owner(structure, self.call.count)
        kinds = dict(type(owner)._fields_) if hasattr(type(owner), "_fields_") else {}
        setattr(owner, field, number(self.call, self.amount, kinds.get(field)))


def number(call: Call, amount: Amount, kind: Any) -> int:
    """Return an amount's value in a field of a ctypes type (None: a signed 32-bit one)."""
    bits = 8 * ctypes.sizeof(kind or ctypes.c_int32)
    return {Amount.ZERO: 0, Amount.ONE: 1, Amount.NEGATIVE: -1, Amount.LEAST: -(1 << bits - 1),
            Amount.LIMIT: call.limit, Amount.OVER: call.limit + 1,
            Amount.HUGE: (1 << bits - 1) - 1}.get(amount, call.usual)


def _owner(structure: Any, path: str) -> tuple[Any, str]:
    *parents, field = path.split(".")
    return reduce(getattr, parents, structure), field


def _register(setting: Setting) -> Any:
    length = number(setting.call, setting.amount, ctypes.c_int8) \
        if setting.call.field == "name" else -1
    name = setting.name if setting.call.field != "name" or setting.amount in (
        Amount.USUAL, Amount.MANY) else setting.name.ljust(length % 128, "x")[:length % 128]
    description = describe(name.encode()[:abi.SCST_MAX_NAME], setting.version, parse=0, on_free=1)
    if setting.call.field != "name":
        setting.count(description)
    return description


def _options(setting: Setting) -> Any:
    options = abi.Opt(on_free_cmd_type=1, queue_alg=1)
    setting.count(options)
    return options


def _reply(setting: Setting) -> Any:
    """Return a reply to the case's command, valid but for its field."""
    command, call = setting.victim.command, setting.call
    if command is None or command.cmd_h != setting.handle:
        reply = abi.ReplyCmd(cmd_h=setting.handle & 0xFFFFFFFF, subcode=abi.Subcode.EXEC)
        reply.exec_reply.reply_type = abi.ExecReply.COMPLETED
    else:
        reply = honest(command, place(Pointer.GOOD, b"", ROOM))
    usual = reply.subcode
    if call.field.endswith("psense_buffer"):
        owner, _ = _owner(reply, call.field)
        owner.status = 2
    elif call.field.endswith("ws_descriptors"):
        reply.exec_reply.reply_type = abi.ExecReply.DO_WRITE_SAME
    setting.count(reply)
    if call.field == "subcode":
        reply.subcode = {Amount.USUAL: usual, Amount.MANY: usual, Amount.LIMIT: usual + 1,
                         Amount.OVER: usual & ~0xFF | 0x7F}.get(setting.amount, reply.subcode)
    return reply


CONTENTS: Mapping[str, bytes] = {
    "version_str": b"", "license_str": b"GPL", "psense_buffer": bytes((0x70, 0, 5, 0, 0, 0, 0, 10,
                                                                       *bytes(10))),
    "ws_descriptors": bytes(32), "ext_cdb_buffer": bytes(64), "pbuf": b"",
}
assert len(CONTENTS["psense_buffer"]) == SENSE


def _get(setting: Setting) -> Any:
    get = abi.GetCmd()
    if setting.call.handle:
        pointer = setting.pointer if setting.call.field == "preply" else Pointer.GOOD
        get.preply = place(pointer, bytes(_reply(setting)))
    return get


def _ext_cdb(setting: Setting) -> Any:
    return abi.GetExtCdb(cmd_h=setting.handle & 0xFFFFFFFF,
                         ext_cdb_buffer=place(Pointer.GOOD, bytes(64)))


def _prealloc(setting: Setting) -> Any:
    buffer = abi.PreallocBuffer()
    inward = getattr(buffer, "in")
    inward.pbuf, inward.bufflen = place(Pointer.GOOD, b"", ROOM), ROOM
    setting.count(buffer)
    return buffer


def _multi(setting: Setting) -> bytes:
    call = setting.call
    header = abi.GetMulti(cmds_cnt=4)
    if call.handle:
        header.replies_cnt = 1
    setting.count(header)
    if call.handle:
        copies = max(1, min(header.replies_cnt, 32))
        header.preplies = place(setting.pointer, bytes(_reply(setting)) * copies)
    return bytes(header)


def _nothing(setting: Setting) -> bytes:
    return bytes(PAGE)


BUILD: Mapping[str, tuple[int, Callable[[Setting], Any]]] = {
    "REGISTER_DEVICE": (abi.REGISTER_DEVICE, _register),
    "SET_OPTIONS": (abi.SET_OPTIONS, _options),
    "GET_OPTIONS": (abi.GET_OPTIONS, lambda setting: abi.Opt()),
    "REPLY_AND_GET_CMD": (abi.REPLY_AND_GET_CMD, _get),
    "REPLY_AND_GET_MULTI": (abi.REPLY_AND_GET_MULTI, _multi),
    "REPLY_CMD": (abi.REPLY_CMD, _reply),
    "GET_EXTENDED_CDB": (abi.GET_EXTENDED_CDB, _ext_cdb),
    "PREALLOC_BUFFER": (abi.PREALLOC_BUFFER, _prealloc),
    "UNREGISTER_DEVICE": (abi.UNREGISTER_DEVICE, _nothing),
    "FLUSH_CACHE": (abi.FLUSH_CACHE, _nothing),
    "DEVICE_CAPACITY_CHANGED": (abi.DEVICE_CAPACITY_CHANGED, _nothing),
    "UNKNOWN_IOCTL": (UNKNOWN, _nothing),
}
"""Requests, and the functions that fill their arguments, by the ioctls' names."""

PLACED = {"preply", "preplies", "cmds", "arg"}
"""Fields whose pointers are not in a structure, or are placed together with it."""


def argument(setting: Setting) -> tuple[int, int]:
    """Return the request and the address of the argument."""
    request, fill = BUILD[setting.call.ioctl]
    structure = fill(setting)
    field = setting.call.field
    if setting.call.access is not None and field not in PLACED:
        owner, name = _owner(getattr(structure, "in") if field == "pbuf" else structure, field)
        content = CONTENTS.get(name, b"")
        if name == "version_str":
            content = setting.version.encode()
        if name in {"version_str", "license_str"}:
            content = content.ljust(abi.STRING_ROOM, b"\0")
        setattr(owner, name, place(setting.pointer, content,
                                   ROOM if name == "pbuf" else len(content)))
    if field == "cmds":
        return request, _beside(bytes(structure), setting.pointer)
    room = ROOM if setting.call.ioctl == "REPLY_AND_GET_MULTI" else 0
    return request, place(setting.pointer if field == "arg" else Pointer.GOOD, bytes(structure),
                          room)


def _beside(header: bytes, pointer: Pointer) -> int:
    """Return the address of a header whose array lies in memory of a kind."""
    base = pages(6)
    inside = 32 if pointer is Pointer.STRADDLING else 0
    at = base + PAGE - len(header) - inside
    ctypes.memmove(at, header, len(header))
    protect(base + PAGE, 5, pointer)
    return at
