"""Programs of suites.regression.guest, started on a machine by their source."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from results.errors import TargetFailedError
from targets.machine import Machine, Process

GUEST = Path(__file__).parent / "guest"


class Program:
    """A guest program under way: orders to it, and what it told, in ``said``."""

    def __init__(self, machine: Machine, name: str, argument: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self.said: list[Mapping[str, Any]] = []
        path = f"/tmp/{name}.py"
        machine.write(path, (GUEST / f"{name}.py").read_text())
        self.process: Process = machine.spawn(
            name, argv=["python3", path, argument], on_message=self._take,
            on_exit=lambda status: self._take({"kind": "exit", "status": status}))

    def _take(self, message: Mapping[str, Any]) -> None:
        with self._changed:
            self.said.append(message)
            self._changed.notify_all()

    def order(self, **what: Any) -> None:
        """Give it an order."""
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
