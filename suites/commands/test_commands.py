# SPDX-License-Identifier: GPL-2.0-or-later
"""How does a target end unusual commands: CDBs of all lengths, unknown ones, wrong transfers?

An initiator issues unusual commands one after the other, during another initiator's load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial

from fixtures.context import Lun, ScenarioContext
from fixtures.initiator.raw import scripted
from fixtures.initiators import Initiators
from fixtures.program import Program
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.commands import Command
from fixtures.workload.pdus import LOGIN
from fixtures.workload.stamps import LIGHT
from inject.point import NOTHING_HELD
from inject.wire import COMMANDS
from suites.commands.cases import (
    ACA,
    BYTES,
    EXTENDED,
    EXTENDED_OUTCOMES,
    FIXED,
    NOTHING,
    commands,
    sweep,
)
from targets.target import Device

SESSION = "a"

SHORT = 100
"""Offset from a command's tag to the tag of the short command that follows it."""

NEW_NEXUS = range(2 * SHORT, 2 * SHORT + 2)
"""Tags of commands that receive the unit attentions of a new I_T nexus (SAM-5 5.14)."""

READY = "000000000000"
ENDED = ("scsi response status 0x00",)


def only(variant: str) -> Callable[[Selection], Iterator[Plan]]:
    """Return a function that yields one plan, with this variant."""
    def plans(selection: Selection) -> Iterator[Plan]:
        device = Device(options=selection.traits.commands.options)
        yield Plan(COMMANDS, NOTHING_HELD, Arrangement.stamped(LIGHT, device=device),
                   variant=variant)

    return plans


@scenarios(only("fixed"))
def test_chosen_commands(ctx: ScenarioContext) -> None:
    """Each command of a fixed list ends with an allowed outcome."""
    lun = ctx.arrange()
    with ctx.broken(lun):
        issue_each(ctx, lun, commands(FIXED, ctx.traits.commands))
    ctx.drain(lun)
    ctx.recover(lun)


@scenarios(only("drawn"))
def test_drawn_commands(ctx: ScenarioContext) -> None:
    """Each command of a sweep ends with an allowed outcome. A seed always draws the same commands.
    """
    drawn = tuple(sweep(ctx.scenario.seed or 0))
    lun = ctx.arrange()
    with ctx.broken(lun):
        issue_each(ctx, lun, commands(drawn, ctx.traits.commands))
    ctx.drain(lun)
    ctx.recover(lun)


@scenarios(only("empty"))
def test_allocation_length_of_nothing(ctx: ScenarioContext) -> None:
    """A command whose allocation length is 0 ends with GOOD, without data."""
    lun = ctx.arrange()
    with ctx.broken(lun):
        issue_each(ctx, lun, commands(NOTHING, ctx.traits.commands))
    ctx.drain(lun)
    ctx.recover(lun)


@scenarios(only("aca"))
def test_verify_during_aca(ctx: ScenarioContext) -> None:
    """A VERIFY ends during an ACA condition, where the target supports ACA."""
    lun = ctx.arrange()
    with ctx.broken(lun):
        issue_each(ctx, lun, commands(ACA, ctx.traits.commands))
    ctx.drain(lun)
    ctx.recover(lun)


@scenarios(only("extended"))
def test_extended_cdbs(ctx: ScenarioContext) -> None:
    """CDBs of 32 bytes, and a short CDB after each, end with allowed outcomes.

    Sent by the scripted initiator: libiscsi does not support them.
    """
    lun = ctx.arrange()
    with ctx.broken(lun):
        program = scripted.begin(ctx, lun.deployment.address)
        program.wait_ready(LOGIN + ctx.ladder.step)
        for tag in NEW_NEXUS:
            program.order(do="send", tag=tag, cdb=READY, bytes=0, direction="none")
            program.order(do="read", until=[tag])
        for tag, (name, cdb, direction) in enumerate(EXTENDED, 1):
            program.order(do="send", tag=tag, cdb=cdb, bytes=BYTES, direction=direction)
            program.order(do="send", tag=tag + SHORT, cdb=READY, bytes=0, direction="none")
            program.order(do="read", until=[tag, tag + SHORT])
            expect_response(ctx, program, tag, name, outcomes=EXTENDED_OUTCOMES,
                            clause="RFC 7143 11.2.2.3, 11.17.1")
            expect_response(ctx, program, tag + SHORT, f"TEST UNIT READY behind {name}",
                            outcomes=ENDED)
        program.process.signal(9)
        program.process.wait(ctx.ladder.step)
    ctx.drain(lun)
    ctx.recover(lun)


def expect_response(
    ctx: ScenarioContext, program: Program, tag: int, name: str, *, outcomes: Sequence[str],
    clause: str = "",
) -> None:
    """Expect that a command ends with one of the outcomes, within a command's bound."""
    program.wait(lambda: bool(response(program, tag)), ctx.ladder.command)
    words = response(program, tag)
    ctx.expect(f"{name} ends with an allowed outcome",
               any(fnmatchcase(words, each) for each in outcomes), words, clause)


def response(program: Program, tag: int) -> str:
    """Return the text of a command's response; "" if there is none yet."""
    return next((str(each["words"]) for each in program.events_of("response")
                 if each["tag"] == tag), "")


def issue_each(ctx: ScenarioContext, lun: Lun, listed: Sequence[Command]) -> None:
    """Issue each command after the previous one has ended; then end the sessions.

    If a command ends the session, or does not end within its bound, the next command is issued on a
    new session.
    """
    initiators = Initiators(ctx, lun)
    sessions, bound = initiators.sessions, ctx.ladder.command
    for each in listed:
        if sessions.nexus.get(SESSION, {}).get("action") != "logged in":
            initiators.login(SESSION)
        before = len(sessions.commands)
        sessions.issue(SESSION, [each])
        ctx.must(sessions.wait_issued(before + 1, bound), "nothing was issued")
        if not ctx.wait_until(partial(sessions.answers.__contains__, sessions.commands[-1]), bound):
            sessions.drop(SESSION)
            sessions.wait_nexus(SESSION, "dropped", bound)
    initiators.end()
