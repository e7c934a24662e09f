"""The story: an administrator removes a LUN; the sessions stay, and go on asking for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from fixtures.initiator.disk import Disk
from fixtures.stage import Stage
from fixtures.story import Beside, tell
from fixtures.workload.commands import Command
from fixtures.workload.sessions import Sessions
from inject.nexus import OUT_OF_RANGE, WRITE_PROTECTED
from inject.outcomes import GOOD, NOT_SUPPORTED
from inject.task_management import LOST
from inject.waiting import until
from results.checkers.outcome import AT_FAULT
from targets.target import Deployment

SESSION = "a"

LUNS_CHANGED = "CHECK CONDITION 06/3f/0e"
"""REPORTED LUNS DATA HAS CHANGED (SPC-6 5.x: of the target's other LUNs)."""

BY_MESSAGE = (GOOD, LUNS_CHANGED)
"""SCST tells iSCSI initiators by an Asynchronous Message with that sense (RFC 7143 11.9.1), and has
no unit attention where the message could be sent (scst_report_luns_changed_sess, scst_lib.c)."""


@dataclass(frozen=True)
class Asked:
    """A command for the LUN that went, or for another; how it ends, by which clause, and at targets
    that do otherwise."""

    command: Command
    allowed: tuple[str, ...]
    clause: str
    differs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


VIRTUAL = (GOOD, WRITE_PROTECTED)
"""LIO has a LUN 0 of its own where none is mapped: a RAM disk that is write protected,
and small (core_tpg_register, transport_lookup_cmd_lun)."""

OF_THE_LUN = (
    Asked(Command("TEST UNIT READY", "000000000000"), (NOT_SUPPORTED,), "SPC-6 5.3",
          {"lio": VIRTUAL}),
    Asked(Command("READ(10)", "28000000400000000800", "read", 4096), (NOT_SUPPORTED,), "SPC-6 5.3",
          {"lio": (*VIRTUAL, OUT_OF_RANGE, NOT_SUPPORTED)}),
    Asked(Command("WRITE(10)", "2a000000400000000800", "write", 4096), (NOT_SUPPORTED,),
          "SPC-6 5.3", {"lio": (WRITE_PROTECTED,)}),
    Asked(Command("INQUIRY", "120000002400", "read", 36), (GOOD, NOT_SUPPORTED),
          "SPC-6 6.6.2: peripheral qualifier 001b or 011b"),
    Asked(Command("REQUEST SENSE", "030000001200", "read", 18), (GOOD, NOT_SUPPORTED),
          "SPC-6 6.39"),
    Asked(Command("REPORT LUNS", "a00000000000000010000000", "read", 4096), (GOOD, NOT_SUPPORTED),
          "SPC-6 6.33"),
)

OF_ANOTHER = (
    (Asked(Command("TEST UNIT READY of another LUN", "000000000000", lun=1), (LUNS_CHANGED,),
           "SPC-6 6.33: a unit attention for every LUN of the I_T nexus",
           {"scst": BY_MESSAGE}),),
    (Asked(Command("TEST UNIT READY of another LUN, again", "000000000000", lun=1), (GOOD,),
           "SAM-6 5.14: reported once"),
     Asked(Command("READ(10) of another LUN", "28000000400000000800", "read", 4096, lun=1),
           (GOOD,), "it is there")),
)
"""Where the target has one: what is issued one behind the other. Before REPORT LUNS, which clears
the unit attention (SPC-6 6.33)."""


SHUT_OUT = frozenset({"tgt"})
"""Targets whose LUN goes once initiators have been shut out, as tgt-admin does it: tgtd refuses to
delete one that is in use (targets.tgt.operations)."""


def allowed(target: str, asked: Asked) -> tuple[str, ...]:
    """Return how a command for the LUN that went may end at a target."""
    return (LOST,) if target in SHUT_OUT else asked.differs.get(target, asked.allowed)


def story(stage: Stage) -> None:
    """Tell it."""
    tell(stage, partial(prepare, stage))


def prepare(stage: Stage, deployment: Deployment, disk: Disk) -> Beside:
    """Log in; return who issues the commands, and what is asked for once the LUN has gone."""
    sessions = Sessions(stage.machine, AT_FAULT, deployment.address, disk, stage.recorder)
    stage.must(sessions.login(SESSION, stage.ladder.step), f"no login: {sessions.nexus}")
    if stage.plan.device.siblings:  # of a new I_T nexus (SAM-6 5.14)
        for _ in range(2):
            ask(stage, sessions, [replace(OF_ANOTHER[0][0].command, allowed=("*",))])

    def issue(commands: Sequence[Command]) -> Sessions:
        sessions.issue(SESSION, [replace(each, allowed=(GOOD, LOST)) for each in commands])
        return sessions

    def gone() -> None:
        for asked in (*OF_ANOTHER, OF_THE_LUN) if stage.plan.device.siblings else (OF_THE_LUN,):
            ask(stage, sessions, [replace(each.command, allowed=allowed(stage.plan.target, each))
                                  for each in asked])
        there = sessions.nexus[SESSION]["action"] == "logged in"
        if stage.plan.target in SHUT_OUT:
            stage.expect("the session ends with the LUN", not there, str(sessions.nexus))
        else:
            stage.expect("the session stays", there, str(sessions.nexus))

    return Beside(issue, meanwhile=gone,
                  settle=partial(settle, stage, sessions))


def ask(stage: Stage, sessions: Sessions, commands: Sequence[Command]) -> None:
    """Issue commands at once, and see them end."""
    bound, before = stage.ladder.command, len(sessions.commands)
    sessions.issue(SESSION, commands)
    stage.must(sessions.wait_issued(before + len(commands), bound), "nothing was asked for")
    until(lambda: sessions.answers.keys() >= set(sessions.commands[before:]), bound)


def settle(stage: Stage, sessions: Sessions) -> None:
    """See all end."""
    sessions.wait_settled(stage.ladder.command)
