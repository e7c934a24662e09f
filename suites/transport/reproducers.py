# SPDX-License-Identifier: GPL-2.0-or-later
"""Minimal PDU sequences that crash a target, as data.

A campaign leaves such PDUs out (WireTraits.avoided_pdus). test_reproducers sends each sequence
alone, to the targets that it is known to crash (WireTraits.reproducers). The causes are documented
in suites/known_issues.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fixtures.initiator.raw.pdu import NO_TAG, Op, Pdu, ahs
from fixtures.initiator.raw.session import KEYS, PATTERN, login, scsi_command

TAG = 1
BLOCK = 512


@dataclass(frozen=True)
class Step:
    """A PDU to send.

    ``until``: opcode of the response to wait for before the next step; None: do not wait.
    ``times``: number of transmissions, each with the next tag. ``hang_up``: whether the initiator
    closes the connection immediately after the PDU.
    """

    pdu: Pdu
    until: Op | None = None
    times: int = 1
    hang_up: bool = False


@dataclass(frozen=True)
class Reproducer:
    """Steps that are repeated ``times`` times, each time in a new session.

    ``keys``: additional keys that the login offers. ``session``: whether the initiator logs in
    before the steps. ``aftermath``: seconds after the last step within which a failure shows.
    ``later``: further seconds to wait after the initiator has closed the connection.
    """

    steps: tuple[Step, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    session: bool = True
    aftermath: float = 1.0
    later: float = 0.0


def rw(opcode: int, blocks: int) -> bytes:
    """Return a CDB of READ(10) or WRITE(10) for the first ``blocks`` blocks."""
    return bytes((opcode, 0, 0, 0, 0, 0, 0)) + blocks.to_bytes(2, "big") + b"\0"


INQUIRY = bytes((0x12, 0, 0, 0, 96, 0))
TEST_UNIT_READY = bytes(6)

EMPTY_EXTENDED_CDB = bytes((0, 0, 1)) + bytes(9)
"""An AHS of type Extended CDB with AHSLength 0. The minimum is 1, for the reserved byte
(RFC 7143 11.2.2.2, 11.2.2.3)."""

LONG = ahs(0x3F, bytes(1017))
"""An AHS of an undefined type, with the maximum length that a header can announce."""

DATAOUT_TIMEOUT = 5.0
"""Seconds after which a timer that a target started for the READs has expired: LIO's Data-Out timer
takes 3 s (NA_DATAOUT_TIMEOUT, iscsi_target_core.h)."""

PENDING_TIMEOUT = 12.0
"""Seconds after which SCST has dropped the pending commands of a closed connection, whose CmdSN is
not due yet (CONN_PENDING_TIMEOUT, 10 s, iscsi-scst/kernel/nthread.c)."""

IMMEDIATE = {"ImmediateData": "Yes"}


def reads_with(data: int) -> tuple[Step, ...]:
    """Return steps with READs of 8 blocks that carry ``data`` times PATTERN as immediate data."""
    return tuple(Step(scsi_command(tag, rw(0x28, 8), 8 * BLOCK, "read", PATTERN * data))
                 for tag in range(1, 17))


MISNUMBERED = (
    Step(scsi_command(1, rw(0x2A, 8), 8 * BLOCK, "write"), Op.R2T),
    Step(Pdu(Op.TASK_MANAGEMENT, {
        "F": 1, "Function": 1, "InitiatorTaskTag": NO_TAG, "ReferencedTaskTag": 1,
        "RefCmdSN": 0x7777}), Op.TASK_MANAGEMENT_RESPONSE),
    Step(scsi_command(3, TEST_UNIT_READY), Op.SCSI_RESPONSE),
)
"""ABORT TASK for a WRITE that waits for its data, with a RefCmdSN that is not the WRITE's CmdSN.
Another command acknowledges the response."""

RESET_NO_LUN = Pdu(Op.TASK_MANAGEMENT, {
    "F": 1, "Function": 5, "InitiatorTaskTag": 2, "ReferencedTaskTag": NO_TAG, "LUN": 255 << 48})
"""LOGICAL UNIT RESET for a LUN that does not exist; not immediate."""

WAITING = tuple(Step(scsi_command(tag, rw(0x2A, 1), BLOCK, "write"), Op.R2T) for tag in range(1, 9))
"""Steps with WRITEs that wait for their data."""

TARGET_NAME = b"TARGET-NAME"
"""Placeholder that is replaced by the target's name."""

