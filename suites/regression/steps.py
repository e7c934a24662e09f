# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps shared by the scenarios of this suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from fixtures.context import ScenarioContext
from fixtures.initiator.disk import Disk
from fixtures.points import Held
from fixtures.watcher.trace import TraceWatcher
from fixtures.workload.commands import Commands
from inject.contract import Backend
from results.errors import TargetFailedError, WrongUsageError
from targets.target import Deployment, Device

PAGE = 4096
BIG = 64 << 10
"""Size in bytes of a write whose buffer SCST keeps in its pool afterwards."""

REGISTERED = "/sys/module/scst_user/refcnt"
"""The number of scst_user devices, as the module's reference count: a device is subtracted at the
end of its release."""

POOL: dict[str, str | int] = {"sgv_shared": 1, "sgv_name": "stf", "on_free_cmd_type": "IGNORE",
                              "memory_reuse_type": "ALL"}
SHARED_POOL = Device(options=POOL, siblings=(Device("stf1", options=POOL),))
"""Two devices of one backend that share an SGV pool."""

LENT_BUFFER_WATCHED = 2.0
"""Seconds during which a release must not end (``expect_not_released``). Without the fix it took
0.3 s. The initiator's command timer runs for twice as long (fixtures.initiator.openiscsi)."""


@dataclass(frozen=True)
class Family:
    """A deployed device and its siblings.

    ``disks``: in the order of the deployment's addresses. ``trace``: of all these disks.
    """

    deployment: Deployment
    disks: tuple[Disk, ...]
    trace: TraceWatcher

    @property
    def backend(self) -> Backend:
        """The devices' backend."""
        return self.deployment.backend

    @property
    def disk(self) -> Disk:
        """The first device's disk."""
        return self.disks[0]


def arrange(ctx: ScenarioContext) -> Family:
    """Deploy the arrangement's device with its siblings, log in to all, trace their disks.

    The fault is armed at the end. Raises TargetFailedError.
    """
    ctx.resources.baseline()
    deployment, first = ctx.deploy()
    disks = (first, *(login(ctx, deployment, number)
                      for number in range(1, len(deployment.addresses))))
    family = Family(deployment, disks, ctx.trace(*disks))
    ctx.phase("baseline")
    ctx.armed()
    return family


def login(ctx: ScenarioContext, deployment: Deployment, number: int) -> Disk:
    """Log in to address ``number`` of a deployment; record and return its disk."""
    disk = ctx.initiator.login(ctx.machine, deployment.addresses[number], ctx.ladder)
    ctx.announce(disk)
    return disk


def recover(ctx: ScenarioContext, family: Family) -> None:
    """Wait until no I/O is in flight; remove the devices, deploy again, verify, unload.

    Record the removal as the teardown if the fault has not broken the device. Raises
    TargetFailedError.
    """
    bound = ctx.ladder.command
    ctx.phase("drain")
    ctx.must(family.trace.wait(lambda ledger: ledger.in_flight == 0, bound),
             f"I/O is in flight {bound:g} s after the scenario's last step")
    family.trace.stop()
    for address in family.deployment.addresses[1:]:
        with suppress(TargetFailedError):
            ctx.initiator.logout(ctx.machine, address, ctx.ladder)
    ctx.remove(family.deployment, "remove" if ctx.fault.breaks else "teardown")
    ctx.recover()


def bring_command(ctx: ScenarioContext, family: Family) -> Commands:
    """Write to the disk, then bring the plan's command to its point; return the command."""
    write_all(ctx, (family.disk, BIG))
    point, bound = ctx.plan.point, ctx.ladder.step
    assert point.state.held_at is not None
    held = Held(ctx, family.deployment, family.disk, None)
    held.prepare()
    family.backend.hold(point.state.held_at, point.count, deadline=bound, **held.which())
    held.cause()
    ctx.must(family.backend.wait_held(point.count, bound),
             f"{point.count} commands were not held in {point.state} within {bound:g} s")
    held.complete()
    (commands,) = held.commands
    assert isinstance(commands, Commands)
    return commands


def release_and_end(ctx: ScenarioContext, family: Family, commands: Commands) -> None:
    """Release all held commands, wait for their ends, and record the fault as undone."""
    bound = ctx.ladder.step
    family.backend.release(bound)
    ctx.must(commands.wait(bound) is not None, "the command does not end")
    ctx.undone()


