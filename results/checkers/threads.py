# SPDX-License-Identifier: GPL-2.0-or-later
"""Threads: after the fault no kernel thread spins, and at the end no task sits in D state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any

from results.block_io import BusyTimes, Io, account
from results.checkers.teardown import anchors_of, name_task, stack_of
from results.history import Event, History
from results.timeline import Timeline, command_bound, ladder, operation
from results.verdict import Check, Figure, Signature, Verdict

NAME = "threads"

SPINNING = 0.9
"""Share of a CPU from which on a thread counts as spinning (DESIGN.md, timeout ladder)."""

SPINNING_LEAST = 0.25
"""Minimum share of a spinning thread, however long it waited for a CPU."""

ARRIVAL = 0.15
"""Seconds after a command has come, or before it ends, in which a thread works on it even while the
backend keeps every command. A command of 4 KiB takes 10 ms under TCG, 60 ms on a busy host."""

NEAR = 1 - 1e-6
"""Tolerance factor for the sum of intervals that make up a window."""


@dataclass(frozen=True)
class Idler:
    """Kernel threads that wait in D state in normal operation. ``frame``: their top frame."""

    frame: str
    reason: str


IDLERS = (
    Idler("kthread", "created, but not yet woken for the first time (kthread() in kernel/kthread.c "
          "waits in TASK_UNINTERRUPTIBLE)"),
)


@dataclass(frozen=True)
class Spin:
    """A thread that spun. Times in seconds; ``share`` of one CPU over ``seconds``.

    ``seen``: when the spell had lasted for the whole window. ``stack``: functions, if sampled.
    """

    pid: int
    comm: str
    begin: float
    seconds: float
    share: float
    seen: float
    stack: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return the thread's name with its share of a CPU and the duration."""
        return (
            f"{self.comm}:{self.pid} burnt {self.share:.0%} of a CPU for {self.seconds:.1f} s "
            "with no command in flight that was not overdue"
        )

    def signature(self) -> Signature:
        """Return the signature: kind "spinning", with name and stack as anchors."""
        return Signature.of("spinning", *anchors_of(asdict(self)))


@dataclass(frozen=True)
class Stuck:
    """A task in D state, as last sampled. ``seen``: when it had been there for the window."""

    task: Mapping[str, Any]
    seen: float

    def signature(self) -> Signature:
        """Return the signature: kind "stuck", with name and stack as anchors."""
        return Signature.of("stuck", *anchors_of(self.task))


def check(history: History) -> Check:
    """FAIL for a thread that spins after the fault or a task in D state at the end."""
    timeline = Timeline.of(history)
    if timeline.fired is None:
        return Check(NAME, Verdict.UNKNOWN, "the fault never fired")
    window = ladder(history).spin_window
    fired = timeline.fired
    samples = [event for event in history.select("sampler", "threads") if event.time > fired]
    book = account(history)
    due = _until_overdue(book.ios, timeline, command_bound(history))
    busy = BusyTimes(worked_on(due, _kept(history)))
    worked = [_busy_seconds(event, fired, busy) for event in samples]
    idle = [event for event, seconds in zip(samples, worked, strict=True) if not seconds]
    spins = spinning(list(zip(samples, worked, strict=True)), window)
    settled = _settled_from(history, timeline)
    blocked = [
        event for event in history.select("sampler", "blocked")
        if settled is not None and event.time >= settled
    ]
    stuck = stuck_tasks(blocked, window)
    figures = {"spinning_threads": Figure(len(spins), "1"), "stuck_tasks": Figure(len(stuck), "1")}
    if spins or stuck:
        return _failed(timeline, spins, stuck, figures)
    missing = _missing(timeline, [event.time for event in samples], settled, bool(blocked))
    if not missing and blocked[-1].data["tasks"] and blocked[-1].time - blocked[0].time < window:
        missing = (f"{name_task(blocked[-1].data['tasks'][0])} was in D state at the end, but the "
                   f"record ends within {window:g} s of the teardown's")
    if not missing and not idle and book.open:
        missing = "commands were in flight in every sample"
    if missing:
        return Check(NAME, Verdict.UNKNOWN, missing, (), figures)
    return Check(
        NAME, Verdict.PASS,
        f"no thread spins ({len(idle)} samples), no task is left in D state "
        f"({len(blocked)} samples)", (), figures,
    )


