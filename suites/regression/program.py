"""Programs of suites.regression.guest, started on a machine by their source."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fixtures.stage import Stage
from results.errors import TargetFailedError
from targets.machine import Process

GUEST = Path(__file__).parent / "guest"


class Program:
    """A guest program under way: orders to it, and what it told, in ``said``.

    Both are in the history: source "harness", kind "program".
    """

    def __init__(self, stage: Stage, name: str, argument: str) -> None:
        self._name = name
        self._stage = stage
        machine = stage.machine
        self._changed = threading.Condition()
        self.said: list[Mapping[str, Any]] = []
        path = f"/tmp/{name}.py"
        machine.write(path, (GUEST / f"{name}.py").read_text())
        self.process: Process = machine.spawn(
            name, argv=["python3", path, argument], on_message=self._take,
            on_exit=lambda status: self._take({"kind": "exit", "status": status}))

    def _take(self, message: Mapping[str, Any]) -> None:
        data = {key: value for key, value in message.items() if key not in ("t", "kind")}
        self._stage.note("program", program=self._name, said=message["kind"], **data)
        with self._changed:
            self.said.append(message)
            self._changed.notify_all()

    def order(self, **what: Any) -> None:
        """Give it an order."""
        self._stage.note("program", program=self._name, order=what)
        self.process.send(what)

    def told(self, kind: str) -> list[Mapping[str, Any]]:
        """Return what it told of a kind."""
        return [message for message in self.said if message["kind"] == kind]

    def wait(self, reached: Callable[[], bool], deadline: float) -> bool:
        """Wait until what it told is enough; tell whether it is."""
        with self._changed:
            return self._changed.wait_for(reached, deadline)

    def wait_ready(self, deadline: float) -> None:
        """Wait until it can begin. Raises TargetFailedError with what it said instead."""
        if not self.wait(lambda: bool(self.told("ready") or self.told("exit")), deadline) \
                or not self.told("ready"):
            words = "; ".join(str(message) for message in self.said[-4:])
            raise TargetFailedError(f"{self._name} did not come up in {deadline:g} s: {words}")
