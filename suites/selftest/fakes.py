# SPDX-License-Identifier: GPL-2.0-or-later
"""Fakes for rare machine states: panic, silence, slowness, a broken backend.

Only the agent's side of the connection is fake; the host's side is the harness's own code.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import Any, Self

from fixtures.machine.connection import Connection
from fixtures.machine.remote import RemoteMachine
from inject.contract import BrokenSession, Cut
from inject.traits import TargetTraits
from results.comparison.slow import PastTimes
from results.ladder import Ladder
from results.past_times import NO_PAST
from targets.catalogue import traits_of

SHORT_LADDER = Ladder(command=0.2, teardown=0.3, silence=0.3, scenario=2.0, step=0.2, boot=0.3)
"""Bounds for machines that miss their deadlines on purpose."""

PANIC = ("Kernel panic - not syncing: Fatal exception in interrupt",
         "---[ end Kernel panic - not syncing: Fatal exception in interrupt ]---")

Script = Callable[["FakeProgram", Mapping[str, Any]], None]


class FakeProgram:
    """A program on a fake machine. ``script`` is called with each message sent to it."""

    def __init__(self, machine: FakeMachine, pid: int, script: Script) -> None:
        self.pid = pid
        self.received: list[Mapping[str, Any]] = []
        self._machine = machine
        self._script = script

    def receive(self, message: Mapping[str, Any]) -> None:
        """Record a message from the host and pass it to the script."""
        self.received.append(message)
        self._script(self, message)

    def emit(self, kind: str, **data: Any) -> None:
        """Emit an event on the program's output."""
        line = {"t": time.monotonic_ns(), "kind": kind, **data}
        self._machine.emit({"pid": self.pid, "line": line})

    def reply(self, message: Mapping[str, Any], result: Any = None) -> None:
        """Emit a successful reply to a message."""
        self.emit("reply", id=message["id"], ok=True, result=result)

    def exit(self, status: int) -> None:
        """Emit the program's exit."""
        self._machine.emit({"pid": self.pid, "exit": status, "t": time.monotonic_ns()})


def deaf(_program: FakeProgram, _message: Mapping[str, Any]) -> None:
    """Ignore every message."""


def cooperative(program: FakeProgram, message: Mapping[str, Any]) -> None:
    """Reply with success to every message."""
    program.reply(message, True)


