# SPDX-License-Identifier: GPL-2.0-or-later
"""MAINTENANCE IN: the supported commands and task management functions (SPC-4 6.35, 6.36)."""

from __future__ import annotations

import struct
from collections.abc import Collection

from targets.backend.disk.cdb import REPORT_OPCODES, REPORT_TASK_MANAGEMENT, Buffer, Opcode
from targets.backend.disk.sense import bad_cdb

SERVICE_ACTIONS = frozenset(int(opcode) for opcode in (
    Opcode.SANITIZE, Opcode.PERSISTENT_RESERVE_IN, Opcode.PERSISTENT_RESERVE_OUT,
    Opcode.SERVICE_ACTION_IN_16, Opcode.MAINTENANCE_IN))
"""Operation codes that take a service action, in the low five bits of byte 1."""

USAGE = tuple(bytes.fromhex(line) for line in """
    00 00 0000 00 00
    03 00 0000 ff 00
    08 1f ffff ff 00
    0a 1f ffff ff 00
    12 01 ffff ff 00
    15 10 0000 ff 00
    16 00 0000 00 00
    17 00 0000 00 00
    1a 08 ffff ff 00
    1b 01 0000 01 00
    25 00 00000000 00 0000 00
    28 18 ffffffff 00 ffff 00
    2a 18 ffffffff 00 ffff 00
    2e 16 ffffffff 00 ffff 00
    2f 16 ffffffff 00 ffff 00
    34 02 ffffffff 00 ffff 00
    35 02 ffffffff 00 ffff 00
    41 08 ffffffff 00 ffff 00
    42 00 00000000 00 ffff 00
    48 e1 00000000 00 ffff 00
    48 e2 00000000 00 ffff 00
    48 1f 00000000 00 ffff 00
    55 10 00000000 00 ffff 00
    56 00 00000000 00 0000 00
    57 00 00000000 00 0000 00
    5a 18 ffff0000 00 ffff 00
    5e 00 00000000 00 ffff 00
    5e 01 00000000 00 ffff 00
    5e 02 00000000 00 ffff 00
    5e 03 00000000 00 ffff 00
    5f 00 ff000000 ff ffff 00
    5f 01 ff000000 ff ffff 00
    5f 02 ff000000 ff ffff 00
    5f 03 ff000000 ff ffff 00
    5f 04 ff000000 ff ffff 00
    5f 05 ff000000 ff ffff 00
    5f 06 ff000000 ff ffff 00
    88 18 ffffffffffffffff ffffffff 00 00
    89 18 ffffffffffffffff 000000ff 00 00
    8a 18 ffffffffffffffff ffffffff 00 00
    8b 18 ffffffffffffffff ffffffff 00 00
    8e 16 ffffffffffffffff ffffffff 00 00
    8f 16 ffffffffffffffff ffffffff 00 00
    90 02 ffffffffffffffff ffffffff 00 00
    91 02 ffffffffffffffff ffffffff 00 00
    93 09 ffffffffffffffff ffffffff 00 00
    9e 10 0000000000000000 ffffffff 00 00
    9e 12 ffffffffffffffff ffffffff 00 00
    a0 00 ff000000 ffffffff 00 00
    a3 0c 87ffffff ffffffff 00 00
    a3 0d 80000000 ffffffff 00 00
    a8 18 ffffffff ffffffff 00 00
    aa 18 ffffffff ffffffff 00 00
    ae 16 ffffffff ffffffff 00 00
    af 16 ffffffff ffffffff 00 00
""".splitlines() if line.strip())
"""CDB usage data of every command (SPC-4 6.35.3): the bits that are evaluated. PERSISTENT RESERVE
IN and OUT are answered by the targets' own cores."""

RCTD = 0x80
"""Return command timeouts descriptors (byte 2)."""

TIMEOUTS = struct.pack(">HxBII", 10, 0, 0, 0)
"""A command timeouts descriptor that indicates none (SPC-4 6.35.4)."""

TASK_MANAGEMENT = 0x80 | 0x40 | 0x10 | 0x08
"""ATS, ATSS, CTSS, LURS: ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET."""

NOT_SUPPORTED, STANDARD = 1, 3
"""SUPPORT field: SPC-4 table 296."""


def service_action(usage: bytes) -> int | None:
    """Return the service action of a CDB's usage data; None where the command has none."""
    return usage[1] & 0x1F if usage[0] in SERVICE_ACTIONS else None


class Supported:
    """The commands of a disk, except the operation codes in ``without``."""

    def __init__(self, without: Collection[int] = ()) -> None:
        self.usage = {
            (usage[0], service_action(usage)): usage for usage in USAGE if usage[0] not in without}

    def __call__(self, cdb: Buffer, _: Buffer) -> bytes:
        """Carry MAINTENANCE IN out."""
        action = cdb[1] & 0x1F
        allocation, = struct.unpack_from(">I", cdb, 6)
        if action == REPORT_TASK_MANAGEMENT:
            long = cdb[2] & 0x80  # REPD
            data = struct.pack(">BxxB12x" if long else ">BxxB", TASK_MANAGEMENT, 12 if long else 0)
            return data[:allocation]
        if action != REPORT_OPCODES:
            raise bad_cdb(1)
        options, timeouts = cdb[2] & 7, bool(cdb[2] & RCTD)
        return (self._one(cdb, timeouts) if options else self._all(timeouts))[:allocation]

    def _all(self, timeouts: bool) -> bytes:
        body = b"".join(
            struct.pack(">BxHxBH", opcode, action or 0, timeouts << 1 | (action is not None),
                        len(usage)) + (TIMEOUTS if timeouts else b"")
            for (opcode, action), usage in self.usage.items())
        return struct.pack(">I", len(body)) + body

    def _one(self, cdb: Buffer, timeouts: bool) -> bytes:
        """Return one command's usage data.

        Raises CheckConditionError when the reporting options do not fit it.
        """
        options, opcode, action = struct.unpack_from(">BBH", cdb, 2)
        options &= 7
        takes_action = any(code == opcode and key is not None for code, key in self.usage)
        if options > 3 or (options == 1 and takes_action):
            raise bad_cdb(2)
        if options == 2 and not takes_action and (opcode, None) in self.usage:
            raise bad_cdb(2)
        usage = self.usage.get((opcode, action if takes_action else None))
        if usage is None or (options == 3 and not takes_action and action):
            return struct.pack(">xBxx", NOT_SUPPORTED)
        head = struct.pack(">xBH", timeouts << 7 | STANDARD, len(usage))
        return head + usage + (TIMEOUTS if timeouts else b"")
