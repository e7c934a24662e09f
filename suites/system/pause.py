# SPDX-License-Identifier: GPL-2.0-or-later
"""Pauses of the machine by its host.

The machine's clock stops with its CPUs: QEMU's ``stop`` stops the virtual clock, the source of HPET
and kvmclock. No timer in the machine can expire during a pause.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext


def pause(ctx: ScenarioContext, when: str) -> None:
    """Pause the machine for longer than every timer in it; expect that its clock stops meanwhile.

    ``when``: the value to record: "before" the fault, or "meanwhile". The clock advances only while
    the machine is being stopped and its clock is being read.
    """
    seconds = longest_timer(ctx)
    began = ctx.machine.now()
    ctx.note("paused", seconds=seconds, when=when)
    ctx.guest.pause()
    ctx.sleep(seconds)
    ctx.guest.resume()
    ctx.guest.connection.set_clock(ctx.ladder.silence)
    took = ctx.machine.now() - began
    ctx.expect("the machine's clock stands still while it is paused", took < seconds / 2,
               f"{took:.2f} s of {seconds:g} s passed")


def longest_timer(ctx: ScenarioContext) -> float:
    """Return more seconds than the longest timer of target, initiator and kernel, which is the
    hung-task detector's."""
    return ctx.ladder.hung_task + ctx.ladder.command
