# SPDX-License-Identifier: GPL-2.0-or-later
"""How do the commands of two initiators end when one of them ends its session, or ends commands?

The backend holds commands of both initiators. Each action happens alone; the end of a session also
races a teardown in both orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from fixtures.context import Lun, ScenarioContext
from fixtures.initiators import Functions, NexusEnd, port
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.steps import settled
from fixtures.workload.commands import Command, CommandJob
from fixtures.workload.sessions import NexusJob
from fixtures.workload.stamps import LIGHT
from inject import task_management
from inject.backend_end import KILL
from inject.fault import Fault
from inject.nexus import CHECK_CONDITION, DROP, ENDS_OF_NEXUS, LOGOUT, OUT_OF_RANGE, REINSTATE, ends
from inject.outcomes import GOOD
from inject.point import Point, State
from inject.release import Release
from inject.task_management import FUNCTIONS
from inject.traits import TargetTraits
from suites.session.two_initiators import FIRST, NEXT, TwoInitiators
from targets.target import Device

ALONE = Release()

GIVEN_UP = 30
"""The kernel's timeout for commands in a backend, where it has one, in seconds. It is longer than
the commands are held here."""

SEEN = 1.0
"""Seconds to watch for an event that must not occur yet."""

OVER = Command(f"{NEXT}: WRITE(10) of the same blocks", "2a000000400000002000", "write", 16 << 10,
               "a5")
STILL_OVER = Command(f"{NEXT}: VERIFY(10) of its WRITE", "2f020000400000002000", "write",
                     16 << 10, "a5", allowed=(GOOD,), clause="SBC-4 5.36: else MISCOMPARE")
"""``OVER``: the new session's WRITE to the blocks of the old session's held WRITE. Its data must
stay on the medium: ``STILL_OVER`` verifies them (BYTCHK 01b)."""

BEYOND = Command(f"{FIRST}: READ(16) beyond the end", "88000000000fffffffff000000010000", "read",
                 512, allowed=(OUT_OF_RANGE,), clause="SBC-4 5.16")


def plan(
    traits: TargetTraits, action: str, fault: Fault, order: str, options: Mapping[str, int],
) -> Plan:
    """Return the plan of one action and order.

    The first initiator has one held command, or two for CHECK_CONDITION; the second one has one.
    ``options``: of the device.
    """
    own = 2 if action == CHECK_CONDITION else 1
    given_up = traits.command_timeout(GIVEN_UP) if fault == ALONE else {}
    chosen = "".join(f"{name.replace('_', '-')}{value}-" for name, value in options.items())
    return Plan(fault, Point(State.EXEC, own + 1, None),
                Arrangement.stamped(LIGHT, device=Device(options={**options, **given_up})),
                CommandJob("write", own + 1),
                f"{chosen}{action.lower().replace('_', '-')}-{order}",
                arguments={"nexus": NexusJob(action, order, own, silent=order == "silent")})


# One initiator ends its session.


def session_ends(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each way to end a session: alone, before a teardown, and during one."""
    for action in ENDS_OF_NEXUS:
        yield plan(selection.traits, action, ALONE, "alone", {})
        for order in ("first", "second"):
            yield plan(selection.traits, action, KILL, order, {})


@scenarios(session_ends)
def test_end_of_a_session(ctx: ScenarioContext, nexus: NexusJob) -> None:
    """The commands of the session end with it; those of the other initiator do not."""
    expected = ends(ctx.traits, nexus.action, ctx.plan.arrangement.device.options, ctx.fault,
                    ctx.plan.point.state)
    lun = ctx.arrange(commands=(), clause=expected.clause)
    two = TwoInitiators(ctx, lun, expected, nexus.own)     # both logged in
    ctx.hold(lun, two.issue)                               # a WRITE of each
    ending = NexusEnd(two.initiators, FIRST, nexus.action, NEXT)
    with settled(ctx, lun, partial(see_session_end, ctx, two, ending)):
        if nexus.order == "second":
            with ctx.broken(lun):
                begin_session_end(two, ending)
        else:
            begin_session_end(two, ending)
            if nexus.action == REINSTATE:
                expect_nothing_written(two)
            ctx.break_device(lun)
    ctx.drain(lun)
    ctx.recover(lun)


def begin_session_end(two: TwoInitiators, ending: NexusEnd) -> None:
    """Begin to end the first session; write to the same blocks on a session that replaces it."""
    ending.begin()
    if ending.action == REINSTATE:
        two.sessions.issue(NEXT, [replace(OVER, allowed=two.ends.other, clause=two.ends.clause)])


def expect_nothing_written(two: TwoInitiators) -> None:
    """Expect that the new session writes nothing before the old session's tasks have ended.

    The login itself may succeed: SCST then answers TEST UNIT READY, and delays other commands
    (iscsi.c).
    """
    two.ctx.wait_until(lambda: two.sessions.answered(NEXT), SEEN)
    two.ctx.expect("a new session writes nothing while a command of the old one is held",
                   not two.sessions.answered(NEXT), str(dict(two.sessions.nexus)),
                   "RFC 7143 6.3.5")


