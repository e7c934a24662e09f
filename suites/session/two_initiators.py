"""Steps of the scenarios with two initiators, of which one ends commands of both or its own."""

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
from inject.waiting import wait_until
from results.checkers.outcome import outcome

FIRST, SECOND, NEXT = "a", "b", "c"
"""Sessions: of the initiator that acts, of the other one, and the first one's next."""

READY = Command("TEST UNIT READY", "000000000000", allowed=(GOOD,))


class TwoInitiators:
    """Two initiators that are logged in, each from a port of its own.

    ``ends``: how the commands of both may end. ``own``: how many of the plan's commands are the
    first one's; the others are the second one's.
    """

    def __init__(self, ctx: ScenarioContext, lun: Lun, ends: Ends, own: int) -> None:
        """Log both in. Raises TargetFailedError."""
        self.ctx, self.ends, self.own = ctx, ends, own
        self.initiators = Initiators(ctx, lun)
        for name in (FIRST, SECOND):
            self.initiators.login(name, **port(name))

    @property
    def sessions(self) -> Sessions:
        """The program that keeps their sessions."""
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
        """Wait until the other initiator's commands have ended, where they have to."""
        if UNANSWERED not in self.ends.other:
            self.sessions.wait_answered(SECOND, self.ctx.ladder.command)

    def wait_own_answered(self) -> None:
        """Wait until functions, and where they have to the first initiator's commands, have ended.
        """
        self.sessions.wait_responses(self.ctx.ladder.command)
        if UNANSWERED not in self.ends.own:
            self.sessions.wait_answered(FIRST, self.ctx.ladder.command)

    def expect_attention(self) -> None:
        """Expect that the other initiator gets one unit attention, if any, and GOOD after it.

        Probed before and after the functions have their responses: the first probe also
        acknowledges the responses that the target sent before.
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
                   "SAM-6 5.14" if wanted else self.ends.clause)

    def probe(self, name: str) -> str:
        """Issue TEST UNIT READY on a session; return its outcome, or "nothing"."""
        sessions, bound = self.sessions, self.ctx.ladder.command
        before = len(sessions.issued.get(name, []))
        sessions.issue(name, [replace(
            READY, name=f"{name}: TEST UNIT READY", allowed=(GOOD, *self.ends.attention),
            clause=self.ends.clause)])
        self.ctx.must(wait_until(lambda: len(sessions.issued.get(name, [])) > before, bound),
                      "no TEST UNIT READY was issued")
        number = sessions.issued[name][-1]
        if not wait_until(lambda: number in sessions.answers, bound):
            return "nothing"
        return outcome(sessions.answers[number])

    def log_out(self) -> None:
        """Log all out, and wait until everything has ended."""
        bound = self.ctx.ladder.command
        for name in (FIRST, NEXT, SECOND):
            self.sessions.begin_logout(name, bound)
        self.sessions.wait_settled(bound)
