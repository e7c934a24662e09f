"""The stories of this suite: the network comes apart under I/O, alone and around a teardown."""

from __future__ import annotations

import threading
from functools import partial

from fixtures.initiator.disk import Disk
from fixtures.initiator.openiscsi import OpenIscsi
from fixtures.network import Network
from fixtures.stage import Stage
from fixtures.stimulus import Stimulus
from fixtures.story import Beside, Load, beside_a_load, tell
from fixtures.workload.stamps import Stamps
from inject.partition import GIVES_UP, PARTITIONS, WAITS_FOR_THE_REST, Partition
from targets.target import ISCSI_PORT, Deployment

CONNECTIONS = "/proc/net/tcp"
ESTABLISHED = "01"
"""TCP_ESTABLISHED (include/net/tcp_states.h), as proc_pid_net(5) has it."""

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
            if partition.outlasts_target:
                network.last()
                given_up(stage)
            network.mend()
        finally:
            deployment.backend.release(stage.ladder.step)
        goes_on(stage, partition, loads)
        network.close()


def given_up(stage: Stage) -> None:
    """State whether the target still has a connection to an initiator that it hears nothing of."""
    text = stage.machine.read(CONNECTIONS)
    there = sum(local.endswith(f":{ISCSI_PORT:04X}") and state == ESTABLISHED
                for _, local, _, state, *_ in map(str.split, text.splitlines()[1:]))
    gives_up = GIVES_UP[stage.plan.target] is not None
    stage.expect("the target has given its connection up" if gives_up else
                 "the target keeps its connection", (there == 0) is gives_up,
                 f"{there} are established")


def goes_on(stage: Stage, partition: Partition, loads: list[Load]) -> None:
    """See writes be acknowledged again: TCP, or the initiator, finds its way back."""
    assert isinstance(stage.initiator, OpenIscsi)
    bound = partition.patience + stage.initiator.timeouts.login + stage.ladder.command
    for stamps in [load for load in loads if isinstance(load, Stamps)]:
        stage.must(stamps.wait_written(stamps.written + AFTERWARDS, bound),
                   f"no write is acknowledged {bound:g} s after the network was joined again")


def torn_down(stage: Stage) -> None:
    """Take the device away while the network is cut: the usual story, cut off.

    Of a WRITE a part may have got through. A target that waits for the rest has it when the network
    is joined, so that must not wait for the teardown; of the others the teardown has to end before.
    """
    partition = PARTITIONS[stage.plan.partition or ""]
    network = Network(stage, partition)

    gone = threading.Event()

    def prepare(deployment: Deployment, _disk: Disk) -> Beside:
        network.prepare()
        return Beside(before=partial(cut, deployment), meanwhile=gone.set, settle=network.close)

    def cut(deployment: Deployment) -> None:
        network.cut()
        if WAITS_FOR_THE_REST[stage.plan.target]:
            network.mend_meanwhile(lambda: gone.is_set() or deployment.removal_waits(),
                                   stage.ladder.step + stage.ladder.teardown)

    tell(stage, prepare)
