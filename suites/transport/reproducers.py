"""Minimal PDU sequences that crash a target, as data.

A campaign leaves such PDUs out (WireTraits.avoided_pdus); test_reproducers sends each sequence by
itself, to the targets that it is known to crash (WireTraits.reproducers). The causes stand in
suites/known_issues.toml.
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

    ``until``: the response to wait for before the next step; None: none. ``times``: how often it is
    sent, each time with the next tag. ``hang_up``: whether the initiator closes the connection
    right behind it, by itself.
    """

    pdu: Pdu
    until: Op | None = None
    times: int = 1
    hang_up: bool = False


@dataclass(frozen=True)
class Reproducer:
    """Steps, done ``times`` over, each time in a session of its own.

    ``keys``: what the login offers beside the usual. ``session``: whether there is a login before
    the steps. ``aftermath``: seconds after the last step in which the target fails, if it does;
    ``later``: seconds more, once the initiator has hung up.
    """

    steps: tuple[Step, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    session: bool = True
    aftermath: float = 1.0
    later: float = 0.0


def rw(opcode: int, blocks: int) -> bytes:
    """Return a READ(10) or WRITE(10) of the first blocks."""
    return bytes((opcode, 0, 0, 0, 0, 0, 0)) + blocks.to_bytes(2, "big") + b"\0"


INQUIRY = bytes((0x12, 0, 0, 0, 96, 0))
TEST_UNIT_READY = bytes(6)

EMPTY_EXTENDED_CDB = bytes((0, 0, 1)) + bytes(9)
"""Of type Extended CDB, with AHSLength 0, which is at least 1: for the reserved byte
(RFC 7143 11.2.2.1, 11.2.2.3)."""

LONG = ahs(0x3F, bytes(1017))
"""An AHS of no type, as long as a header can announce."""

DATAOUT_TIMEOUT = 5.0
"""Seconds after which a timer that a target began for the READs has run out: LIO's Data-Out timer
runs for 3 (NA_DATAOUT_TIMEOUT, iscsi_target_core.h)."""

PENDING_TIMEOUT = 12.0
"""Seconds after which SCST has dropped the commands that a closed connection left in the queue of
those whose CmdSN is not due yet (CONN_PENDING_TIMEOUT, iscsi-scst/kernel/nthread.c: 10)."""

IMMEDIATE = {"ImmediateData": "Yes"}


def reads_with(data: int) -> tuple[Step, ...]:
    """Return READs of 8 blocks that come with immediate data."""
    return tuple(Step(scsi_command(tag, rw(0x28, 8), 8 * BLOCK, "read", PATTERN * data))
                 for tag in range(1, 17))


MISNUMBERED = (
    Step(scsi_command(1, rw(0x2A, 8), 8 * BLOCK, "write"), Op.R2T),
    Step(Pdu(Op.TASK_MANAGEMENT, {
        "F": 1, "Function": 1, "InitiatorTaskTag": NO_TAG, "ReferencedTaskTag": 1,
        "RefCmdSN": 0x7777}), Op.TASK_MANAGEMENT_RESPONSE),
    Step(scsi_command(3, TEST_UNIT_READY), Op.SCSI_RESPONSE),
)
"""ABORT TASK of a WRITE that waits for its data, with a RefCmdSN that is not its CmdSN; its answer
is acknowledged by another command."""

RESET_NO_LUN = Pdu(Op.TASK_MANAGEMENT, {
    "F": 1, "Function": 5, "InitiatorTaskTag": 2, "ReferencedTaskTag": NO_TAG, "LUN": 255 << 48})
"""LOGICAL UNIT RESET of a unit that is not there; not immediate."""

WAITING = tuple(Step(scsi_command(tag, rw(0x2A, 1), BLOCK, "write"), Op.R2T) for tag in range(1, 9))
"""WRITEs that wait for their data."""

TARGET_NAME = b"TARGET-NAME"
"""Stands for the target's name."""

NAMELESS = login({**KEYS, "InitiatorName": "", "TargetName": TARGET_NAME.decode()})
"""An empty InitiatorName is no name (4.2.7)."""

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
"""By the name that scenario ids have."""
