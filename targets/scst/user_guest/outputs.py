# SPDX-License-Identifier: GPL-2.0-or-later
"""Output fields of scst_user's ioctls: poisoned before each call, and compared after it.

Runs in the guest; stdlib only. The fields are those that the description of each subcommand states
as valid (doc/scst_user_spec, "SCST_USER subcommands"): the reserved ones of EXEC, names and LUN of
DETACH_SESS, cmd_h_to_abort and cmd_sn are not among them. REGISTER_DEVICE, SET_OPTIONS and
REPLY_CMD have inputs only; UNREGISTER_DEVICE, FLUSH_CACHE and DEVICE_CAPACITY_CHANGED have no
argument.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from targets.backend.disk import Buffer
from targets.scst import abi

POISON = 0xA5
"""Value of every byte of an output field before the call."""

SHORT = int.from_bytes(bytes([POISON] * 2), "little", signed=True)
"""A poisoned field of two bytes, as its signed number."""

GET_SIZE = ctypes.sizeof(abi.GetCmd)
POISONED = bytes([POISON]) * GET_SIZE
"""struct scst_user_get_cmd before a call."""

BODY = abi.GetCmd.preply.offset

Structure = type[ctypes.Structure]


class Output(NamedTuple):
    """An output field: its name and its place in the structure that is returned."""

    name: str
    start: int
    stop: int


def outputs(structure: Structure, names: Sequence[str] = (), base: int = 0) -> Iterator[Output]:
    """Yield fields of a structure at ``base``; no names: all fields."""
    for name in names or [field[0] for field in structure._fields_]:
        field = getattr(structure, name)
        yield Output(name, base + field.offset, base + field.offset + field.size)


def _payload(structure: Structure, *names: str) -> tuple[Output, ...]:
    return tuple(outputs(structure, names, BODY))


_COMMAND = ("sess_h", "cdb", "cdb_len", "queue_type", "data_direction", "sn")
_LENGTHS = ("lba", "data_len", "bufflen", "out_bufflen", "timeout")

PAYLOADS: Mapping[int, tuple[Output, ...]] = {
    abi.Subcode.ATTACH_SESS: _payload(abi.Sess),
    abi.Subcode.DETACH_SESS: _payload(abi.Sess, "sess_h"),
    abi.Subcode.PARSE: _payload(
        abi.CmdParse, *_COMMAND, *_LENGTHS, "op_flags", "expected_values_set"),
    abi.Subcode.ALLOC_MEM: _payload(abi.CmdAllocMem, *_COMMAND, "alloc_len"),
    abi.Subcode.EXEC: _payload(abi.CmdExec, *_COMMAND, *_LENGTHS, "pbuf", "partial"),
    abi.Subcode.ON_FREE_CMD: _payload(abi.OnFreeCmd),
    abi.Subcode.ON_CACHED_MEM_FREE: _payload(abi.OnCachedMemFree),
    abi.Subcode.TASK_MGMT_RECEIVED: _payload(abi.Tm, "sess_h", "fn", "cmd_sn_set"),
    abi.Subcode.TASK_MGMT_DONE: _payload(abi.Tm, "sess_h", "fn", "cmd_sn_set"),
    abi.Subcode.EXT_COPY_REMAP: (
        *_payload(abi.ExtCopyRemap, "sess_h", "src_sess_h", "dst_sess_h"),
        *outputs(abi.ExtCopyDataDescr, (), BODY + abi.ExtCopyRemap.data_descr.offset)),
}
"""Output fields of each subcommand."""

ENDS: Mapping[int, int] = {
    subcode: max(field.stop for field in fields) for subcode, fields in PAYLOADS.items()}

HEADER = tuple(outputs(abi.GetCmd, ("cmd_h", "subcode")))


def poisoned(data: Buffer, fields: Sequence[Output]) -> list[str]:
    """Return the names of the fields that still have their poison."""
    return [name for name, start, stop in fields
            if bytes(data[start:stop]) == POISONED[:stop - start]]


def unwritten(command: Buffer, subcode: int, preply: int) -> list[str]:
    """Return the output fields of a subcommand that the kernel has not written.

    ``preply``: the input in place of the payload's first field, 0 if there was none.
    """
    fields = PAYLOADS.get(subcode, HEADER)
    body = bytes(command)
    left: list[str] = []
    if body.find(POISON, 0, ENDS.get(subcode, BODY)) >= 0:
        left = poisoned(body, (*HEADER, *fields) if fields is not HEADER else fields)
    if preply and int.from_bytes(body[BODY:BODY + 8], "little") == preply:
        left += [field.name for field in fields if field.start == BODY]
    return left


def poison(structure: ctypes.Structure) -> None:
    """Fill a structure with poison."""
    ctypes.memset(ctypes.addressof(structure), POISON, ctypes.sizeof(structure))
