# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps of the scenarios with a fault of the target's daemon: sessions and login attempts."""

from __future__ import annotations

from fixtures.context import Lun, ScenarioContext
from fixtures.initiator.raw import scripted
from fixtures.program import Program
from fixtures.workload.pdus import LOGIN
from inject.daemon import DAEMONS, WITHOUT, Without

REFUSED_FOR = 1.0
"""Seconds during which a login attempt must not succeed."""

LASTS = {fault.name: fault.seconds for fault in DAEMONS}
"""By fault: the seconds during which the daemon does not run."""


def begin_login(ctx: ScenarioContext, lun: Lun) -> Program:
    """Begin a login of another initiator; return the program."""
    return scripted.begin(ctx, lun.deployment.address)


def logged_in(attempt: Program, deadline: float) -> bool:
    """Return whether a login attempt succeeds within ``deadline`` seconds."""
    return attempt.wait_event("ready", deadline)


def end_login(ctx: ScenarioContext, attempt: Program) -> bool:
    """Wait for a login attempt and end its session; return whether the login succeeded."""
    taken = logged_in(attempt, LOGIN)
    if attempt.running:
        attempt.process.signal(9)
        attempt.process.wait(ctx.ladder.step)
    return taken


def expect_sessions(ctx: ScenarioContext, lun: Lun) -> None:
    """Expect the state of the existing sessions while the daemon does not run.

    The state depends on the fault (inject.daemon.WITHOUT).
    """
    without = WITHOUT[ctx.fault.name]
    if without is Without.GONE:
        ctx.expect("the target has gone with its daemon", not lun.deployment.reachable())
        return
    since = ctx.machine.now() - LASTS[ctx.fault.name] / 2
    ended = sum(event.time >= since and event.data["error"] is None
                for event in ctx.recorder.history().select("block", "complete"))
    ctx.expect(f"while the daemon does not run I/O {without}",
               (ended > 0) == (without is Without.GOES_ON),
               f"{ended} I/Os ended in the latter half of it")
