# SPDX-License-Identifier: GPL-2.0-or-later
"""How do the next commands of a session end after an administrator has removed its LUN?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fixtures.context import ScenarioContext
from fixtures.initiators import Initiators
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.steps import settled
from fixtures.workload.commands import Command, CommandJob
from fixtures.workload.stamps import LIGHT
from inject.catalogue import fault_by_name
from inject.nexus import OUT_OF_RANGE, WRITE_PROTECTED
from inject.outcomes import GOOD, NO_UNIT, NOT_SUPPORTED
from inject.point import Point, State
from inject.task_management import LOST
from inject.traits import LunTraits
from targets.target import Device

SESSION = "a"

LUNS_CHANGED = "CHECK CONDITION 06/3f/0e"
"""REPORTED LUNS DATA HAS CHANGED (SAM-5 5.14.1): reported by the target's other LUNs."""

SESSION_ENDED = "RFC 7143 11.14.5: its own tasks end with a session"


@dataclass(frozen=True)
class Probe:
    """A command after the removal, its allowed outcomes, and the clause for them.

    ``virtual_lun``: the outcomes where LUN 0 is now a LUN that the target itself provides.
    ``by_message``: the outcomes where the target reports the removal by an Asynchronous Message.
    Empty: ``outcomes``.
    """

    command: Command
    outcomes: tuple[str, ...]
    clause: str
    virtual_lun: tuple[str, ...] = ()
    by_message: tuple[str, ...] = ()

    def on(self, luns: LunTraits) -> Command:
        """Return the command with its outcomes at a target with these traits."""
        if luns.removal_ends_sessions:
            return replace(self.command, allowed=(LOST,), clause=SESSION_ENDED)
        other = (luns.virtual_lun_0 and self.virtual_lun) or (
            luns.changes_by_message and self.by_message)
        return replace(self.command, allowed=other or self.outcomes, clause=self.clause)


VIRTUAL = (GOOD, WRITE_PROTECTED)
"""Outcomes where the target itself provides LUN 0: a small, write-protected RAM disk."""

OF_THE_LUN = (
    Probe(Command("TEST UNIT READY", "000000000000"), (NOT_SUPPORTED,), NO_UNIT, VIRTUAL),
    Probe(Command("READ(10)", "28000000400000000800", "read", 4096), (NOT_SUPPORTED,), NO_UNIT,
          (*VIRTUAL, OUT_OF_RANGE, NOT_SUPPORTED)),
    Probe(Command("WRITE(10)", "2a000000400000000800", "write", 4096), (NOT_SUPPORTED,),
          NO_UNIT, (WRITE_PROTECTED,)),
    Probe(Command("INQUIRY", "120000002400", "read", 36), (GOOD, NOT_SUPPORTED),
          "SPC-4 6.6.2: peripheral qualifier 001b or 011b"),
    Probe(Command("REQUEST SENSE", "030000001200", "read", 18), (GOOD, NOT_SUPPORTED),
          "SPC-4 6.39"),
    Probe(Command("REPORT LUNS", "a00000000000000010000000", "read", 4096),
          (GOOD, "GOOD residual *", NOT_SUPPORTED), "SPC-4 6.33"),
)

OF_ANOTHER = (
    (Probe(Command("TEST UNIT READY of another LUN", "000000000000", lun=1), (LUNS_CHANGED,),
           "SAM-5 5.14.1: a unit attention of each LUN when the inventory has changed",
           by_message=(GOOD, LUNS_CHANGED)),),
    (Probe(Command("TEST UNIT READY of another LUN, again", "000000000000", lun=1), (GOOD,),
           "SAM-5 5.14: reported once"),
     Probe(Command("READ(10) of another LUN", "28000000400000000800", "read", 4096, lun=1),
           (GOOD,), "SPC-4 6.33: it is still in the logical unit inventory")),
)
"""Probes of a second LUN. The commands of each inner tuple are issued together, the tuples one
after the other, and all before REPORT LUNS, which may clear the unit attention
(scst_report_luns_local, scst_local_cmd.c)."""

READY_OF_ANOTHER = replace(OF_ANOTHER[0][0].command, allowed=("*",))


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan with one LUN and, where the target supports several, one with two LUNs."""
    devices = {"lun-gone": Device()}
    if selection.traits.luns.several:
        devices["lun-gone-another"] = Device(siblings=(Device("stf1"),))
    for variant, device in devices.items():
        yield Plan(fault_by_name("lun-delete"), Point(State.EXEC, 1, None),
                   Arrangement.stamped(LIGHT, device=device), CommandJob("write", 1), variant)


@scenarios(plans)
def test_lun_gone(ctx: ScenarioContext) -> None:
    """Commands for the removed LUN are refused, commands for others are not; the session stays."""
    lun = ctx.arrange()
    initiators = Initiators(ctx, lun)
    initiators.login(SESSION)
    several = bool(ctx.plan.arrangement.device.siblings)
    if several:  # the unit attentions of a new I_T nexus (SAM-5 5.14)
        for _ in range(2):
            issue(initiators, [READY_OF_ANOTHER])
    ctx.hold(lun, initiators.issuer(SESSION, (GOOD, LOST)))
    with settled(ctx, lun, initiators.wait_settled), ctx.broken(lun):   # the LUN is removed
        for together in (*OF_ANOTHER, OF_THE_LUN) if several else (OF_THE_LUN,):
            issue(initiators, [probe.on(ctx.traits.luns) for probe in together])
        expect_session(initiators)
    ctx.drain(lun)
    ctx.recover(lun)


def issue(initiators: Initiators, commands: Sequence[Command]) -> None:
    """Issue commands together, and wait until they have ended. Raises TargetFailedError."""
    ctx, sessions = initiators.ctx, initiators.sessions
    bound, before = ctx.ladder.command, len(sessions.commands)
    sessions.issue(SESSION, commands)
    ctx.must(sessions.wait_issued(before + len(commands), bound), "no command was issued")
    ctx.wait_until(lambda: sessions.answers.keys() >= set(sessions.commands[before:]), bound)


def expect_session(initiators: Initiators) -> None:
    """Expect that the session stays, or ends where a removal ends sessions at this target."""
    ctx, nexus = initiators.ctx, initiators.sessions.nexus
    there = nexus[SESSION]["action"] == "logged in"
    if ctx.traits.luns.removal_ends_sessions:
        ctx.expect("the session ends with the LUN", not there, str(nexus))
    else:
        ctx.expect("the session stays", there, str(nexus),
                   "RFC 7143 6.3.5: a session ends by logout, reinstatement or timeout")
