"""The history of a scenario: everything it did and saw, time-stamped, append-only.

One JSON object per line in ``history.jsonl``::

    {"time": 12.345678, "source": "backend", "kind": "step", "data": {...}}

``time`` is seconds of the guest's CLOCK_MONOTONIC. Events seen by the host are converted
with the offset measured when the guest was restored. Sources and kinds, with their data:

=========  ===========  ======================================================================
source     kind         data
=========  ===========  ======================================================================
harness    scenario     the scenario's record: id, seed, target, kernel, fault, ladder, ...
harness    phase        name: restore, deploy, login, baseline, hold, fault, teardown, drain,
                        recover, cleanup, end
harness    round        number (from 1): the story begins once more on the same machine
harness    error        family (an error class's name), message
harness    clock        machine, behind, within: seconds that were added to the times of a machine
                        which is not the target's, and how wrong they may be
harness    netem        how, seen: [{packets, drops}]: what a network's discipline did to how many
harness    lost         what: why the machine can no longer be spoken to
harness    evidence     files (relative to the scenario's folder), missing (words: what, why,
                        and how to get it), seconds: {part: duration}; after a story that failed
harness    program      program, said or order: what a story's own program in the guest told, or was
                        told
harness    expectation  what (in the same words in every run), met, seen: what a story wanted
target     begin, end   operation; end also has seconds and error (null when it succeeded).
                        Operations: deploy, teardown, redeploy, remove, unload, and what can
                        be done to a deployed target, by the names of targets.*.operations
target     disk         name ("sda"), device ("8:0"), identity: the disk under test as found;
                        role
fault      armed        fault, point, count, opcodes, direction; expect
fault      fired        fault, point, held
fault      undone       fault
fault      injected     operation, count: so many of the target's allocations failed
fault      cut          how, seconds, keeps_session, reported_after: the network between initiator
                        and target has come apart, for so long; what is to come of it, null where
                        something else is broken, too
fault      mended       how: it is about to be joined again
           (any)        device: its name, where a process has several
backend    step         point, action (received, held, answered: for good, given up), handle,
                        opcode, direction (write, read, none), lba, bytes, status (answered), spin
                        (received, of some: seconds that a fixed piece of work took)
backend    held         point, count, handles: as many commands as asked for are held
backend    released     handles
backend    ready        device or devices, pid
backend    session      action (attached, detached), session, lun, initiator, target
backend    tmr          stage (received, done), function, session, handles
backend    refused      handle, error (errno name): the kernel did not take an answer
backend    misanswered  point, handle, as_handle, fields, errors: what the kernel said to answers
                        that the test had it give
backend    lied         how, handle, opcode, direction, lba, bytes: the test had it lie
backend    closed       the device's descriptor was closed by request; as flushed, registered,
                        unregistered, capacity_changed, options_set, preallocated, threads and
                        multi: the end of what may block, with error (errno name) and seconds
backend    exit         status (negative: the signal that killed it), pid
block      issue        io (serial number of the I/O on this disk), disk, op (read, write,
                        flush, other), sector, bytes
block      complete     io, disk, op, sector, error (errno name or null), seconds since issue
block      stray        disk, op, sector, error: a completion that no issue matches
block      refused      disk, op, sector, error: the block layer ended it before the disk's driver
                        got it, as it does when the disk is offline
block      lost         count: events that the trace buffer had no room for
scsi       start        host ("0:0:0:1"), tag, opcode, cdb
scsi       done         host, tag, opcode, result: the kernel's words for driver, host, status
scsi       timeout      host, tag, opcode: the midlayer gave up waiting, error handling begins
console    line         text: one line of the kernel's console, as it was written; number: which
                        one of the scenario's; machine: "initiator", where that has one of its
                        own
console    dropped      lines, bytes: how much of a flood was not recorded line by line
sampler    threads      interval (s), threads: [{pid, comm, state, cpu (s used), over (s between
                        its own two readings; absent: the interval), waited (s
                        runnable without a CPU; absent: 0), stack: [frames], of one
                        that burns a CPU if it was read}]
sampler    blocked      tasks: [{pid, comm, state, wchan, stack: [frames]}] in state D
sampler    inflight     disk, reads, writes: the block layer's own count
sampler    resources    when: baseline (the target is loaded, nothing is deployed) or after (the
                        last removal, before the unload), slabs: {cache of the target's: active
                        objects, the cache shrunk first}, modules: {name: references}, free_kib
                        (with page cache, tmpfs and reclaimable slabs), taint (the kernel's)
workload   begin        job, disk (null: of a session that is no disk's), options
workload   end          job, ios, errors, bytes, seconds, exit (status), error (message or null)
workload   writing      job, disk, block (index), version (of this block, from 1, increasing): a
                        stamped write is about to be issued
workload   wrote        job, disk, block, version, error (errno name or null): it completed
workload   read         job, disk, block, STAMP, error, issued_after (the highest version of the
                        block that had been acknowledged when the read was issued; 0: none)
workload   command      job, disk, number (from 1), name, cdb (hexadecimal), direction, bytes, reset
                        (null, lun-reset, target-reset), allowed (with what this one may end, where
                        that is its own affair): a chosen command is about to be issued
workload   answer       job, disk, number, seconds, error (errno name or null), and of a CDB status,
                        host and driver (bytes of struct sg_io_hdr), residual, sense
                        (hexadecimal), key, asc, ascq (of what sense data there are)
workload   function     job, disk, number (in one count with the commands), session, name (RFC 7143
                        11.5.1), command: the number of the one that ABORT TASK is for, or null
workload   response     job, disk, number, seconds, response (name, RFC 7143 11.6.1), error: what
                        became of a function that had none (lost, rejected, unanswered)
workload   nexus        job, disk, session, action (logged in, refused, lost, logged out, dropped),
                        error: a session of libiscsi's. Commands of one have its name as
                        ``session``, and as ``error`` aborted, lost, rejected or unanswered where
                        there is no status
workload   breach       job, disk, session, words: what a target must not: answer a command twice
workload   pdu          job, disk, stream, number, request, malformed (how; "" when it is valid),
                        outcome, said (the answers in words), crc (CRC-32 of its bytes): one
                        PDU of fixtures.initiator.raw.send
workload   found        disk, block, STAMP, error (may be left out): read back at the end, when
                        the target had recovered
=========  ===========  ======================================================================

STAMP, what a block that was read holds: version (null: no stamp at all, as before the first
write), torn (two stamps, part of one, or data that do not fit it, within one of the disk's
logical blocks), foreign (the identity, block and version of a stamp that belongs to another block
or LUN, in words, or null), and, if the stamped block has several logical blocks that differ,
sectors: the version of each.

A disk may have a role: "bystander" is a LUN that the fault does not concern. A fault may say
what it may lead to: expect, with errors: the errno names with which I/O may fail after it
(absent: any). Where several devices are deployed, backend events have device.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from results.errors import MachineLostError

Json = Any
"""A JSON value; ``Any`` because mypy cannot follow a recursive one through ``json.loads``."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. ``time``: seconds of the guest's CLOCK_MONOTONIC."""

    time: float
    source: str
    kind: str
    data: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the event as one line of JSON, without the newline."""
        return json.dumps(
            {"time": round(self.time, 6), "source": self.source, "kind": self.kind,
             "data": self.data},
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, line: str) -> Event:
        """Parse one line. Raises ValueError when it is not an event."""
        try:
            raw = json.loads(line)
            event = cls(float(raw["time"]), str(raw["source"]), str(raw["kind"]), raw["data"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not an event: {line[:80]!r}") from error
        if not isfinite(event.time) or not isinstance(event.data, dict):
            raise ValueError(f"not an event: {line[:80]!r}")
        return event


@dataclass(frozen=True)
class History:
    """The events of one scenario, in the order of their times."""

    events: tuple[Event, ...]

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """Sort events by time (stable, so equal times keep their order of arrival)."""
        return cls(tuple(sorted(events, key=lambda event: event.time)))

    @classmethod
    def load(cls, path: Path) -> History:
        """Read ``history.jsonl``. A last line cut short by a crash is dropped, others raise."""
        lines = path.read_text(errors="replace").split("\n")
        complete = lines[:-1]  # what follows the last newline was never finished
        return cls.of(Event.from_json(line) for line in complete if line)

    @classmethod
    def salvage(cls, path: Path, wanted: Callable[[bytes], bool] | None = None) -> Salvage:
        """Read what can be read of ``history.jsonl``, line by line: what is no event is counted.

        ``wanted`` is asked of each line before it is parsed. Raises OSError only.
        """
        events = []
        broken = 0
        with path.open("rb") as lines:
            for line in lines:
                if not line.strip() or (wanted and not wanted(line)):
                    continue
                try:
                    events.append(Event.from_json(line.decode(errors="replace")))
                except ValueError:
                    # The last line may be cut: its writer was killed, or the disk was full.
                    broken += line.endswith(b"\n")
        return Salvage(cls.of(events), broken)

    def select(self, source: str, *kinds: str) -> Iterator[Event]:
        """Yield the events of one source, of the given kinds (of any when none is named)."""
        return (
            event for event in self.events
            if event.source == source and (not kinds or event.kind in kinds)
        )

    def first(self, source: str, *kinds: str) -> Event | None:
        """Return the first such event, or None."""
        return next(self.select(source, *kinds), None)

    def last(self, source: str, *kinds: str) -> Event | None:
        """Return the last such event, or None."""
        found = None
        for found in self.select(source, *kinds):  # noqa: B007
            pass
        return found


@dataclass(frozen=True)
class Salvage:
    """What a history file held. ``broken``: its whole lines that are no events."""

    history: History
    broken: int


class Recorder:
    """Append events to ``history.jsonl`` as they happen; safe from several threads.

    Every event reaches the kernel before ``record`` returns, so a killed pytest loses none.
    """

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._events: list[Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def record(self, time: float, source: str, kind: str, **data: Json) -> Event:
        """Append one event. ``time``: seconds of the guest's CLOCK_MONOTONIC."""
        event = Event(time, source, kind, data)
        self.extend([event])
        return event

    def extend(self, events: Iterable[Event]) -> None:
        """Append several events, all of them or none.

        Raises MachineLostError when they cannot be written, as on a full disk: that is not the
        target's doing.
        """
        batch = list(events)
        text = "".join(event.to_json() + "\n" for event in batch)
        with self._lock:
            if self._file.closed:  # late words of a machine whose scenario is over
                return
            self._events.extend(batch)
            try:
                self._write(text.encode(errors="replace"))
            except OSError as error:
                raise MachineLostError(
                    f"the history cannot be written: {error.strerror}") from error

    def _write(self, data: bytes) -> None:
        begin = os.fstat(self._file.fileno()).st_size
        try:
            while data:  # a disk that is nearly full takes a part
                data = data[self._file.write(data):]
        except OSError:
            os.ftruncate(self._file.fileno(), begin)
            raise

    def history(self) -> History:
        """Return what has been recorded so far."""
        with self._lock:
            return History.of(self._events)

    def close(self) -> None:
        """Close the file; later events are dropped."""
        with self._lock:
            self._file.close()
