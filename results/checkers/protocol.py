# SPDX-License-Identifier: GPL-2.0-or-later
"""Protocol: the kernel keeps to its interface with the backend, which is the witness.

Each command comes to each point once, an answer is accepted if the test has not falsified it, and
the backend itself reports what else breaks the interface: fields that are left unwritten or have a
wrong value, a wrong order, buffers and sessions that it does not know. What follows from a wrong
answer that the test requested is the test's own.

A backend that was stopped by a signal is no witness of the moment after: the kernel restarts its
ioctl, which gives the answers a second time (SCST_USER_REPLY_AND_GET_CMD; signal(7), SA_RESTART).
While allocations fail on request, an answer may be refused for want of memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from results.checkers import EVIDENCE_MAX, cited
from results.history import Event, History
from results.timeline import Timeline
from results.verdict import Check, Figure, Signature, Verdict

NAME = "protocol"

SILENT = 1.0
"""Seconds without any event of a backend that does not report its continuation, after which it may
have been stopped."""

AROUND = 1.0
"""Seconds before and after a continuation in which a refused answer may be one that was repeated;
the thread that reports the continuation may run after the one whose answer is refused."""

SOURCE = "scst_user_spec, target_core_user.h: a command is passed on once, and answered once"
"""The interfaces' documents."""

WITHOUT_MEMORY = frozenset({"ENOMEM", "EFAULT"})
"""Errors of an answer whose buffer cannot be mapped (dev_user_map_buf, scst_user.c)."""


@dataclass(frozen=True)
class Finding:
    """What the kernel did against its interface: the event, a sentence, the signature."""

    event: Event
    words: str
    signature: Signature


def check(history: History) -> Check | None:
    """FAIL for the kernel's breaches of its interface; None without a backend.

    UNKNOWN when a backend that compares messages has seen none, although I/O was carried out.
    """
    received = [event for event in history.select("backend", "step")
                if event.data["action"] == "received"]
    entries = _entries(history)
    figures = {"commands_received": Figure(len(received), "1"),
               **({"messages_compared": Figure(entries, "1")} if entries else {})}
    if not history.events:
        return None
    timeline = Timeline.of(history)
    found = sorted((each for each in _findings(history) if timeline.witnessed(each.event.time)),
                   key=lambda each: each.event.time)
    if found:
        return Check(
            NAME, Verdict.FAIL, _reason(found, len(received), history),
            [{"time": each.event.time, **each.event.data} for each in found[:EVIDENCE_MAX]],
            {**figures, **timeline.detected(NAME, found[0].event.time)},
            list(dict.fromkeys(each.signature for each in found)))
    if not received and not entries:
        return _nothing_seen(history)
    compared = f"; {max(entries, len(received))} messages of the kernel or more were compared " \
        "with the interface" if entries else ""
    return Check(NAME, Verdict.PASS, f"{len(received)} commands came once each, and no correct "
                 f"answer was refused{compared}", (), figures)


def _reason(found: Sequence[Finding], received: int, history: History) -> str:
    """Return a sentence about the first finding, with the number of all."""
    more = _more(history)
    count = len(found) + more
    others = f", {count} breaches among {received} commands" if count > 1 else ""
    return f"{found[0].words}{others}"


def _more(history: History) -> int:
    """Return the number of breaches that have no event of their own."""
    counted: Counter[object] = Counter()
    for event in history.select("backend", "breaches"):
        device = event.data.get("device")
        counted[device] = max(counted[device], sum(event.data["rules"].values()))
    listed = Counter(event.data.get("device") for event in history.select("backend", "breach")
                     if not event.data["provoked"])
    return sum(max(0, count - listed[device]) for device, count in counted.items())


def _nothing_seen(history: History) -> Check | None:
    """Return UNKNOWN for a witness without material; None where there was none to be had."""
    done = sum(event.data["error"] is None for event in history.select("block", "complete"))
    if not done or not _watches(history):
        return None
    return Check(NAME, Verdict.UNKNOWN, f"{done} I/Os were carried out, and the backend received "
                 "no command")


