# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix of calls to /dev/scst_user: ioctl and field x pointer x handle x amount x state of the
device x what the process does at once afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from fixtures.matrix import Matrix, Rule
from suites.abi.batches import Case
from suites.abi.making import Expected
from targets.backend.pointers import Access, Pointer, usable
from targets.scst.interface import (
    BY_NAME,
    CALLS,
    DEAD,
    LIVE,
    STATES,
    Amount,
    Call,
    DeviceState,
    Handle,
    Then,
)

FETCHING = ("REPLY_AND_GET_CMD", "REPLY_AND_GET_MULTI")

BESIDE_HEADER = (Pointer.GOOD, Pointer.READ_ONLY, Pointer.NO_ACCESS, Pointer.UNMAPPED,
                 Pointer.STRADDLING)
"""Kinds of memory that can follow a good page."""


def handles(call: Call) -> tuple[Handle, ...]:
    """Return the handles that a call can be combined with."""
    if not call.handle:
        return (Handle.NONE, *call.states)
    return call.states if "_reply." in call.field or call.field == "result" \
        else (*DEAD, *call.states)


def rule(why: str, dimensions: tuple[str, ...], excludes: Callable[..., bool]) -> Rule:
    """Return a rule that computes each combination of values once."""
    return Rule(why, dimensions, cache(excludes))


RULES: tuple[Rule, ...] = (
    rule("the field is no pointer", ("call", "pointer"),
         lambda call, pointer: BY_NAME[call].access is None and pointer != Pointer.GOOD),
    rule("an array behind a header has the header's address", ("call", "pointer"),
         lambda call, pointer: BY_NAME[call].field == "cmds" and pointer not in BESIDE_HEADER),
    rule("the call has no size and no count", ("call", "amount"),
         lambda call, amount: not BY_NAME[call].count and amount not in (
             Amount.USUAL, Amount.MANY)),
    rule("the call takes no such handle", ("call", "handle"),
         lambda call, handle: handle not in handles(BY_NAME[call])),
    rule("without a device no handle was given out", ("handle", "device"),
         lambda handle, device: device == DeviceState.BEFORE and handle not in (
             Handle.NONE, Handle.UNKNOWN)),
    rule("fetching would block before a command is in its state", ("handle", "device"),
         lambda handle, device: device == DeviceState.BLOCKING and (
             handle in LIVE or handle == Handle.FREED)),
    rule("scst-user-background-abandoned: the command is completed first", ("handle", "then"),
         lambda handle, then: handle == Handle.BACKGROUND and then != Then.GO_ON),
    rule("the descriptor has been closed", ("device", "then"),
         lambda device, then: device == DeviceState.CLOSING and then != Then.CLOSE),
    rule("with a LUN or another device the module is in use", ("handle", "then"),
         lambda handle, then: then == Then.RMMOD and (
             handle in LIVE or handle == Handle.ANOTHER_DEVICE)),
    rule("no command is waiting to be fetched", ("handle", "then"),
         lambda handle, then: then == Then.ANSWER and handle != Handle.QUEUED),
    rule("the call fetches no command", ("call", "then"),
         lambda call, then: then == Then.ANSWER and BY_NAME[call].ioctl not in FETCHING),
    rule("the call can be repeated by one process only", ("amount", "then"),
         lambda amount, then: amount == Amount.MANY and then in (Then.DUP, Then.HAND_OVER)),
    rule("a blocking fetch ends by a signal only", ("call", "device", "then"),
         lambda call, device, then: (
             device == DeviceState.BLOCKING and BY_NAME[call].ioctl in FETCHING
             and then != Then.KILL)),
)


MATRIX = Matrix({
    "call": [call.name for call in CALLS],
    **{name: [str(value) for value in values] for name, values in (
        ("pointer", Pointer), ("handle", Handle), ("amount", Amount), ("device", DeviceState),
        ("then", Then))}}, RULES)


def is_alone(case: Case) -> bool:
    """Return whether a case tries to remove the module, which another device would prevent."""
    return case.fields["then"] == Then.RMMOD


def cell_of(case: Case) -> dict[str, Any]:
    """Return a case's fields as values of the dimensions."""
    fields = case.fields
    return {"call": BY_NAME[fields["call"]], "pointer": Pointer(fields["pointer"]),
            "handle": Handle(fields["handle"]), "amount": Amount(fields["amount"]),
            "device": DeviceState(fields["device"]), "then": Then(fields["then"])}


def expected(case: Case) -> Expected:
    """Return what a call may do."""
    return _expected(**{name: value for name, value in cell_of(case).items() if name != "then"})


ANY = Expected()


def _expected(
    call: Call, pointer: Pointer, handle: Handle, amount: Amount, device: DeviceState,
) -> Expected:
    if device is DeviceState.CLOSING:
        return ANY
    if device is DeviceState.BEFORE and call.ioctl != "REGISTER_DEVICE":
        return _without_device(call)
    if call.access is not None and not usable(pointer, call.access):
        return _unusable(call, pointer, handle, amount)
    if call.handle and handle in DEAD and pointer is Pointer.GOOD:
        return _dead(call, handle, amount)
    if (call.name, amount) in NONSENSE and device not in NOT_FIRST.get(call.ioctl, ()) \
            and handle is not Handle.BACKGROUND:
        return Expected(refused=True, why=f"{call.name} refuses an amount that makes no sense")
    return Expected(waits=(call.ioctl in FETCHING and device is DeviceState.BLOCKING) or (
        call.ioctl in SUSPENDING and handle is Handle.EXEC))


