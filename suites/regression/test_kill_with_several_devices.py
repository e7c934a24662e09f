"""784044307 (2009): a race that can hang when a handler with several devices is killed under load.

Defect: a device was released by the process that closed it, and the release waited, with all of
SCST suspended, until no command was left on any device. A process that is killed closes its
descriptors one after another: the release of the first device waited for the commands of the
second, which had no backend any more and whose descriptor was not closed before the first release
had ended. The kernel thread scst_usr_released has released devices since.

Steps: a backend with two devices is killed while both have WRITEs held in EXEC.

Expected: all WRITEs end in time, both devices are released in bounded time, and the process ends.
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
    """A backend that is killed leaves no device behind, and no command without an end."""
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