NAMELESS = login({**KEYS, "InitiatorName": "", "TargetName": TARGET_NAME.decode()})
"""A login with an empty InitiatorName, which is invalid (RFC 7143 4.2.7)."""

COMMAND = scsi_command(TAG, INQUIRY, 96, "read")
PING = Pdu(Op.NOP_OUT, {"F": 1, "I": 1, "InitiatorTaskTag": 2, "TargetTransferTag": NO_TAG})
ABORT_ALL = Pdu(Op.TASK_MANAGEMENT, {
    "F": 1, "I": 1, "Function": 2, "InitiatorTaskTag": 2, "ReferencedTaskTag": NO_TAG})
SEND_TARGETS = Pdu(
    Op.TEXT, {"F": 1, "I": 1, "InitiatorTaskTag": 99, "TargetTransferTag": NO_TAG},
    data=b"SendTargets=All\0")
MUCH = PATTERN * 65536

REPRODUCERS: Mapping[str, Reproducer] = {
    "read-with-data": Reproducer(reads_with(8 * BLOCK), IMMEDIATE, aftermath=DATAOUT_TIMEOUT),
    "read-with-some-data": Reproducer(reads_with(1), IMMEDIATE, aftermath=DATAOUT_TIMEOUT),
    "abort-misnumbered": Reproducer(MISNUMBERED),
    "reset-no-lun": Reproducer((
        Step(RESET_NO_LUN, Op.TASK_MANAGEMENT_RESPONSE),
        Step(scsi_command(3, TEST_UNIT_READY), Op.SCSI_RESPONSE))),
    "nameless": Reproducer((Step(NAMELESS),), session=False),
    "empty-extended-cdb": Reproducer((Step(replace(COMMAND, ahs=EMPTY_EXTENDED_CDB)),)),
    "pending-write-with-ahs": Reproducer(tuple(
        Step(replace(scsi_command(tag, rw(0x2A, 8), 8 * BLOCK, "write").having(**{"+CmdSN": tag}),
                     ahs=LONG))
        for tag in range(1, 9)), times=2, later=PENDING_TIMEOUT),
    "data-out-not-final": Reproducer((
        Step(scsi_command(TAG, rw(0x2A, 1), BLOCK, "write"), Op.R2T),
        Step(Pdu(Op.DATA_OUT)))),
    "text-of-a-write": Reproducer((*WAITING, Step(Pdu(
        Op.TEXT, {"F": 1, "I": 1, "InitiatorTaskTag": len(WAITING), "TargetTransferTag": 1},
        data=b"X-k=1\0"))), times=4),
    "rejected-write": Reproducer((
        *WAITING, Step(Pdu(Op.DATA_OUT, {"F": 1}, data=PATTERN * 8 * BLOCK))), times=4),
    "short-read": Reproducer((
        Step(scsi_command(TAG, rw(0x28, 128), BLOCK, "read"), times=31, hang_up=True),), times=4),
    "negative-read": Reproducer((
        Step(scsi_command(TAG, bytes((0xA0, *bytes(8), 16, 0, 0)), 0xFFFFFFFF, "read")),)),
    "stray-ahs": Reproducer((
        Step(replace(COMMAND, ahs=LONG), Op.DATA_IN), Step(replace(PING, ahs=LONG))), times=4),
    "stray-data": Reproducer((Step(COMMAND), Step(replace(ABORT_ALL, data=MUCH))), times=4),
    "excess-data": Reproducer((
        Step(scsi_command(TAG, rw(0x2A, 1), BLOCK, "write", PATTERN * 8192), Op.R2T),
        Step(Pdu(Op.DATA_OUT, {"F": 1}))), IMMEDIATE, times=4),
    "not-simple": Reproducer((
        Step(scsi_command(1, rw(0x28, 16384), 16384 * BLOCK, "read").having(ATTR=2)),
        *(Step(scsi_command(tag, INQUIRY, 96, "read")) for tag in range(2, 10)),
        Step(SEND_TARGETS)), times=8),
    "wild-data-out": Reproducer((
        Step(scsi_command(TAG, rw(0x2A, 1), BLOCK, "write"), Op.R2T),
        Step(Pdu(Op.DATA_OUT, {"F": 1}, data=MUCH))), times=4),
}
"""Reproducers by their names in scenario ids."""
