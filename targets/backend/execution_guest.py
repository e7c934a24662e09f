# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in a backend that has one point, EXEC: received, and not answered yet.

Runs in the guest; stdlib only. The type of a command (``what``) is the backend's own; this module
holds it or lets it through (targets.backend.control_guest), and has it carried out correctly or
wrongly (targets.backend.misbehaviour_guest).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from targets.backend.calibration_guest import Calibration
from targets.backend.control_guest import Channel, Holds
from targets.backend.disk import Access, RamDisk
from targets.backend.misbehaviour_guest import How, Misbehaviour, Misbehaviours

POINT = "EXEC"

What = TypeVar("What")


class Task(NamedTuple, Generic[What]):
    """A command in progress: the kernel's command, the disk's access, the data of its events.

    ``since``: time of receipt, in seconds of the monotonic clock.
    """

    handle: int
    what: What
    access: Access | None
    facts: dict[str, Any]
    since: float


class Execution(Generic[What]):
    """The commands received. ``carry_out``: carries one out, and answers it."""

    def __init__(
        self, channel: Channel, disk: RamDisk,
        carry_out: Callable[[Task[What], Misbehaviour | None], None],
    ) -> None:
        self.misbehaviours = Misbehaviours(channel, disk)
        self._channel = channel
        self._carry_out = carry_out
        self._holds = Holds(channel)
        self._held: dict[int, Task[What]] = {}
        self._dropped: list[Task[What]] = []
        self._handles = itertools.count(1)
        self._calibration = Calibration()
        self.orders: dict[str, Callable[..., Any]] = {
            "hold": self._holds.order, "misbehave": self.misbehaviours.order,
            "behave": self.misbehaviours.stop}
        """Handlers of all orders except ``release``, after which a backend may have more to do."""

    @property
    def held(self) -> Mapping[int, Task[What]]:
        """The commands that are held, by their handles."""
        return self._held

    def receive(
        self, what: What, access: Access | None, *, opcode: int, direction: str, lba: int | None,
        length: int,
    ) -> None:
        """Accept a command: hold it, or carry it out. ``length`` of its data in bytes."""
        handle = next(self._handles)
        facts: dict[str, Any] = {"direction": direction, "lba": lba, "bytes": length,
                                 "handle": handle, "opcode": int(opcode)}
        self.step("received", facts, **self._calibration.sample())
        task = Task(handle, what, access, facts, time.monotonic())
        if self._holds.takes(POINT, handle, opcode, direction, lba=lba):
            self._held[handle] = task
            self.step("held", facts)
        else:
            self._execute(task)

    def step(self, action: str, facts: Mapping[str, Any], **more: Any) -> None:
        """Emit an event for a step in a command's life."""
        self._channel.emit("step", point=POINT, action=action, **more, **facts)

    def _execute(self, task: Task[What]) -> None:
        order = None
        if self.misbehaviours.armed:
            order = self.misbehaviours.pick(task.handle, task.facts["opcode"], task.access)
        if order is not None and order.how is How.DROP:
            self._dropped.append(task)
        else:
            self._carry_out(task, order)

    def release(self) -> int:
        """Carry held commands out, oldest first; return their number.

        Dropped commands are carried out first, if no order to misbehave is left.
        """
        held = [self._held.pop(handle, None) for handle in self._holds.release()]
        dropped: list[Task[What]] = []
        if not self.misbehaviours.armed:
            dropped, self._dropped = self._dropped, dropped
        tasks = [task for task in (*dropped, *held) if task is not None]
        for task in tasks:
            self._execute(task)
        return len(tasks)

    def forget(self) -> None:
        """Forget held and dropped commands: the device has gone."""
        self._held.clear()
        self._dropped.clear()
