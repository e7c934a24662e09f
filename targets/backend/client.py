"""The host's side of a backend: orders to it, and what it reports."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from results.errors import MachineLostError, TargetFailedError
from results.history import Recorder
from targets.machine import Machine, Process

MANY = frozenset({"step", "reply"})
"""Kinds of events that are not kept to be asked for: there is no end of them."""


class BackendProcess:
    """A backend process on a machine, executing the commands of targets.backend.control_guest.

    Every message becomes an event of source "backend" in the history.
    """

    def __init__(
        self, machine: Machine, name: str, module: str, argv: Sequence[str], recorder: Recorder
    ) -> None:
        self._recorder = recorder
        self._changed = threading.Condition()
        self._replies: dict[int, Mapping[str, Any]] = {}
        self._held = 0
        self._misbehaved = 0
        self._seen: dict[str, list[Mapping[str, Any]]] = {}
        self._ready: Mapping[str, Any] | None = None
        self._last_words: list[str] = []
        self._numbers = itertools.count(1)
        self._machine = machine
        self.process: Process = machine.spawn(
            name, module=module, argv=argv, on_message=self._message, on_exit=self._exited)

    def _message(self, message: Mapping[str, Any]) -> None:
        data = dict(message)
        time, kind = data.pop("t") / 1e9, data.pop("kind")
        self._recorder.record(time, "backend", kind, **data)
        with self._changed:
            if kind == "reply":
                self._replies[data["id"]] = data
            elif kind == "held":
                self._held += data["count"]
            elif kind == "lied":
                self._misbehaved += 1
            elif kind == "ready":
                self._ready = data
            elif kind == "text":
                self._last_words.append(str(data.get("text", "")))
            if kind not in MANY:
                self._seen.setdefault(kind, []).append(data)
            self._changed.notify_all()

    def _exited(self, status: int) -> None:
        self._recorder.record(self._machine.now(), "backend", "exit", status=status)
        with self._changed:
            self._changed.notify_all()

    def _gone(self) -> bool:
        return self.process.status is not None

    def wait_ready(self, deadline: float) -> Mapping[str, Any]:
        """Wait until it serves; return its "ready" message. Raises TargetFailedError."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready is not None or self._gone(), deadline)
            if self._ready is None:
                words = " ".join(self._last_words[-5:]) or "it said nothing"
                raise TargetFailedError(f"the backend did not come up: {words}")
            return self._ready

    def call(self, do: str, *, deadline: float, **arguments: Any) -> Any:
        """Give a command and return its result.

        Raises TargetFailedError when the backend says no, MachineLostError when it says nothing.
        """
        number = next(self._numbers)
        self.process.send({"id": number, "do": do, **arguments})
        with self._changed:
            self._changed.wait_for(
                lambda: number in self._replies or self._gone(), deadline)
            reply = self._replies.get(number)
        if reply is None and self._gone():
            raise TargetFailedError(
                f"the backend ended with status {self.process.status} instead of answering {do!r}")
        if reply is None:
            raise MachineLostError(f"the backend did not answer {do!r} in {deadline:g} s")
        if not reply["ok"]:
            raise TargetFailedError(f"the backend refused {do!r}: {reply['error']}")
        return reply.get("result")

    def seen(self, kind: str, **data: Any) -> list[Mapping[str, Any]]:
        """Return its events of a kind that say so, ``step`` and ``reply`` excepted."""
        with self._changed:
            return [event for event in self._seen.get(kind, ())
                    if all(event.get(name) == value for name, value in data.items())]

    def wait_seen(self, kind: str, deadline: float, count: int = 1, **data: Any) -> bool:
        """Wait until there have been ``count`` events that ``seen`` returns, or it has gone;
        tell whether there have."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self.seen(kind, **data)) >= count or self._gone(), deadline)
            return len(self.seen(kind, **data)) >= count

    def hold(
        self, point: str, count: int, *, deadline: float, opcodes: Sequence[int] | None = None,
        direction: str | None = None, device: str | None = None, least: int = 0,
    ) -> None:
        """Order it to hold the next ``count`` matching commands at ``point``.

        ``device``: of which of its devices, by name; None: of any. ``least``: bytes of data that
        they must have.
        """
        named = {**({} if device is None else {"device": device}),
                 **({"least": least} if least else {})}
        self.call("hold", deadline=deadline, point=point, count=count, opcodes=opcodes,
                  direction=direction, **named)

    def wait_held(self, count: int, deadline: float) -> bool:
        """Wait until ``count`` commands are held in all; tell whether they are."""
        with self._changed:
            self._changed.wait_for(lambda: self._held >= count or self._gone(), deadline)
            return self._held >= count

    def release(self, deadline: float) -> None:
        """Let every held command go on."""
        self.call("release", deadline=deadline)

    def misbehave(
        self, how: str, count: int, *, deadline: float, direction: str | None = None,
        medium: str | None = None,
    ) -> None:
        """Have it carry out the next ``count`` matching commands wrongly
        (targets.backend.lies_guest)."""
        self.call("lie", deadline=deadline, how=how, count=count, direction=direction,
                  medium=medium)

    def wait_misbehaved(self, count: int, deadline: float) -> bool:
        """Wait until ``count`` commands in all were carried out wrongly; return whether they were.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._misbehaved >= count, deadline)

    def behave(self, deadline: float) -> None:
        """Have it carry commands out as they are again."""
        self.call("truth", deadline=deadline)

    def serving(self, deadline: float) -> bool:
        """Tell whether it has its devices open, and answers."""
        if self._gone():
            return False
        try:
            return bool(self.call("serving", deadline=deadline))
        except (TargetFailedError, MachineLostError):  # stopped, or about to be gone
            return False

    def close(self, deadline: float) -> None:
        """Close the devices; the process stays.

        Returns once they are closed, or after a second if that blocks: the event ``closed`` tells.
        """
        self.call("close", deadline=deadline)

    def kill(self) -> None:
        """SIGKILL it: no goodbye, as the kernel's out-of-memory killer would."""
        self.process.signal(signal.SIGKILL)

    def end(self, deadline: float) -> None:
        """See that the process is gone, by SIGKILL if it is not yet. Raises MachineLostError."""
        if not self._gone():
            with suppress(ProcessLookupError):  # it has just ended by itself
                self.kill()
            self.process.wait(deadline)
