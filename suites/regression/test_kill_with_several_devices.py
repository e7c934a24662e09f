# SPDX-License-Identifier: GPL-2.0-or-later
"""784044307 (2009): a race that can hang when a handler with several devices is killed under load.

Defect: the process that closed a device also released it, and the release waited, with all of SCST
suspended, until no device had a command. A killed process closes its descriptors one after another.
The release of the first device waited for the commands of the second, which had no backend any
more, and the second descriptor was closed only after the first release. Since the fix the kernel
thread scst_usr_released releases devices.

Steps: a backend with two devices is killed while it holds a WRITE of each in EXEC.

Expected: both WRITEs end in time, both devices are released in bounded time, and the process ends.
"""

from __future__ import annotations

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.backend_end import KILL
from inject.point import Point
from suites.regression.steps import (
    PAGE,
    Chain,
    arrange,
    hold_write,
    kill_backend,
    recover,
    wait_held,
)
from targets.target import Device, Transport

PLAN = Plan(KILL, Point(count=2),
            Arrangement(Transport.LOOPBACK, Device(siblings=(Device("stf1"),)), fio=None),
            variant="784044307")


def plans(selection: Selection) -> list[Plan]:
    """Return the plan, for a target whose backend speaks scst_user."""
    return [PLAN] if selection.traits.serves_scst_user else []


@scenarios(plans)
def test_both_devices_are_released(ctx: ScenarioContext) -> None:
    """All devices of a killed backend are released, and all their commands end."""
    family = arrange(ctx)
    chains = [Chain(ctx, [(disk, PAGE)]) for disk in family.disks]
    for device in ctx.plan.arrangement.device.family:
        hold_write(ctx, family, device.name)
    for chain in chains:
        chain.begin()
    wait_held(ctx, family, len(chains))
    kill_backend(ctx, family)
    for chain in chains:
        chain.wait(ctx.ladder.command)
    recover(ctx, family)
