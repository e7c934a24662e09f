# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix of TCMU's interface: field or call x value x commands in the ring x what the process
does at once afterwards.

Contents of the shared memory cannot be refused: of these the kernel's health, the end of the
process and the release of the device are judged.
"""

from __future__ import annotations

from fixtures.matrix import Matrix, Rule
from suites.abi.batches import Case
from suites.abi.making import Expected
from targets.lio.interface import BY_NAME, CALLS, Commands, Then, Value

RULES: tuple[Rule, ...] = (
    Rule("without a command the ring has no entry", ("call", "commands"),
         lambda call, commands: BY_NAME[call].in_ring and commands == Commands.NONE),
    Rule("no field of the shared memory: nothing lies behind or beyond it", ("call", "value"),
         lambda call, value: not BY_NAME[call].in_memory and value in (
             Value.BEHIND, Value.BEYOND)),
    Rule("a device in use by a LUN is not removed", ("commands", "then"),
         lambda commands, then: then == Then.REMOVE and commands != Commands.NONE),
    Rule("there is no entry to complete", ("commands", "then"),
         lambda commands, then: then == Then.COMPLETE and commands == Commands.NONE),
    Rule("the tail is what COMPLETE moves", ("call", "then"),
         lambda call, then: then == Then.COMPLETE and call in (
             "mailbox.cmd_tail", "mailbox.cmdr_off")),
)

MATRIX = Matrix({
    "call": [call.name for call in CALLS],
    **{name: [str(value) for value in values] for name, values in (
        ("value", Value), ("commands", Commands), ("then", Then))}}, RULES)

SIZES = (Value.ZERO, Value.ONE, Value.TWO, Value.MISALIGNED, Value.OVER)

NONSENSE = frozenset(
    (name, value) for name, values in {
        "uio.read": (*SIZES, Value.HUGE), "uio.write": (*SIZES, Value.HUGE),
        "uio.mmap_offset": (Value.ONE, Value.TWO, Value.OVER),
        "attribute.block_dev": (Value.TWO, Value.MINUS_ONE, Value.OVER, Value.HUGE),
        "attribute.reset_ring": (Value.ZERO, Value.MINUS_ONE, Value.OVER, Value.HUGE),
        "netlink.unknown_command": (Value.ZERO, Value.OVER, Value.HUGE, Value.LIMIT),
        "netlink.truncated": (Value.ZERO, Value.ONE, Value.TWO),
        "netlink.added_done.device_id": (Value.HUGE, Value.MINUS_ONE),
        "netlink.removed_done.device_id": (Value.HUGE, Value.MINUS_ONE),
        "netlink.reconfig_done.device_id": (Value.HUGE, Value.MINUS_ONE),
    }.items() for value in values)
"""Calls that must not succeed, with their values."""


def expected(case: Case) -> Expected:
    """Return what a call may do."""
    call, value = case.fields["call"], Value(case.fields["value"])
    if (call, value) in NONSENSE and case.fields["then"] != Then.REMOVE:
        return Expected(refused=True, why=f"{call} refuses a value that makes no sense")
    return Expected()
