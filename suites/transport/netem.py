"""The stories of a network that is bad and does not come apart."""

from __future__ import annotations

from fixtures.initiator.disk import Disk
from fixtures.network import Disciplines
from fixtures.stage import Stage
from fixtures.stimulus import Stimulus
from fixtures.story import Beside, beside_a_load, tell
from fixtures.workload.stamps import Stamps
from inject.netem import NETEMS, Netem
from results.errors import MachineLostError
from targets.target import Deployment

THROUGH = 60
"""Stamped writes that are acknowledged while the network is bad."""

DROPS = 3
"""Packets that are lost at least, of a network that loses some."""


def disciplines(stage: Stage) -> Disciplines:
    """Return those of both machines, or of the only one."""
    machines = (stage.machine, stage.client) if stage.plan.apart else (stage.machine,)
    return Disciplines(machines, stage.ladder.step)


def treated(stage: Stage) -> None:
    """Have the network be bad while the load goes on, and something is held."""
    netem = NETEMS[stage.plan.fault]
    network = disciplines(stage)

    def hold(deployment: Deployment, disk: Disk) -> None:
        network.prepare()
        if stage.plan.point.count:
            Stimulus(stage, deployment, disk).arm()

    with beside_a_load(stage, hold) as (deployment, _, loads):
        network.set(netem.how)
        deployment.backend.release(stage.ladder.step)
        stamps = next(load for load in loads if isinstance(load, Stamps))
        bound = stage.ladder.scenario / 2
        stage.must(stamps.wait_written(stamps.written + THROUGH, bound),
                   f"no {THROUGH} writes are acknowledged in {bound:g} s")
        met(stage, network, netem)
        network.close()


def torn_down(stage: Stage) -> None:
    """Take the device away while the network is bad."""
    netem = NETEMS[stage.plan.netem or ""]
    network = disciplines(stage)

    def prepare(_deployment: Deployment, _disk: Disk) -> Beside:
        network.prepare()
        return Beside(before=lambda: network.set(netem.how), settle=network.close)

    tell(stage, prepare)


def met(stage: Stage, network: Disciplines, netem: Netem) -> None:
    """See that packets met it. Raises MachineLostError when none did: nothing was tried then."""
    seen = network.statistics()
    stage.note("netem", how=netem.how, seen=seen)
    if not all(each["packets"] for each in seen) or (
            netem.drops and sum(each["drops"] for each in seen) < DROPS):
        raise MachineLostError(f"the network was not {netem.how}: {seen}")