def see_session_end(ctx: ScenarioContext, two: TwoInitiators, ending: NexusEnd) -> None:
    """Wait for the session's end; expect the other initiator unaffected, and new logins; log out.
    """
    bound, sessions = ctx.ladder.command, two.sessions
    ending.end()
    if ending.action == REINSTATE:
        ctx.expect("the new session's command ends",
                   ctx.wait_until(lambda: sessions.answered(NEXT), bound), clause="RFC 7143 6.3.5")
        if not ctx.fault.breaks:
            sessions.issue(NEXT, [STILL_OVER])
    two.wait_other_answered()
    if not ctx.fault.breaks:
        two.expect_attention()
    two.wait_own_answered()
    if not ctx.fault.breaks and ending.action in (LOGOUT, DROP):
        ctx.expect("the initiator whose session ended can log in again",
                   sessions.login(NEXT, bound, **port(FIRST)), str(sessions.nexus.get(NEXT)))
    two.log_out()


# One initiator ends commands: by a function, or by a CHECK CONDITION, depending on QErr.


def command_ends(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each function, and for a CHECK CONDITION, with each set of device options.
    """
    for options in selection.traits.nexus.option_sets:
        for action in concerned(options):
            yield plan(selection.traits, action, ALONE, "alone", options)


def concerned(options: Mapping[str, int]) -> tuple[str, ...]:
    """Return the actions whose effects depend on the options; without options, all actions."""
    if not options:
        return (*FUNCTIONS, CHECK_CONDITION)
    return (CHECK_CONDITION,) if "qerr" in options else ("CLEAR_TASK_SET", "LUN_RESET")


@scenarios(command_ends)
def test_commands_that_another_ends(ctx: ScenarioContext, nexus: NexusJob) -> None:
    """The commands in the scope of the action end, with a status or a unit attention."""
    lun, two = arrange_two(ctx, nexus)
    ctx.hold(lun, two.issue)                   # a WRITE of each, or two and one
    with settled(ctx, lun, partial(see_commands_end, two)):
        if nexus.action == CHECK_CONDITION:
            end_with_check_condition(two)
        else:
            function = Functions(two.initiators, FIRST, (nexus.action,))
            function.begin()
            ctx.wait_until(lambda: bool(two.sessions.responses), SEEN)
            function.expect_none_complete()
        ctx.break_device(lun)                  # the commands are released
    ctx.drain(lun)
    ctx.recover(lun)


def arrange_two(ctx: ScenarioContext, nexus: NexusJob) -> tuple[Lun, TwoInitiators]:
    """Arrange with the expectations for the action, and for its function; log in two initiators.
    """
    state = ctx.plan.point.state
    expected = ends(ctx.traits, nexus.action, ctx.plan.arrangement.device.options, ctx.fault, state)
    functions: dict[str, object] = {}
    if nexus.action in FUNCTIONS:
        found = task_management.expected((nexus.action,), ctx.traits, ctx.fault, state)
        ctx.expected = replace(ctx.expected, grace=max(ctx.expected.grace, found.grace))
        functions = {"functions": found.responses, "function_clause": found.function_clause}
    lun = ctx.arrange(ctx.expected, commands=(), clause=expected.clause, **functions)
    return lun, TwoInitiators(ctx, lun, expected, nexus.own)


def end_with_check_condition(two: TwoInitiators) -> None:
    """Make a command of the first initiator end with CHECK CONDITION while others are held.

    Raises TargetFailedError when the command does not end: it has nothing to wait for, and the
    commands that it ends by QErr are still held.
    """
    ctx, sessions = two.ctx, two.sessions
    sessions.issue(FIRST, [BEYOND])
    ctx.must(ctx.wait_until(lambda: len(sessions.issued.get(FIRST, [])) > two.own
                        and sessions.issued[FIRST][-1] in sessions.answers, ctx.ladder.step),
             "the command that is to end with CHECK CONDITION has not ended")


def see_commands_end(two: TwoInitiators) -> None:
    """Wait for the commands' ends, expect the unit attention of the other initiator, log out."""
    two.wait_other_answered()
    two.expect_attention()
    two.wait_own_answered()
    two.log_out()


# The other initiator sends nothing until the function has its response.


def silent(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for a reset while the other initiator acknowledges nothing."""
    yield plan(selection.traits, "LUN_RESET", ALONE, "silent", {})


@scenarios(silent)
def test_reset_beside_a_silent_initiator(ctx: ScenarioContext, nexus: NexusJob) -> None:
    """A reset gets its response though the other initiator does not acknowledge TASK ABORTED."""
    lun, two = arrange_two(ctx, nexus)
    ctx.hold(lun, two.issue)                   # a WRITE of each
    reset = Functions(two.initiators, FIRST, (nexus.action,))

    def see_end() -> None:
        two.wait_other_answered()
        reset.end()                            # it has its response, or the bound has passed
        two.expect_attention()
        two.wait_own_answered()
        two.log_out()

    with settled(ctx, lun, see_end):
        reset.begin()
        ctx.wait_until(lambda: bool(two.sessions.responses), SEEN)
        reset.expect_none_complete()
        ctx.break_device(lun)                  # the commands are released
    ctx.drain(lun)
    ctx.recover(lun)
