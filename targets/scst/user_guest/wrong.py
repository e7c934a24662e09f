# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong answers: overwritten fields of a reply, by their names in scst_user.h.

Runs in the guest; stdlib only. Besides the header's fields:

==================  ======================================================================
field               value
==================  ======================================================================
sense               hex: sense data, with their address and length
ws_descriptors      a list of [LBA, blocks] instead of an address (the last has 0 blocks)
remap_descriptors   a list of [source LBA, destination LBA, bytes] instead of an address
==================  ======================================================================

Names of the header are allowed in place of numbers: reply_type, data_direction, subcode, status.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from targets.scst import abi
from targets.scst.user_guest.answers import EXTRA, Slot

Fields = Mapping[str, Any]

MEMBERS: dict[int, str] = {
    abi.Subcode.PARSE: "parse_reply", abi.Subcode.ALLOC_MEM: "alloc_reply",
    abi.Subcode.EXEC: "exec_reply", abi.Subcode.EXT_COPY_REMAP: "remap_reply"}
"""Members of struct scst_user_reply_cmd; other subcommands' replies have ``result`` only."""


class Status(IntEnum):
    """Status codes: SAM-5 5.3.1."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    ACA_ACTIVE = 0x30
    TASK_ABORTED = 0x40


NAMES: Mapping[str, type[IntEnum]] = {
    "reply_type": abi.ExecReply, "data_direction": abi.DataDirection, "subcode": abi.Subcode,
    "status": Status}

LISTS: Mapping[str, tuple[type[ctypes.Structure], str]] = {
    "ws_descriptors": (abi.DataDescriptor, "ws_descriptors_len"),
    "remap_descriptors": (abi.ExtCopyDataDescr, "remap_descriptors_len")}


def write_over(slot: Slot, fields: Fields) -> None:
    """Overwrite fields of a reply. Raises ValueError, and changes nothing, for unknown fields.

    ``subcode`` and ``cmd_h`` are the reply's own.
    """
    reply = abi.ReplyCmd.from_buffer_copy(slot.reply)
    member = MEMBERS.get(reply.subcode)
    body = reply if member is None else getattr(reply, member)
    for name, value in _plain(slot, fields):
        owner = reply if name in ("cmd_h", "subcode") else body
        if name in MEMBERS.values() or not hasattr(type(owner), name):
            raise ValueError(f"a reply to {abi.Subcode(reply.subcode).name} has no field {name}")
        _set(owner, name, _number(name, value))
    slot.reply[:] = bytes(reply)


def _set(owner: Any, name: str, value: Any) -> None:
    try:
        setattr(owner, name, value)
    except TypeError:
        raise ValueError(f"{name} cannot be {value!r}") from None
    if getattr(owner, name) != value:  # ctypes truncates values that do not fit
        raise ValueError(f"{name} has no room for {value!r}")


def _plain(slot: Slot, fields: Fields) -> list[tuple[str, Any]]:
    """Return fields as (name, value); store data, and replace them by address and length."""
    plain: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "sense":
            data = bytes.fromhex(value)
            plain |= {"sense_len": len(data), "psense_buffer": _note(slot, data)}
        elif name in LISTS and isinstance(value, Sequence) and not isinstance(value, str):
            kind, length = LISTS[name]
            data = b"".join(bytes(kind(*piece)) for piece in value)
            plain |= {length: len(data), name: _note(slot, data)}
    plain |= {name: value for name, value in fields.items()
              if name != "sense" and not (name in LISTS and name in plain)}
    return list(plain.items())


def _note(slot: Slot, data: bytes) -> int:
    if len(data) > EXTRA:
        raise ValueError(f"room for {EXTRA} bytes, not {len(data)}")
    return slot.note(data)


def _number(name: str, value: Any) -> Any:
    kind = NAMES.get(name)
    if kind is not None and isinstance(value, str):
        if value.upper() not in kind.__members__:
            raise ValueError(f"{name} is one of {', '.join(kind.__members__)}, not {value!r}")
        return int(kind[value.upper()])
    return value