def _failed(
    timeline: Timeline, spins: Sequence[Spin], stuck: Sequence[Stuck],
    figures: Mapping[str, Figure],
) -> Check:
    words = [spin.describe() for spin in spins]
    words += [f"{name_task(each.task)} in D state" for each in stuck]
    evidence: list[dict[str, Any]] = [{"spinning": asdict(spin)} for spin in spins]
    evidence += [{"blocked": dict(each.task)} for each in stuck]
    found: list[Spin | Stuck] = [*spins, *stuck]
    measured = timeline.detected(NAME, min(each.seen for each in found))
    if spins:
        first = min(spins, key=lambda spin: spin.seen)
        measured["spin_seen_after"] = Figure(first.seen - first.begin, "s")
    signatures = dict.fromkeys(each.signature() for each in found)
    return Check(NAME, Verdict.FAIL, "; ".join(words), evidence, {**figures, **measured},
                 list(signatures))


def _missing(
    timeline: Timeline, samples: Sequence[float], settled: float | None, blocked: bool,
) -> str | None:
    if not samples:
        return "no sample of the threads was taken after the fault"
    if settled is None or settled > timeline.seen_until:
        return "the record ends before the teardown's deadline"
    if samples[-1] < settled or not blocked:
        return "no sample was taken after the teardown"
    return None


def _until_overdue(ios: Sequence[Io], timeline: Timeline, bound: float) -> Iterator[Io]:
    """Yield the I/Os as if they had ended when they became overdue.

    No thread has a reason to use a CPU for a lost command: the ladder's next rung.
    """
    for io in ios:
        due = timeline.since_fault(io.issued) + bound
        yield io if io.completed is not None and io.completed <= due else replace(
            io, completed=due)


def _kept(history: History) -> list[tuple[float, float]]:
    """Return the spans of time in which the backend kept every command that came."""
    return [(float(event.data["since"]), event.time) for event in history.select("harness", "kept")]


def worked_on(ios: Iterable[Io], kept: Sequence[tuple[float, float]]) -> Iterator[Io]:
    """Yield the I/Os as the parts of their time in which the target may have worked on them.

    That is all of it, except while the backend keeps every command: then the target's threads have
    work only when a command has just come, or is about to end. No ``completed`` is None.
    """
    for io in ios:
        assert io.completed is not None
        spans = [(io.issued, io.completed)]
        for begin, end in kept:
            spans = [part for span in spans for part in _without(span, begin, end)]
        if len(spans) > 1 or spans != [(io.issued, io.completed)]:
            spans += [(io.issued, min(io.completed, io.issued + ARRIVAL)),
                      (max(io.issued, io.completed - ARRIVAL), io.completed)]
        for begin, end in spans:
            yield replace(io, issued=begin, completed=end)


def _without(span: tuple[float, float], begin: float, end: float) -> list[tuple[float, float]]:
    """Return the parts of a span outside another."""
    parts = [(span[0], min(span[1], begin)), (max(span[0], end), span[1])]
    return [part for part in parts if part[0] < part[1]]


def _busy_seconds(sample: Event, fired: float, busy: BusyTimes) -> float:
    """Return the seconds of a sample in which a thread may have worked.

    These lie before the fault, or at times with a command in flight.
    """
    interval = float(sample.data["interval"])
    begin = sample.time - interval
    seconds = max(0.0, fired - begin) + busy.within(max(begin, fired), sample.time)
    return min(interval, seconds)


@dataclass(frozen=True)
class Burnt:
    """A thread's CPU use in one sample.

    ``cpu``: seconds used. ``idle``: seconds of the sample without work for the thread.
    """

    sample: Event
    cpu: float
    idle: float


