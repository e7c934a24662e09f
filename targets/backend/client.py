# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side of a backend: orders to it, and its events."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from results.errors import MachineLostError, TargetFailedError
from results.history import Recorder
from targets.machine import Machine, Process, wait_on

MANY = frozenset({"step", "reply"})
"""Kinds of events that are not kept for ``seen``: their number is unbounded."""


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

    def _wait(self, reached: Callable[[], bool], deadline: float) -> bool:
        return wait_on(self._changed, reached, deadline, self._machine)

    def _gone(self) -> bool:
        return self.process.status is not None

    def wait_ready(self, deadline: float) -> Mapping[str, Any]:
        """Wait until the backend serves; return its "ready" message. Raises TargetFailedError."""
        with self._changed:
            self._wait(lambda: self._ready is not None or self._gone(), deadline)
            if self._ready is None:
                words = " ".join(self._last_words[-5:]) or "it printed nothing"
                raise TargetFailedError(f"the backend did not come up: {words}")
            return self._ready

    def call(self, do: str, *, deadline: float, **arguments: Any) -> Any:
        """Send a command and return its result.

        Raises TargetFailedError when the backend refuses, MachineLostError when it does not answer.
        """
        number = next(self._numbers)
        self.process.send({"id": number, "do": do, **arguments})
        with self._changed:
            self._wait(lambda: number in self._replies or self._gone(), deadline)
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
        """Return the backend's events of a kind that contain these data.

        ``step`` and ``reply`` events are not kept.
        """
        with self._changed:
            return [event for event in self._seen.get(kind, ())
                    if all(event.get(name) == value for name, value in data.items())]

    def wait_seen(self, kind: str, deadline: float, count: int = 1, **data: Any) -> bool:
        """Wait until ``seen`` would return ``count`` events, or the backend has gone.

        Returns whether there are ``count``.
        """
        with self._changed:
            self._wait(lambda: len(self.seen(kind, **data)) >= count or self._gone(), deadline)
            return len(self.seen(kind, **data)) >= count

    def hold(
        self, point: str, count: int, *, deadline: float, opcodes: Sequence[int] | None = None,
        direction: str | None = None, device: str | None = None, lbas: Sequence[int] | None = None,
    ) -> None:
        """Order the backend to hold the next ``count`` matching commands at ``point``.

        ``device``: name of one of the backend's devices; None: any. ``lbas``: the first LBA that a
        matching command may begin at, and one past the last; None: any.
        """
        named = {**({} if device is None else {"device": device}),
                 **({} if lbas is None else {"lbas": lbas})}
        self.call("hold", deadline=deadline, point=point, count=count, opcodes=opcodes,
                  direction=direction, **named)

    def wait_held(self, count: int, deadline: float) -> bool:
        """Wait until ``count`` commands have been held in all, released ones included."""
        with self._changed:
            self._wait(lambda: self._held >= count or self._gone(), deadline)
            return self._held >= count

    def release(self, deadline: float) -> None:
        """Let every held command continue."""
        self.call("release", deadline=deadline)

    def misbehave(
        self, how: str, count: int, *, deadline: float, direction: str | None = None,
        medium: str | None = None,
    ) -> None:
        """Make the backend carry the next ``count`` matching commands out wrongly.

        ``how``: a kind of targets.backend.misbehaviour_guest.
        """
        self.call("misbehave", deadline=deadline, how=how, count=count, direction=direction,
                  medium=medium)

    def wait_misbehaved(self, count: int, deadline: float) -> bool:
        """Wait until ``count`` commands were carried out wrongly; return whether they were."""
        with self._changed:
            return self._wait(lambda: self._misbehaved >= count, deadline)

    def behave(self, deadline: float) -> None:
        """Make the backend carry commands out correctly again."""
        self.call("behave", deadline=deadline)

    def serving(self, deadline: float) -> bool:
        """Return whether the backend answers and its devices are open."""
        if self._gone():
            return False
        try:
            return bool(self.call("serving", deadline=deadline))
        except (TargetFailedError, MachineLostError):  # stopped, or about to end
            return False

    def close(self, deadline: float) -> None:
        """Close the devices; the process continues.

        Returns once they are closed, or after a second if that blocks; the event ``closed`` reports
        the end.
        """
        self.call("close", deadline=deadline)

    def kill(self) -> None:
        """Send SIGKILL.

        The backend closes nothing itself, as with the kernel's out-of-memory killer.
        """
        self.process.signal(signal.SIGKILL)

    def end(self, deadline: float) -> None:
        """Wait until the process has gone; send SIGKILL if it is still there.

        Raises MachineLostError.
        """
        if not self._gone():
            with suppress(ProcessLookupError):  # it has just ended by itself
                self.kill()
            self.process.wait(deadline)
