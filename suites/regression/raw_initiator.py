# SPDX-License-Identifier: GPL-2.0-or-later
"""A scripted initiator, driven from the host, which receives and sends data only on request."""

from __future__ import annotations

from collections.abc import Sequence

from fixtures.context import ScenarioContext
from fixtures.initiator.raw import scripted
from fixtures.initiator.raw.generate import NAME
from results.errors import TargetFailedError
from suites.regression.steps import must_come
from targets.scst.sysfs import TARGETS
from targets.target import Deployment

CONNECTIONS = "/proc/net/tcp"
PORT = 3260

TEST_UNIT_READY = "000000000000"
UNIT_ATTENTIONS = 4
"""At most this many commands of a new session end with a unit attention."""


class RawInitiator:
    """A session to a deployment's LUN 0."""

    def __init__(self, ctx: ScenarioContext, deployment: Deployment) -> None:
        self._ctx = ctx
        self._tag = 0
        iqn = deployment.address.iqn
        ctx.machine.write(scripted.SOCKET_BUFFERS, scripted.SMALL)
        self._program = scripted.begin(ctx, deployment.address)
        self._program.wait_ready(ctx.ladder.step)
        self.session = next(
            f"{TARGETS}/iscsi/{iqn}/sessions/{name}"
            for name in ctx.machine.listdir(f"{TARGETS}/iscsi/{iqn}/sessions")
            if name.startswith(NAME))
        self._get_ready()

    def _get_ready(self) -> None:
        for _ in range(UNIT_ATTENTIONS):
            if self.finish([self.send(TEST_UNIT_READY)], self._ctx.ladder.step) == [0]:
                return
        raise TargetFailedError("the unit does not become ready for a new session")

    def send(self, cdb: str, length: int = 0, direction: str = "none") -> int:
        """Send a command; return its tag after it has been sent.

        ``length``: expected data transfer length in bytes. Wait for the sending, since the agent
        may deliver requests out of order. Raises TargetFailedError.
        """
        self._tag += 1
        self._program.order(do="send", tag=self._tag, cdb=cdb, bytes=length, direction=direction)
        step = self._ctx.ladder.step
        self._ctx.must(self._program.wait(lambda: self._sent(self._tag), step),
                       f"the initiator could not send a command in {step:g} s")
        return self._tag

    def _sent(self, tag: int) -> bool:
        return any(message["tag"] == tag for message in self._program.events_of("sent"))

    def active(self) -> int:
        """Return the number of the session's commands that are active at the target."""
        return int(self._ctx.machine.read(f"{self.session}/active_commands").split()[0])

    def jammed(self) -> bool:
        """Return whether the target's socket holds unsent data (/proc/net/tcp, tx_queue)."""
        rows = [line.split() for line in self._ctx.machine.read(CONNECTIONS).splitlines()[1:]]
        return any(row[1].endswith(f":{PORT:04X}") and int(row[4].split(":")[0], 16)
                   for row in rows)

    def wait_active(self, count: int) -> None:
        """Wait until ``count`` commands of the session are active. Raises TargetFailedError."""
        must_come(self._ctx, lambda: self.active() == count, self._ctx.ladder.step,
                  f"the target did not have {count} commands")

    def finish(self, tags: Sequence[int], deadline: float) -> list[int]:
        """Receive PDUs and send data until the commands have ended; return their status values.

        Raises TargetFailedError when they do not end within ``deadline`` seconds.
        """
        self._program.order(do="read", until=list(tags))
        if not self._program.wait(lambda: self._ended(tags), deadline) \
                or len(self._status(tags)) < len(tags):
            lost = [message["why"] for message in self._program.events_of("lost")]
            raise TargetFailedError(
                f"{len(self._status(tags))} of {len(tags)} commands ended in {deadline:g} s"
                + (f": {lost[0]}" if lost else ""))
        return self._status(tags)

    def _ended(self, tags: Sequence[int]) -> bool:
        return len(self._status(tags)) == len(tags) or bool(self._program.events_of("exit"))

    def _status(self, tags: Sequence[int]) -> list[int]:
        return [int(message["status"]) for message in self._program.events_of("response")
                if message["tag"] in tags]

    def hang_up(self) -> None:
        """End the session by killing the program."""
        self._program.process.signal(9)
        self._program.process.wait(self._ctx.ladder.step)
        must_come(self._ctx, lambda: not self._ctx.machine.exists(self.session),
                  self._ctx.ladder.teardown, "the session of an initiator that hung up stays")
