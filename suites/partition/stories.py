"""The stories of this suite: the network comes apart under I/O, alone and around a teardown."""

from __future__ import annotations

from fixtures.initiator.disk import Disk
from fixtures.initiator.openiscsi import OpenIscsi
from fixtures.network import Network
from fixtures.stage import Stage
from fixtures.stimulus import Stimulus
from fixtures.story import Beside, Load, beside_a_load, tell
from fixtures.workload.stamps import Stamps
from inject.partition import PARTITIONS, Partition
from targets.target import Deployment

AFTERWARDS = 20
"""Stamped writes to be acknowledged once the network has been joined: the load goes on."""


def partitioned(stage: Stage) -> None:
    """Cut the network under the load, and under what the backend holds; see both go on."""
    partition = PARTITIONS[stage.plan.partition or ""]
    network = Network(stage, partition)

    def hold(deployment: Deployment, disk: Disk) -> None:
        network.prepare()
        if stage.plan.point.count:
            Stimulus(stage, deployment, disk).arm()

    with beside_a_load(stage, hold) as (deployment, _, loads):
        try:
            network.cut()
            network.mend()
        finally:
            deployment.backend.release(stage.ladder.step)
        goes_on(stage, partition, loads)
        network.close()


def goes_on(stage: Stage, partition: Partition, loads: list[Load]) -> None:
    """See writes be acknowledged again: TCP, or the initiator, finds its way back."""
    assert isinstance(stage.initiator, OpenIscsi)
    bound = partition.patience + stage.initiator.timeouts.login + stage.ladder.command
    for stamps in [load for load in loads if isinstance(load, Stamps)]:
        stage.must(stamps.wait_written(stamps.written + AFTERWARDS, bound),
                   f"no write is acknowledged {bound:g} s after the network was joined again")


def torn_down(stage: Stage) -> None:
    """Take the device away while the network is cut: the usual story, cut off."""
    partition = PARTITIONS[stage.plan.partition or ""]

    network = Network(stage, partition)

    def prepare(_deployment: Deployment, _disk: Disk) -> Beside:
        network.prepare()
        return Beside(before=network.cut, settle=network.close)

    tell(stage, prepare)
