"""What the stories of this suite have in common: how they begin, what they write, how they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress

from fixtures.initiator.disk import Disk
from fixtures.stage import Stage
from fixtures.stimulus import Stimulus
from fixtures.watcher.trace import TraceWatcher
from fixtures.workload.commands import Commands
from results.errors import TargetFailedError
from targets.target import Deployment
from targets.waiting import wait_until

PAGE = 4096
BIG = 64 << 10
"""Bytes of a write whose buffer SCST keeps in its pool afterwards."""

REGISTERED = "/sys/module/scst_user/refcnt"
"""Counts scst_user's devices; one is taken off at the very end of its release."""


def deploy_family(stage: Stage) -> tuple[Deployment, list[Disk]]:
    """Deploy the plan's device with its siblings; return the disks in their order."""
    deployment, first = stage.deploy()
    return deployment, [first, *(log_in(stage, deployment, number)
                                 for number in range(1, len(deployment.addresses)))]


def log_in(stage: Stage, deployment: Deployment, number: int) -> Disk:
    """Log in to one more of a deployment's addresses, and announce the disk."""
    disk = stage.initiator.login(stage.machine, deployment.addresses[number], stage.ladder)
    stage.announce(disk)
    return disk


@contextmanager
def on_stage(
    stage: Stage, removal: str = "remove",
) -> Iterator[tuple[Deployment, list[Disk], TraceWatcher]]:
    """Deploy and trace; afterwards remove all, deploy again, verify, unload.

    ``removal``: the name of that operation: "teardown" if the device is alive until then.
    """
    stage.resources.baseline()
    deployment, disks = deploy_family(stage)
    with stage.traced(*disks) as trace:
        stage.phase("baseline")
        stage.armed()
        yield deployment, disks, trace
        stage.phase("drain")
        stage.must(trace.wait(lambda ledger: ledger.in_flight == 0, stage.ladder.command),
                   f"I/O is in flight {stage.ladder.command:g} s after all was over")
    for address in deployment.addresses[1:]:
        with suppress(TargetFailedError):
            stage.initiator.logout(stage.machine, address, stage.ladder)
    stage.remove(deployment, removal)
    stage.recover()


def in_the_open(
    stage: Stage,
) -> AbstractContextManager[tuple[Deployment, list[Disk], TraceWatcher]]:
    """As ``on_stage``, for what leaves the device alive: its removal is the teardown."""
    return on_stage(stage, "teardown")


def one_command(stage: Stage, deployment: Deployment, disk: Disk) -> Commands:
    """Bring the plan's commands to its point, on a disk that has been written to; return them."""
    write_all(stage, (disk, BIG))
    stimulus = Stimulus(stage, deployment, disk)
    stimulus.arm()
    (commands,) = stimulus.commands
    assert isinstance(commands, Commands)
    return commands


def release_and_end(stage: Stage, deployment: Deployment, commands: Commands) -> None:
    """Have the backend let go of everything, and see the commands end: the fault is over."""
    bound = stage.ladder.step
    deployment.backend.release(bound)
    stage.must(commands.wait(bound) is not None, "the command does not end")
    stage.undone()


class Chain:
    """Writes in the guest, each begun the moment the one before it has ended."""

    def __init__(
        self, stage: Stage, writes: Sequence[tuple[Disk, int]], stops: bool = False,
    ) -> None:
        """``writes``: disk and bytes of each, from the disk's beginning. ``stops``: each waits for
        a ``begin`` of its own."""
        self._stage = stage
        self._count = len(writes)
        self._program = stage.program("chain", "fixtures.workload.chain", {
            "writes": [(disk.path, 0, length) for disk, length in writes], "stops": stops})
        self._program.wait_ready(stage.ladder.step)

    def begin(self) -> None:
        """Begin the first, or, if it stops, the next."""
        self._program.order(go=True)

    def ended(self, count: int) -> bool:
        """Tell whether as many have ended."""
        return len(self._program.told("wrote")) >= count

    def wait(self, deadline: float, count: int | None = None) -> list[str | None]:
        """Wait for the ends of all, or of the first ``count``; return how each ended (an errno's
        name or None). Raises TargetFailedError when they do not end."""
        wanted = self._count if count is None else count
        if not self._program.wait(lambda: self.ended(wanted), deadline):
            raise TargetFailedError(
                f"{len(self._program.told('wrote'))} of {wanted} writes ended in {deadline:g} s")
        return [message["error"] for message in self._program.told("wrote")]


def write_all(stage: Stage, *writes: tuple[Disk, int]) -> None:
    """Write, and see that all went well. Raises TargetFailedError."""
    chain = Chain(stage, writes)
    chain.begin()
    errors = chain.wait(stage.ladder.step)
    stage.must(not any(errors), f"writes to a healthy device failed: {errors}")


def hold_write(stage: Stage, deployment: Deployment, device: str, count: int = 1) -> None:
    """Have the backend hold a device's next WRITEs in EXEC."""
    deployment.backend.call("hold", deadline=stage.ladder.step, device=device, point="EXEC",
                            count=count, direction="write")


def wait_held(stage: Stage, deployment: Deployment, count: int) -> None:
    """Wait until as many commands are held in all. Raises TargetFailedError."""
    stage.must(deployment.backend.wait_held(count, stage.ladder.step),
               f"{count} commands were not held within {stage.ladder.step:g} s")


def must_come(stage: Stage, condition: Callable[[], bool], deadline: float, otherwise: str) -> None:
    """Wait until something is so. Raises TargetFailedError when it is not in time."""
    stage.must(wait_until(condition, deadline), f"{otherwise} within {deadline:g} s")


def registered(stage: Stage) -> int:
    """Return how many scst_user devices the kernel has."""
    return int(stage.machine.read(REGISTERED))
