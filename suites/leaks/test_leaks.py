# SPDX-License-Identifier: GPL-2.0-or-later
"""Does anything stay behind, cycle after cycle, in one guest that is not restored in between?

A cycle deploys a device, logs in, drives I/O, holds WRITEs, breaks the device, and removes it.
After each one the memory, objects, references, descriptors and threads in use are counted
(fixtures.watcher.usage_guest), and results.checkers.leaks judges their growth a cycle. So one page,
one object or one descriptor that is lost in each cycle is found.
"""

from __future__ import annotations

from collections.abc import Iterator

from fixtures.context import Lun, ScenarioContext
from fixtures.loads import end_loads
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.watcher.usage import watched
from fixtures.workload.commands import CommandJob, Commands
from inject.catalogue import MECHANISMS
from inject.fault import Fault
from inject.release import Release
from inject.traits import TargetTraits
from results.checkers.leaks import LEAST_CYCLES, WARM_UP
from results.errors import WrongUsageError
from targets.target import Transport

WRITES = CommandJob("write", 4)
"""The commands that are held in each cycle."""

DRIVEN = ("write", "read", "large-write", "large-read", "none")
"""The kinds of commands that are driven before (fixtures.workload.commands.KINDS): none stays at a
point, so each takes the whole way through target and backend."""

EACH = 4
"""Driven commands of each kind."""

CHOSEN = frozenset({
    "release", "backend-close", "backend-kill", "backend-unregister", "lun-remove", "lun-delete",
    "lun-replace", "target-disable", "session-close", "backstore-delete"})
"""The control, and mechanisms that end different things: descriptor, process, registration, LUN,
target, session, backstore. The others, which --full adds, take the same paths with small
differences."""

ELSEWHERE = frozenset({
    "backend-stop", "backend-stop-long", "lun-delete-while-device-goes", "memory-pressure",
    "module-unload-handler", "module-unload-driver", "module-unload-core"})
"""Mechanisms without a cycle of their own here: a stop adds seconds but no path; the second LUN of
lun-delete-while-device-goes is another suite's; memory-pressure moves pages by itself; an unload
that is refused changes nothing."""


def mechanisms(traits: TargetTraits, transport: Transport, *, full: bool) -> Iterator[Fault]:
    """Yield the mechanisms that apply to the target's backend: the chosen ones, or all."""
    for fault in (Release(), *MECHANISMS):
        wanted = fault.name not in ELSEWHERE if full else fault.name in CHOSEN
        if wanted and fault.needs.met(traits, traits.backend, transport):
            yield fault


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each mechanism, over the target's first transport."""
    if selection.cycles < LEAST_CYCLES:
        raise WrongUsageError(
            f"--cycles takes a number from {LEAST_CYCLES}, not {selection.cycles}")
    for fault in mechanisms(selection.traits, Transport.ISCSI, full=selection.full):
        yield Plan(fault, arrangement=Arrangement(fio=None), commands=WRITES, variant="leaks",
                   arguments={"cycles": selection.cycles})


@scenarios(plans)
def test_cycles(ctx: ScenarioContext, cycles: int) -> None:
    """After some cycles, no count of what is in use grows from one cycle to the next.

    The first reading of the places of allocation allocates by itself: it is not judged.
    """
    ctx.resources.baseline()
    ctx.armed()
    with watched(ctx.machine, ctx.recorder, ctx.ladder.silence) as usage:
        for number in range(1, cycles + 1):
            ctx.note("round", number=number)
            cycle(ctx)
            usage.sample(number, sites=number in (1, WARM_UP, cycles))
    ctx.recover(traced=True)


def cycle(ctx: ScenarioContext) -> None:
    """Deploy, log in, drive, hold, break, undo, remove. Raises TargetFailedError."""
    deployment, disk = ctx.deploy()
    lun = Lun(deployment, disk)
    drive(ctx, lun)
    ctx.hold(lun)
    ctx.break_device(lun)
    ended = end_loads(lun.loads, ctx.ladder.command + ctx.grace)
    if lun.held:
        lun.held.settle()
    ctx.must(ended, "the commands do not come back")
    ctx.clean_up(deployment)


def drive(ctx: ScenarioContext, lun: Lun) -> None:
    """Issue commands of each kind at once, and wait for their ends. Raises TargetFailedError."""
    block_size, bound = ctx.plan.arrangement.device.block_size, ctx.ladder.step
    commands = [each for kind in DRIVEN for each in CommandJob(kind, EACH).commands(block_size)]
    driven = Commands(ctx.client, "driven", commands, lun.disk, ctx.recorder)
    ctx.must(driven.wait(bound) is not None,
             f"{len(commands)} driven commands have not ended in {bound:g} s")