class FakeMachine:
    """A machine without a kernel: a real connection to an agent with scripted replies.

    ``verbs``: functions that answer requests, by verb; a missing verb succeeds and returns nothing.
    ``requested``: every request but pings. ``programs``: the spawned programs, in order. ``born``
    is called with each new program. Has the attributes of a guest that a scenario uses: console,
    ladder, alive.
    """

    def __init__(self, console: Path, ladder: Ladder = SHORT_LADDER) -> None:
        self.verbs: dict[str, Callable[..., Any]] = {
            "ping": lambda: "6.1.0-fake", "waiting": list, "listdir": lambda path: [],
            "exists": lambda path: False, "spawn": self._spawn, "send": self._send,
            "run": lambda argv, stdin="": {"status": 0, "stdout": "", "stderr": ""},
            "signal": lambda pid, number: self.programs[pid - 1].exit(-number),
            "write": self._write,
        }
        self.requested: list[tuple[str, Mapping[str, Any]]] = []
        self.programs: list[FakeProgram] = []
        self.script: Script = cooperative
        self.born: Callable[[FakeProgram], None] = lambda program: None
        self.answers_sync = True
        self.clock_ahead = 0.0
        self.console = console
        self.panicked: float | None = None
        self.ladder = ladder
        console.touch()
        self._delays: dict[str, float] = {}
        self._silent = False
        ours, self._line = socket.socketpair()
        self._lock = threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()
        self.connection = Connection(ours, "the fake")
        self.machine = RemoteMachine(self.connection, ladder)

    def __enter__(self) -> Self:
        self.connection.sync(self.ladder.silence)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.vanish()
        self.connection.close()

    def host_cpu(self) -> tuple[float, float]:
        """Return fake CPU seconds of the guest: 1.0 run, 0.0 waited."""
        return 1.0, 0.0

    @property
    def alive(self) -> bool:
        """Whether the connection is up."""
        return self.connection.lost is None

    @property
    def running(self) -> bool:
        """Whether a QEMU can be inspected: always False."""
        return False

    # scripted states

    def slow(self, verb: str, seconds: float) -> None:
        """Delay a verb's reply by this many seconds from now on."""
        self._delays[verb] = seconds

    def fall_silent(self) -> None:
        """Stop answering; the connection stays up, as with a guest that spins."""
        self._silent = True

    def panic(self) -> None:
        """Write a panic to the console and stop answering: panic=0 keeps a dead guest."""
        for words in PANIC:
            self.write_console(words)
        self.fall_silent()

    def pvpanic(self) -> None:
        """Panic without a word on the console: only QEMU's device reports it."""
        self.fall_silent()
        self.panicked = self.connection.now()
        self.connection.abandon("its kernel panicked, pvpanic reports")

    def vanish(self) -> None:
        """Close the connection, as a killed QEMU does."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def write_console(self, words: str) -> None:
        """Append a line with a timestamp to the console."""
        with self.console.open("a") as file:
            file.write(f"[{time.monotonic():12.6f}] {words}\n")

    def emit(self, message: Mapping[str, Any]) -> None:
        """Send a message on the connection."""
        self.emit_bytes(json.dumps(message).encode() + b"\n")

    def emit_bytes(self, data: bytes) -> None:
        """Send raw bytes on the connection."""
        with self._lock, suppress(OSError):
            self._line.sendall(data)

    # the agent's side

    def _serve(self) -> None:
        with self._line.makefile("rb") as lines:
            for line in lines:
                if line.strip() and not self._silent:
                    self._take(json.loads(line))
        self._line.close()

    def _take(self, message: Mapping[str, Any]) -> None:
        if "do" not in message:
            if self.answers_sync:
                self.emit({"synced": message["epoch"], "t": 0})
            return
        if message["do"] != "ping":
            self.requested.append((message["do"], message["args"]))
        delay = self._delays.get(message["do"])
        if delay is None:
            self._answer(message)
        else:
            timer = threading.Timer(delay, self._answer, [message])
            timer.daemon = True
            timer.start()

    def _answer(self, message: Mapping[str, Any]) -> None:
        began = self._clock() - int(self._delays.get(message["do"], 0.0) * 1e9)
        answer: dict[str, Any] = {"id": message["id"], "began": began}
        try:
            verb: Callable[..., Any] = self.verbs.get(message["do"], lambda **_: None)
            answer["result"] = verb(**message["args"])
        except OSError as error:
            answer["error"] = {"type": "OSError", "errno": error.errno, "text": str(error)}
        answer["ended"] = self._clock()
        if not self._silent:
            self.emit(answer)

    def _clock(self) -> int:
        return time.monotonic_ns() + int(self.clock_ahead * 1e9)

    def _spawn(self, name: str, module: str | None, argv: list[str]) -> int:
        program = FakeProgram(self, len(self.programs) + 1, self.script)
        self.programs.append(program)
        self.born(program)
        return program.pid

    def _send(self, pid: int, line: str) -> None:
        self.programs[pid - 1].receive(json.loads(line))

    def _write(self, path: str, text: str) -> None:
        if path == "/dev/kmsg":
            self.write_console(text.strip())


@dataclass
class FakePool:
    """The guest pool of one fake machine, for a whole scenario; ``target`` is deployed on it."""

    guest: FakeMachine
    target: Any
    keep_stalled: bool = False
    past: PastTimes = NO_PAST

    def recognised(self, judgement: Any, _kernel: str) -> Any:
        """Return the judgement unchanged: no issue is known."""
        return judgement

    def progress(self, _words: str) -> None:
        """Discard the message."""

    def entered(self, _phase: str) -> None:
        """Discard the phase."""

    @property
    def accelerator(self) -> Any:
        """A fake accelerator: an object with a name."""
        return type("Fake", (), {"name": "fake"})

    @contextmanager
    def restored(self, _kernel: str, _append: tuple[str, ...] = ()) -> Iterator[FakeMachine]:
        """Provide the machine."""
        self.guest.connection.sync(self.guest.ladder.silence)
        yield self.guest


@dataclass
class FakeOperation:
    """An operation in progress on a subject (an inject.contract.Running)."""

    subject: FakeSubject
    name: str = "operation"

    @property
    def done(self) -> bool:
        """Whether the operation has ended: at once if it never waits."""
        return self.subject.waits_after is None

    def waits(self) -> bool:
        """Return whether the operation waits."""
        return self.subject.look()

    def finish(self, deadline: float) -> None:
        """Run the subject's removal to its end and record it."""
        self.subject.removal(self.subject.released)
        self.subject.done.append("ends")


