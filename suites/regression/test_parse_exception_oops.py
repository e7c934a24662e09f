# SPDX-License-Identifier: GPL-2.0-or-later
"""70e0d8143 (2025): scst_user: Fix oops in SCST_USER_PARSE_EXCEPTION.

Defect: with PARSE type EXCEPTION, a command that SCST's parser had refused (its length in bytes
does not fit into 31 bits) was still passed to the backend, with its error already set. The
backend's reply then met a command in an impossible state: BUG in scst_parse_cmd(). Since the fix
such an error is final.

Steps: an initiator issues READ(16) of 2^23 blocks of 512 bytes to such a device.

Expected: CHECK CONDITION, ILLEGAL REQUEST, LOGICAL BLOCK ADDRESS OUT OF RANGE (5/21/00, the sense
data that SCST sets); the backend receives no PARSE for the command; the device continues to work.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.commands import Command, Commands
from inject.point import NOTHING_HELD
from inject.release import Release
from suites.regression.steps import PAGE, arrange, recover, write_all
from targets.target import Device, Transport

READ_16 = 0x88
BLOCKS = 1 << 23
TOO_LONG = Command("read16-too-long", f"{READ_16:02x}00{0:016x}{BLOCKS:08x}0000", "read", PAGE)

PLAN = Plan(Release(), NOTHING_HELD,
            Arrangement(Transport.LOOPBACK, Device(options={"parse_type": "EXCEPTION"}), fio=None),
            variant="70e0d8143")

CHECK_CONDITION = 2
OUT_OF_RANGE = (0x5, 0x21, 0x00)


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_refused_command_does_not_reach_the_backend(ctx: ScenarioContext) -> None:
    """A READ that is too long ends with the parser's sense data."""
    family = arrange(ctx)
    write_all(ctx, (family.disk, PAGE))
    ctx.phase("fault")
    ctx.fired()
    commands = Commands(ctx.machine, "too-long", [TOO_LONG], family.disk, ctx.recorder)
    ctx.must(commands.wait_answered(1, ctx.ladder.command),
             "a READ that is too long was not answered in time")
    ctx.must(commands.wait(ctx.ladder.step) is not None,
             "the program that issued the READ does not end")
    answer = commands.answers[1]
    seen = (answer.get("status"), *(answer.get(part) for part in ("key", "asc", "ascq")))
    ctx.expect("a READ that is too long ends with 5/21/00",
               seen == (CHECK_CONDITION, *OUT_OF_RANGE), str(seen))
    parsed = [event for event in ctx.recorder.history().select("backend", "step")
              if event.data["point"] == "PARSE" and event.data["opcode"] == READ_16
              and event.time > ctx.machine.now() - ctx.ladder.command]
    ctx.expect("a command that the core refused is not passed to the backend", not parsed)
    write_all(ctx, (family.disk, PAGE))
    recover(ctx, family)
