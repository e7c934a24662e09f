"""Steps of the scenarios whose fault is the target's daemon: its sessions, and login attempts."""

from __future__ import annotations

from fixtures.context import Lun, ScenarioContext
from fixtures.initiator.raw import scripted
from fixtures.program import Program
from fixtures.workload.pdus import LOGIN
from inject.daemon import DAEMONS, WITHOUT, Without

REFUSED_FOR = 1.0
"""Seconds for which a login attempt must get no answer."""

LASTS = {fault.name: fault.seconds for fault in DAEMONS}
"""Seconds for which a daemon does not run, by fault."""


def begin_login(ctx: ScenarioContext, lun: Lun) -> Program:
    """Begin to log in as another initiator."""
    return scripted.begin(ctx, lun.deployment.address)


def logged_in(attempt: Program, deadline: float) -> bool:
    """Wait for a login; return whether it is taken in ``deadline`` seconds."""
    return attempt.wait_event("ready", deadline)


def end_login(ctx: ScenarioContext, attempt: Program) -> bool:
    """Wait for a login, and end its session. Return whether it was taken."""
    taken = logged_in(attempt, LOGIN)
    if attempt.running:
        attempt.process.signal(9)
        attempt.process.wait(ctx.ladder.step)
    return taken


def expect_sessions(ctx: ScenarioContext, lun: Lun) -> None:
    """Expect of the sessions there are what the fault leaves of them (inject.daemon.WITHOUT)."""
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
