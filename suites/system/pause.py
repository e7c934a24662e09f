"""A pause of the machine by its host.

A machine's clock stands still with its CPUs: QEMU's ``stop`` stops the virtual clock that HPET and
kvmclock are made of. No timer in it can have run out meanwhile.
"""

from __future__ import annotations

import time

from fixtures.context import ScenarioContext


def pause(ctx: ScenarioContext, when: str) -> None:
    """Pause the machine for longer than every timer in it, and let it go on.

    ``when``: "before" the fault, or "meanwhile". What the clock advances is the time that it takes
    to stop the machine and to read its clock.
    """
    seconds = longest_timer(ctx)
    began = ctx.machine.now()
    ctx.note("paused", seconds=seconds, when=when)
    ctx.guest.pause()
    time.sleep(seconds)
    ctx.guest.resume()
    ctx.guest.connection.set_clock(ctx.ladder.silence)
    took = ctx.machine.now() - began
    ctx.expect("the machine's clock stands still while it is paused", took < seconds / 2,
               f"{took:.2f} s of {seconds:g} s passed")


def longest_timer(ctx: ScenarioContext) -> float:
    """Return more seconds than the hung-task detector waits, which has the longest timer of target,
    initiator and kernel."""
    return ctx.ladder.hung_task + ctx.ladder.command
