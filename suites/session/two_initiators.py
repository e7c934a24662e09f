# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps of the scenarios in which one of two initiators ends commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from fixtures.context import Lun, ScenarioContext
from fixtures.initiators import Initiators, port
from fixtures.workload.commands import Command
from fixtures.workload.sessions import Sessions
from inject.nexus import UNANSWERED, Ends
from inject.outcomes import GOOD
from inject.task_management import LOST
from results.checkers.outcome import outcome

FIRST, SECOND, NEXT = "a", "b", "c"
"""Session names: the acting initiator, the other one, and the acting initiator's next session."""

READY = Command("TEST UNIT READY", "000000000000", allowed=(GOOD,))


class TwoInitiators:
    """Two logged-in initiators, each with its own port.

    ``ends``: the allowed outcomes of the commands of both. ``own``: the number of the plan's
    commands that the first initiator issues; the second one issues the rest.
    """

    def __init__(self, ctx: ScenarioContext, lun: Lun, ends: Ends, own: int) -> None:
        """Log both in. Raises TargetFailedError."""
        self.ctx, self.ends, self.own = ctx, ends, own
        self.initiators = Initiators(ctx, lun)
        for name in (FIRST, SECOND):
            self.initiators.login(name, **port(name))

    @property
    def sessions(self) -> Sessions:
        """The program that holds the sessions of both."""
        return self.initiators.sessions

    def issue(self, commands: Sequence[Command]) -> Sessions:
        """Issue the first initiator's commands, then the other's."""
        for name, some, allowed in ((FIRST, commands[:self.own], self.ends.own),
                                    (SECOND, commands[self.own:], self.ends.other)):
            self.sessions.issue(name, [
                replace(each, name=f"{name}: {each.name}", allowed=allowed,
                        clause=self.ends.clause) for each in some])
        return self.sessions

    def wait_other_answered(self) -> None:
        """Wait until the other initiator's commands have ended, where a response is required."""
        if UNANSWERED not in self.ends.other:
            self.sessions.wait_answered(SECOND, self.ctx.ladder.command)

    def wait_own_answered(self) -> None:
        """Wait until all functions have ended, and the first initiator's commands, where a response
        is required."""
        self.sessions.wait_responses(self.ctx.ladder.command)
        if UNANSWERED not in self.ends.own:
            self.sessions.wait_answered(FIRST, self.ctx.ladder.command)

    def expect_attention(self) -> None:
        """Expect one unit attention for the other initiator, or none, or the end of its session.

        Probe with TEST UNIT READY before and after the functions have their responses: the first
        probe also acknowledges the responses that the target has sent so far.
        """
        ctx, attention = self.ctx, self.ends.attention
        seen = [self.probe(SECOND)]
        self.sessions.wait_responses(ctx.ladder.command)
        seen += [self.probe(SECOND) for _ in range(2)]
        if attention == (LOST,):
            ctx.expect("the other initiator's session ends", seen[-1] == LOST, str(seen),
                       self.ends.clause)
            return
        wanted = [each for each in attention if each != GOOD]
        found = sum(fnmatchcase(each, pattern) for each in seen for pattern in wanted)
        ctx.expect("the other initiator gets one unit attention" if wanted else
                   "the other initiator gets no unit attention", found == bool(wanted), str(seen),
                   "SAM-5 5.14" if wanted else self.ends.clause)

    def probe(self, name: str) -> str:
        """Issue TEST UNIT READY on a session; return its outcome, or "nothing"."""
        ctx, sessions, bound = self.ctx, self.sessions, self.ctx.ladder.command
        before = len(sessions.issued.get(name, []))
        sessions.issue(name, [replace(
            READY, name=f"{name}: TEST UNIT READY", allowed=(GOOD, *self.ends.attention),
            clause=self.ends.clause)])
        ctx.must(ctx.wait_until(lambda: len(sessions.issued.get(name, [])) > before, bound),
                 "no TEST UNIT READY was issued")
        number = sessions.issued[name][-1]
        if not ctx.wait_until(lambda: number in sessions.answers, bound):
            return "nothing"
        return outcome(sessions.answers[number])

    def log_out(self) -> None:
        """Log out of all sessions, and wait until every command and function has ended."""
        bound = self.ctx.ladder.command
        for name in (FIRST, NEXT, SECOND):
            self.sessions.begin_logout(name, bound)
        self.sessions.wait_settled(bound)