@dataclass
class FakeSubject:
    """The object that a fault acts on (an inject.contract.DeployedDevice); records its actions.

    It is also its own backend, and that backend's process. Actions are recorded in order.

    ``waits_after``: number of looks at the operation before it waits; None: it never waits.
    ``removal``: function that the waiting operation runs, given the event that the release sets.
    ``results``: functions that compute the backend's results, by request. ``there``: whether the
    device is present.
    """

    waits_after: int | None = 0
    removal: Callable[[threading.Event], None] = lambda released: None
    results: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    there: bool = True

    def __post_init__(self) -> None:
        self.done: list[str] = []
        self.observations: list[tuple[str, bool]] = []
        self.looks = 0
        self.released = threading.Event()
        self.fired = threading.Event()
        self.status: int | None = None

    @property
    def deployment(self) -> FakeSubject:
        """The subject itself, which is also a fault's context (an inject.contract.FaultContext)."""
        return self

    @property
    def traits(self) -> TargetTraits:
        """SCST's traits."""
        return traits_of("scst")

    def keep(self) -> None:
        """Keep nothing for longer."""

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def observed(self, operation: str, *, ended: bool) -> None:
        """Record an observation, which has to come before the release."""
        assert not self.released.is_set(), "observed after the release"
        self.observations.append((operation, ended))

    @property
    def network(self) -> FakeSubject:
        """The subject itself, as the network."""
        return self

    @property
    def initiators(self) -> FakeSubject:
        """The subject itself, as the initiators."""
        return self

    @property
    def backend(self) -> FakeSubject:
        """The subject itself, as the backend."""
        return self

    @property
    def process(self) -> FakeSubject:
        """The subject itself, as the backend's process."""
        return self

    def _do(self, what: str) -> None:
        self.done.append(what)

    # the backend

    def call(self, do: str, *, deadline: float, **arguments: Any) -> Any:
        """Record the request; return its configured result."""
        self._do(f"{do} {arguments}" if arguments else do)
        return self.results[do](**arguments) if do in self.results else None

    def hold(self, point: str, count: int, **_: Any) -> None:
        """Record the hold."""
        self._do(f"hold {point}")

    pid = 1

    def seen(self, kind: str, **data: Any) -> list[Mapping[str, Any]]:
        """Return no events."""
        return []

    def wait_seen(self, kind: str, deadline: float, count: int = 1, **data: Any) -> bool:
        """Return False: no event occurs."""
        return False

    def wait_held(self, count: int, deadline: float) -> bool:
        """Return True: the count is held at once."""
        return True

    def serving(self, deadline: float) -> bool:
        """Return whether the backend serves: as long as the LUN is reachable."""
        return self.reachable()

    def end(self, deadline: float) -> None:
        """Record the end of the backend."""
        self._do("end")

    def release(self, deadline: float) -> None:
        """Record the release and wake the waiting operation."""
        self._do("release")
        self.released.set()

    def misbehave(
        self, how: str, count: int, *, deadline: float, direction: str | None = None,
        medium: str | None = None,
    ) -> None:
        """Record the misbehaviour."""
        self._do(f"misbehave {how}")

    def wait_misbehaved(self, count: int, deadline: float) -> bool:
        """Return True: the misbehaviour has occurred."""
        return True

    def behave(self, deadline: float) -> None:
        """Record the end of the misbehaviour."""
        self._do("behave")

    def close(self, deadline: float) -> None:
        """Record the close of the device."""
        self._do("close")

    def kill(self) -> None:
        """Record the kill of the backend."""
        self._do("kill")

    def signal(self, number: int) -> None:
        """Record the signal to the backend's process."""
        self._do(Signals(number).name)

    def wait(self, deadline: float) -> int:
        """Record the wait for the process; return exit status 0."""
        self._do("wait")
        return 0

    def end_process(self, pid: int) -> None:
        """Record the kill of another process."""
        self._do(f"end {pid}")

    # operations

    def begin(self, operation: str) -> FakeOperation:
        """Record and return a new operation."""
        self._do(f"{operation} begins")
        return FakeOperation(self)

    def heal(self, operation: str, deadline: float) -> None:
        """Record the undo of an operation."""
        self._do(f"{operation} healed")

    # the device

    def present(self) -> bool:
        """Return whether the device is present."""
        return self.there

    def reachable(self) -> bool:
        """Return whether the LUN is present: until the device is closed."""
        return "close" not in self.done

    def remove_lun(self) -> None:
        """Remove the LUN; blocks as long as ``removal`` does."""
        self._do("remove_lun begins")
        self.removal(self.released)
        self._do("remove_lun ends")

    def removal_waits(self) -> bool:
        """Return whether the removal waits."""
        return bool(self.done) and self.look()

    def look(self) -> bool:
        """Count one more look; return whether the operation waits."""
        self.looks += 1
        return self.waits_after is not None and self.looks > self.waits_after

    def take_device_away(self) -> None:
        """Record the removal of the device."""
        self._do("take_device_away")

    # the network

    def impair(self, how: str, deadline: float) -> None:
        """Record the impairment."""
        self._do(f"impair {how}")

    def restore(self, deadline: float) -> None:
        """Record the restoration of the network."""
        self._do("restore")

    def cut(self, partition: Cut, deadline: float) -> None:
        """Record the cut."""
        self._do(f"cut {partition.how}")

    def mend(self, deadline: float) -> None:
        """Record the mend."""
        self._do("mend")

    def mend_when(self, begun: Callable[[], bool], deadline: float) -> None:
        """Record the request for a later mend."""
        self._do("mend later")

    # the initiators

    def begin_login(self, session: str, instead_of: str, deadline: float) -> None:
        """Record the start of a login."""
        self._do(f"login {session} for {instead_of}")

    def begin_logout(self, session: str, deadline: float) -> None:
        """Record the start of a logout."""
        self._do(f"logout {session}")

    def drop(self, session: str, deadline: float) -> None:
        """Record the drop of a session's connection."""
        self._do(f"drop {session}")

    def request(self, session: str, functions: Sequence[str], deadline: float) -> None:
        """Record the request for task management functions."""
        self._do(f"request {' '.join(functions)}")

    def end_loads(self) -> None:
        """Record the end of the loads."""
        self._do("end loads")

    def reach(self, breaks: BrokenSession, deadline: float) -> None:
        """Record that sessions reach a moment."""
        self._do(f"reach {breaks.moment}")

    def break_sessions(self, deadline: float) -> None:
        """Record the break of the sessions."""
        self._do("break")

    def break_when(self, begun: Callable[[], bool], deadline: float) -> None:
        """Record the request for a later break."""
        self._do("break later")

    def leave(self, deadline: float) -> None:
        """Record that no sessions are opened again."""
        self._do("leave")
