# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps of this suite: send single PDUs with a scripted initiator; check the target afterwards."""

from __future__ import annotations

from dataclasses import dataclass

from fixtures.context import ScenarioContext
from fixtures.initiator.raw import scripted
from fixtures.initiator.raw.session import OF_A_UNIT
from fixtures.program import EXIT, Program
from fixtures.workload.pdus import LOGIN
from suites.transport.reproducers import TARGET_NAME, Reproducer, Step
from targets.target import Address, Deployment


@dataclass(frozen=True)
class Sender:
    """A scripted initiator that sends PDUs one after the other. ``bound``: seconds for each PDU."""

    program: Program
    address: Address
    bound: float

    @property
    def sent(self) -> int:
        """Number of steps' PDUs sent so far."""
        return len(self.program.events_of("put"))

    @property
    def connected(self) -> bool:
        """Whether the connection is still open."""
        return not (self.program.events_of("lost") or self.program.events_of(EXIT))

    def wait_ready(self) -> bool:
        """Wait for the login; return whether it succeeded."""
        return self._wait("ready", 1, self.bound)

    def put(self, step: Step) -> bool:
        """Send a step's PDU and wait for its response, if any; return whether both succeeded."""
        pdu, count = step.pdu, self.sent + 1
        at = {"LUN": self.address.lun << 48} if pdu.op in OF_A_UNIT else {}
        self.program.order(
            do="put", op=int(pdu.op), fields={**at, **pdu.fields}, ahs=pdu.ahs.hex(),
            data=pdu.data.replace(TARGET_NAME, str(self.address.iqn).encode()).hex(),
            times=step.times, hang_up=step.hang_up)
        return self._wait("put", count, self.bound) and (
            step.until is None or self.receive(step.until, self.bound))

    def receive(self, op: int | None, seconds: float) -> bool:
        """Receive PDUs for some seconds, or until one with opcode ``op`` arrives.

        Return whether the connection is still open.
        """
        count = len(self.program.events_of("received")) + 1
        self.program.order(do="receive", seconds=seconds, op=op)
        return self._wait("received", count, self.bound + seconds)

    def hang_up(self, bound: float) -> None:
        """Kill the program if the connection is open; wait until the program has ended."""
        if self.connected:
            self.program.process.signal(9)
        self.program.process.wait(bound)

    def _wait(self, kind: str, count: int, bound: float) -> bool:
        self.program.wait(
            lambda: len(self.program.events_of(kind)) >= count or not self.connected, bound)
        return len(self.program.events_of(kind)) >= count and self.connected


def send(ctx: ScenarioContext, address: Address, reproducer: Reproducer) -> int:
    """Send a reproducer's PDUs once, in a new session; return the number of steps sent.

    The number is smaller than that of the steps if the target closes the connection or refuses the
    login.
    """
    program = scripted.begin(ctx, address, session=reproducer.session, keys=dict(reproducer.keys))
    sender = Sender(program, address, LOGIN + ctx.ladder.step)
    if sender.wait_ready() and all(sender.put(step) for step in reproducer.steps):
        sender.receive(None, reproducer.aftermath)
    sender.hang_up(ctx.ladder.step)
    return sender.sent


def must_accept_login(
    ctx: ScenarioContext, deployment: Deployment, seconds: float = 0.0,
) -> None:
    """Check that the target has its LUN, accepts a login, and keeps the session for some seconds.

    Raises TargetFailedError.
    """
    ctx.must(deployment.reachable(), "the target does not have its LUN any more")
    program = scripted.begin(ctx, deployment.address)
    program.wait_ready(LOGIN + ctx.ladder.step)
    sender = Sender(program, deployment.address, LOGIN)
    if seconds:
        ctx.must(sender.receive(None, seconds), "the target closed an idle session")
    sender.hang_up(ctx.ladder.step)