def spinning(samples: Sequence[tuple[Event, float]], window: float) -> list[Spin]:
    """Return the threads that used a CPU for ``window`` idle seconds in consecutive samples.

    ``samples``: each with its seconds in which a thread may have worked. Each thread is returned
    once, with its longest spell.
    """
    spells: dict[tuple[int, str], list[Burnt]] = {}
    found: dict[tuple[int, str], Spin] = {}
    stacks: dict[tuple[int, str], tuple[str, ...]] = {}
    for sample, busy in samples:
        spells = {key: [*spells.get(key, []), burnt]
                  for key, burnt in _burning(sample, busy).items()}
        stacks.update(_stacks(sample))
        for key, spell in spells.items():
            spin = _spin(key, spell, window)
            if spin:
                found[key] = max(spin, found.get(key, spin), key=lambda each: each.seconds)
    return [replace(spin, stack=stacks.get(key, ())) for key, spin in found.items()]


def _stacks(sample: Event) -> dict[tuple[int, str], tuple[str, ...]]:
    return {
        _key(thread): tuple(thread["stack"])
        for thread in sample.data["threads"] if thread.get("stack")
    }


def _burning(sample: Event, busy: float) -> dict[tuple[int, str], Burnt]:
    interval = float(sample.data["interval"])
    if busy >= interval:
        return {}
    return {
        _key(thread): Burnt(sample, _share(thread, interval) * interval, interval - busy)
        for thread in sample.data["threads"] if _never_rests(thread, interval, busy)
    }


def _share(thread: Mapping[str, Any], interval: float) -> float:
    """Return a thread's share of a CPU between its own two readings."""
    over = float(thread.get("over", interval))
    return float(thread["cpu"]) / over if over > 0 else 0.0


def _never_rests(thread: Mapping[str, Any], interval: float, busy: float) -> bool:
    """Return whether a thread ran almost all the time in which a CPU was available to it.

    A spinning thread that yields (cond_resched) gets less of a CPU when others want it too. The
    ``busy`` seconds, in which it may have worked for commands, do not count.
    """
    over, waited = float(thread.get("over", interval)), float(thread.get("waited", 0))
    return (_share(thread, interval) >= SPINNING_LEAST
            and float(thread["cpu"]) - busy >= SPINNING * (over - waited - busy))


def _spin(
    key: tuple[int, str], spell: Sequence[Burnt], window: float,
) -> Spin | None:
    lasted = list(accumulate(each.idle for each in spell))
    if lasted[-1] < window * NEAR:
        return None
    full = next(number for number, each in enumerate(lasted) if each >= window * NEAR)
    elapsed = sum(float(each.sample.data["interval"]) for each in spell)
    share = sum(each.cpu for each in spell) / elapsed
    begin = spell[0].sample.time - spell[0].idle
    return Spin(key[0], key[1], begin, lasted[-1], share, seen=spell[full].sample.time)


def _settled_from(history: History, timeline: Timeline) -> float | None:
    """Return the time from which no task has a reason to wait: the teardown's end or deadline."""
    begin, end = operation(history, "teardown", timeline.begin)
    if begin is None:
        return timeline.fired
    deadline = begin.time + ladder(history).teardown
    return min(deadline, end.time) if end else deadline


def stuck_tasks(blocked: Sequence[Event], window: float) -> list[Stuck]:
    """Return the tasks in D state in every sample of the last ``window`` seconds or longer."""
    if not blocked:
        return []
    last = {_key(task): task for task in blocked[-1].data["tasks"] if not _idles(task)}
    since = dict.fromkeys(last, blocked[-1].time)
    waiting = set(last)
    for event in reversed(blocked):
        waiting &= {_key(task) for task in event.data["tasks"]}
        since.update(dict.fromkeys(waiting, event.time))
    return [
        Stuck(task, next(each.time for each in blocked if each.time >= since[key] + window * NEAR))
        for key, task in last.items() if blocked[-1].time - since[key] >= window * NEAR
    ]


def _key(task: Mapping[str, Any]) -> tuple[int, str]:
    return task["pid"], task["comm"]


def _idles(task: Mapping[str, Any]) -> bool:
    stack = stack_of(task)
    return bool(stack) and any(stack[0] == idler.frame for idler in IDLERS)