class Chain:
    """Writes in the guest, each begun as soon as the previous one has ended."""

    def __init__(
        self, ctx: ScenarioContext, writes: Sequence[tuple[Disk, int]], stops: bool = False,
    ) -> None:
        """Start the program.

        ``writes``: disk and size in bytes of each write, which begins at the disk's first byte.
        ``stops``: each write waits for its own ``begin``.
        """
        self._count = len(writes)
        self._program = ctx.program("chain", "fixtures.workload.chain_guest", {
            "writes": [(disk.path, 0, length) for disk, length in writes], "stops": stops})
        self._program.wait_ready(ctx.ladder.step)

    def begin(self) -> None:
        """Begin the first write, or the next one if ``stops``."""
        self._program.order(go=True)

    def ended(self, count: int) -> bool:
        """Return whether ``count`` writes have ended."""
        return len(self._program.events_of("wrote")) >= count

    def wait(self, deadline: float, count: int | None = None) -> list[str | None]:
        """Wait until all writes, or the first ``count``, have ended; return their errors.

        An error is an errno's name, or None for a successful write. Raises TargetFailedError when
        the writes do not end within ``deadline`` seconds.
        """
        wanted = self._count if count is None else count
        if not self._program.wait(lambda: self.ended(wanted), deadline):
            raise TargetFailedError(
                f"{len(self._program.events_of('wrote'))} of {wanted} writes ended in "
                f"{deadline:g} s")
        return [message["error"] for message in self._program.events_of("wrote")]


def write_all(ctx: ScenarioContext, *writes: tuple[Disk, int]) -> None:
    """Write to healthy devices. Raises TargetFailedError when a write fails."""
    chain = Chain(ctx, writes)
    chain.begin()
    errors = chain.wait(ctx.ladder.step)
    ctx.must(not any(errors), f"writes to a healthy device failed: {errors}")


def hold_write(ctx: ScenarioContext, family: Family, device: str) -> None:
    """Request the backend to hold the next WRITE to a device in EXEC."""
    family.backend.call("hold", deadline=ctx.ladder.step, device=device, point="EXEC",
                        count=1, direction="write")


def wait_held(ctx: ScenarioContext, family: Family, count: int) -> None:
    """Wait until the backend holds ``count`` commands in total. Raises TargetFailedError."""
    ctx.must(family.backend.wait_held(count, ctx.ladder.step),
             f"{count} commands were not held within {ctx.ladder.step:g} s")


def must_come(
    ctx: ScenarioContext, condition: Callable[[], bool], deadline: float, otherwise: str,
) -> None:
    """Wait until a condition holds. Raises TargetFailedError after ``deadline`` seconds."""
    ctx.must(ctx.wait_until(condition, deadline), f"{otherwise} within {deadline:g} s")


def registered(ctx: ScenarioContext) -> int:
    """Return the number of scst_user devices that the kernel has."""
    return int(ctx.machine.read(REGISTERED))


# A command of the second device that uses a buffer of the first one.


def lend_buffer(ctx: ScenarioContext, family: Family) -> Chain:
    """Hold a WRITE to the second device that uses a buffer of the first one; return the WRITE.

    A WRITE to the first device leaves its buffer, and with it its command, in the shared pool. The
    WRITE to the second device takes that buffer. Raises WrongUsageError when the pool provides
    another buffer.
    """
    first, second = family.disks
    family.backend.call("flush_cache", deadline=ctx.ladder.step)
    write_all(ctx, (first, BIG))
    sibling = ctx.plan.arrangement.device.siblings[0].name
    hold_write(ctx, family, sibling)
    began = ctx.machine.now()
    chain = Chain(ctx, [(second, BIG)])
    chain.begin()
    wait_held(ctx, family, 1)
    for event in ctx.recorder.history().select("backend", "step"):
        if (event.time >= began and event.data["point"] == "ALLOC_MEM"
                and event.data["device"] == sibling and event.data["direction"] == "write"):
            raise WrongUsageError("the pool gave the second device a buffer of its own")
    return chain


def close_device(ctx: ScenarioContext, family: Family) -> None:
    """Request the backend to close the first device; return before its release has ended."""
    family.backend.call(
        "close", deadline=ctx.ladder.step, device=ctx.plan.arrangement.device.name)


def expect_not_released(ctx: ScenarioContext, before: int) -> None:
    """Expect that no device is released for ``LENT_BUFFER_WATCHED`` seconds.

    ``before``: number of registered devices at the beginning.
    """
    early = ctx.wait_until(lambda: registered(ctx) < before, LENT_BUFFER_WATCHED)
    ctx.expect("a device is not released while its buffer is in use", not early,
               "it was released with a command in its table")


def kill_backend(ctx: ScenarioContext, family: Family) -> None:
    """Kill the backend and wait until the kernel has released all devices, as the teardown."""
    ctx.phase("fault")
    ctx.fired()
    with ctx.operation("teardown"):
        family.backend.kill()
        ctx.phase("teardown")
        must_come(ctx, lambda: registered(ctx) == 0, ctx.ladder.teardown,
                  "the kernel did not let go of the devices")
        family.backend.process.wait(ctx.ladder.step)
    ctx.undone()