def _watches(history: History) -> bool:
    """Return whether a backend compared the kernel's messages with their interface."""
    return any(event.data.get("witness") for event in history.select("backend", "ready"))


def _entries(history: History) -> int:
    """Return the number of the kernel's messages that were compared, at least."""
    total, of_device = 0, Counter[object]()
    for event in history.select("backend", "watched", "ready", "registered"):
        device = event.data.get("device")
        if event.kind == "watched":
            of_device[device] = max(of_device[device], event.data["entries"])
        else:
            total += of_device.pop(device, 0)
    return total + of_device.total()


def _findings(history: History) -> Iterator[Finding]:
    for event in history.select("backend", "breach"):
        if not event.data["provoked"]:
            yield Finding(event, _broken(event), Signature.of("breach", str(event.data["rule"]),
                                                              str(event.data["point"])))
    for event in () if _watches(history) else _twice(history):
        yield Finding(event, f"handle {event.data['handle']} came to the backend twice in "
                      f"{event.data['point']}, allowed: once{cited(SOURCE)}",
                      Signature.of("twice", str(event.data["point"])))
    for event in _refused(history):
        yield Finding(event, f"the kernel refused a correct answer to handle "
                      f"{event.data['handle']} with {event.data['error']}, allowed: accepted"
                      f"{cited(SOURCE)}", Signature.of("refused", str(event.data["error"])))


def _broken(event: Event) -> str:
    """Return a sentence about a breach: rule, command, the value seen beside the value allowed."""
    data = event.data
    handle = f"handle {data['handle']}" if data["handle"] is not None else ""
    where = " of ".join(filter(None, (data["point"], handle)))
    return (f"the kernel broke the rule {data['rule']}{' in ' if where else ''}{where}: "
            f"{data['seen']}, allowed: {data['allowed']}{cited(data['document'])}")


def _twice(history: History) -> Iterator[Event]:
    """Yield the events of commands that were at the same point before; a new device counts anew.

    A backend that compares messages reports such commands itself.
    """
    seen: set[tuple[object, int, str]] = set()
    for event in history.select("backend", "step", "ready", "registered"):
        if event.kind != "step":
            seen.clear()
        elif event.data["action"] == "received":
            key = (event.data.get("device"), event.data["handle"], event.data["point"])
            if key in seen and event.data["point"] not in REPEATED:
                yield event
            seen.add(key)


REPEATED = frozenset({"EXT_COPY_REMAP"})
"""Points to which a command comes once for each of its segments."""


def _refused(history: History) -> Iterator[Event]:
    """Yield the refusals of answers that the test has not falsified or repeated."""
    falsified = {(event.data.get("device"), handle)
                 for event in history.select("backend", "misanswered", "lied")
                 for handle in (event.data["handle"], event.data.get("as_handle"))}
    continued = _continuations(history)
    without_memory = any(event.data["count"] for event in history.select("fault", "injected"))
    refused = [event for event in history.select("backend", "refused") if event.data["handle"] >= 0]
    repeated = [_near(continued, event.time) for event in refused]
    falsified |= {(event.data.get("device"), event.data["handle"])
                  for event, again in zip(refused, repeated, strict=True) if again}
    for event in refused:
        if (event.data.get("device"), event.data["handle"]) not in falsified and not (
                without_memory and event.data["error"] in WITHOUT_MEMORY):
            yield event


def _near(times: Sequence[float], time: float) -> bool:
    """Return whether one of the sorted times lies AROUND a time."""
    at = bisect_left(times, time - AROUND)
    return at < len(times) and times[at] <= time + AROUND


def _continuations(history: History) -> list[float]:
    """Return the times at which a stopped backend was continued, or may have been."""
    if _watches(history):
        return [event.time for event in history.select("backend", "continued")]
    times = sorted(event.time for event in history.select("backend"))
    return [after for before, after in pairwise(times) if after - before >= SILENT]