SUSPENDING = ("SET_OPTIONS", "FLUSH_CACHE")
"""Ioctls that wait for the commands in flight (scst_suspend_activity)."""

NOT_FIRST = {"REGISTER_DEVICE": (DeviceState.REGISTERED, DeviceState.BLOCKING,
                                 DeviceState.UNREGISTERED)}
"""States in which an ioctl may refuse for another reason."""

ODD = (Amount.NEGATIVE, Amount.LEAST, Amount.OVER, Amount.HUGE)

NONSENSE = frozenset(
    (name, amount) for name, amounts in {
        "REGISTER_DEVICE.block_size": (Amount.ZERO, Amount.ONE, Amount.NEGATIVE, Amount.HUGE,
                                       Amount.OVER),
        "REGISTER_DEVICE.name": (Amount.ZERO,),
        "REGISTER_DEVICE.sgv_single_alloc_pages": (Amount.NEGATIVE, Amount.LEAST),
        "SET_OPTIONS.memory_reuse_type": ODD,
        "SET_OPTIONS.parse_type": ODD,
        "PREALLOC_BUFFER.pbuf": (Amount.ZERO, Amount.NEGATIVE, Amount.LEAST, Amount.HUGE),
        "REPLY_CMD.parse_reply.bufflen": (Amount.ZERO, Amount.NEGATIVE, Amount.LEAST),
        "REPLY_CMD.parse_reply.data_len": (Amount.NEGATIVE, Amount.LEAST),
        "REPLY_CMD.parse_reply.cdb_len": ODD,
        "REPLY_CMD.parse_reply.data_direction": (Amount.ZERO, *ODD),
        "REPLY_CMD.exec_reply.pbuf": ODD,
        "REPLY_CMD.exec_reply.ws_descriptors": (Amount.OVER,),
        "REPLY_CMD.exec_reply.reply_type": (Amount.LIMIT, *ODD),
        "REPLY_CMD.subcode": (Amount.ZERO, Amount.ONE, Amount.LIMIT, *ODD),
    }.items() for amount in amounts)
"""Amounts with which a call must not succeed, by the calls' names."""


def _without_device(call: Call) -> Expected:
    if call.ioctl in ("POLL", "EPOLL", "LSEEK"):
        return ANY
    return Expected(refused=True, why=f"{call.ioctl} is refused before a device is registered")


def _dead(call: Call, handle: Handle, amount: Amount) -> Expected:
    if call.field == "preplies" and amount not in (Amount.USUAL, Amount.ONE, Amount.MANY):
        return ANY
    if handle is Handle.PREALLOCATED:
        return Expected(refused=True, why=f"{call.ioctl} refuses a preallocated buffer's handle")
    return Expected(frozenset({"ESRCH"}), why=f"{call.ioctl} refuses a handle of no command of the "
                                              "device with ESRCH")


LENIENT = frozenset({
    ("REPLY_AND_GET_CMD.arg", Pointer.STRADDLING), ("REPLY_AND_GET_MULTI.arg", Pointer.STRADDLING),
    ("REPLY_AND_GET_MULTI.cmds", Pointer.STRADDLING), ("REPLY_AND_GET_CMD.preply", Pointer.NULL),
    ("REPLY_CMD.alloc_reply.pbuf", Pointer.NULL),
    ("REPLY_CMD.alloc_reply.pbuf", Pointer.STRADDLING),
})
"""Pointers that a call may take: what is in the page is enough, or NULL has a meaning."""

VAGUE = frozenset({"REPLY_AND_GET_CMD.arg", "REPLY_AND_GET_MULTI.arg", "REPLY_AND_GET_MULTI.cmds",
                   "PREALLOC_BUFFER.pbuf", "UNKNOWN_IOCTL.arg", "READ.arg", "WRITE.arg",
                   "REPLY_CMD.exec_reply.ws_descriptors"})
"""Calls that may be refused for other reasons, and so with another errno, before the kernel comes
to the pointer."""

UNSTATED = frozenset({"REPLY_CMD.exec_reply.pbuf"})
"""The kernel reports a failed mapping to the initiator only (inject/answers.py)."""


def _unusable(call: Call, pointer: Pointer, handle: Handle, amount: Amount) -> Expected:
    inside = handle in STATES or handle is Handle.NONE
    background = handle is Handle.BACKGROUND and "_reply." in call.field
    counted = call.count and amount not in (Amount.USUAL, Amount.MANY)
    answered = amount is Amount.MANY and "_reply." in call.field
    if call.name in UNSTATED or (call.name, pointer) in LENIENT or background or counted \
            or answered:
        return ANY
    if call.field == "ext_cdb_buffer":
        return Expected(frozenset({"EFAULT"}), why=_efault(call)) if handle in STATES[:4] else \
            Expected(refused=True, why=f"{call.ioctl} refuses a handle in no fitting state")
    if call.name in VAGUE and not (call.access is Access.BOTH and handle is Handle.QUEUED
                                   and pointer in (Pointer.UNMAPPED, Pointer.NO_ACCESS)):
        return Expected(refused=True, why=f"{call.name} refuses a pointer that cannot be used")
    errors = frozenset({"EFAULT"}) if inside or call.field in ("arg", "preply", "preplies") \
        else frozenset({"EFAULT", "ESRCH"})
    return Expected(errors, why=_efault(call))


def _efault(call: Call) -> str:
    return f"{call.name} refuses a pointer that cannot be used with EFAULT"
