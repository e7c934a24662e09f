# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about commands that are no failure by themselves, but tell one defect from its like.

Two defects may make the same thread spin, or leave the same WRITE without an answer. They differ in
the commands: where each was when its backend ended, whose buffer it used, how the kernel lists it
afterwards, and what became of the function that aborted it. An entry of the known issues names the
facts that its defect needs, and those that it excludes (results.known_issues).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from results.history import Event, History
from results.rounds import rounds
from results.standstill import NONE
from results.timeline import Timeline, phase
from results.verdict import Signature

NAME = "commands"
"""The name under which patterns of known issues refer to these facts, as to a check."""

HELD = "held"
BACKGROUND = "background"
LEFT = "left"
UNANSWERED = "unanswered"
FUNCTION = "function"
REFUSED = "refused"

KINDS: Mapping[str, str] = {
    HELD: "a backend had received the command and not answered it when its record ended",
    BACKGROUND: "the same, after an answer with SCST_EXEC_REPLY_BACKGROUND",
    LEFT: "the command was in the memory of the stalled guest (only with debug symbols)",
    UNANSWERED: "an initiator that waits for the command's answer has received none",
    FUNCTION: "a task management function, with its response, \"lost\" or \"unanswered\"",
    REFUSED: "the kernel refused a backend's answer, with this errno",
}
"""The kinds of facts."""

REJECTED = "FUNC_REJECTED"
"""The response of a task management function that is not carried out (RFC 7143 11.6.1)."""

FLAGS: Mapping[str, tuple[str, str]] = {
    "sent_to_user": ("not sent", "sent"), "seen_by_user": ("not seen", "seen"),
    "aborted": ("not aborted", "aborted"), "jammed": ("not jammed", "jammed"),
    "cmd": ("without a SCSI command", "with a SCSI command"),
}
"""The anchors of a stuck command's flags, not set and set. ``jammed``: the kernel ended it for a
backend that is gone."""

SCST_USER = "scst_user"
"""The kind of a row on a command of scst_user (harness evidence, stuck)."""

Key = tuple[str, int]
"""A device's name, "" where a backend has only one, and a command's handle."""


def facts(history: History) -> tuple[Signature, ...]:
    """Return the facts, each once: their kind is one of ``KINDS``."""
    found = [*_of_backend(history), *_of_kernel(history), *_of_initiator(history)]
    return tuple(dict.fromkeys(found))


def _of_backend(history: History) -> Iterator[Signature]:
    """Yield the commands that the backends had not answered, with the owner of their buffers.

    A buffer belongs to the device whose command was the last to get memory for it (ALLOC_MEM).
    """
    kept: dict[Key, Event] = {}
    allotted: set[Key] = set()
    owners: dict[int, str] = {}
    background = {_key(event) for event in history.select("backend", "misanswered")
                  if event.data["fields"].get("reply_type") == "BACKGROUND"}
    for event in history.select("backend", "step"):
        key, data = _key(event), event.data
        if data["action"] == "answered":
            kept.pop(key, None)
            if data["point"] == "ALLOC_MEM":
                allotted.add(key)
            continue
        kept[key] = event
        if data.get("pbuf") and key in allotted:
            allotted.discard(key)
            owners[data["pbuf"]] = key[0]
    fired = Timeline.of(history).fired
    for key, event in kept.items():
        yield _kept(event, owners, fired, BACKGROUND if key in background else HELD)
    for event in history.select("backend", "refused"):
        yield Signature.of(REFUSED, str(event.data["error"]))


def _kept(event: Event, owners: Mapping[int, str], fired: float | None, kind: str) -> Signature:
    device, owner = _key(event)[0], owners.get(event.data.get("pbuf") or 0)
    when = None if fired is None else (
        "received before the fault" if event.time < fired else "received after the fault")
    return Signature.of(
        kind, f"at {event.data['point']}", event.data["direction"],
        f"device {device}" if device else None, when,
        None if owner is None else "its device's buffer" if owner == device
        else f"a buffer of {owner}")


def _key(event: Event) -> Key:
    return str(event.data.get("device", "")), int(event.data["handle"])


def _of_kernel(history: History) -> Iterator[Signature]:
    taken = history.last("harness", "evidence")
    for row in taken.data.get("stuck", ()) if taken else ():
        if row.get("kind") == SCST_USER:
            yield left(row)


def left(row: Mapping[str, Any]) -> Signature:
    """Return the fact about a command of scst_user that was read from a stalled guest's memory."""
    return Signature.of(
        LEFT, f"device {row['device']}", str(row["state"]), f"ref {row['ref']}",
        *(words[row[flag] not in NONE] for flag, words in FLAGS.items()))


def _of_initiator(history: History) -> Iterator[Signature]:
    for part in rounds(history) or [history]:
        fault = phase(part, "fault")
        responses = {event.data["number"]: event for event in part.select("workload", "response")}
        functions = [(event, responses.get(event.data["number"]))
                     for event in part.select("workload", "function")]
        for function, response in functions:
            yield answered(function, response, fault)
        rejected = {function.data.get("session") for function, response in functions
                    if response and response.data.get("response") == REJECTED}
        yield from _without_answer(part, rejected)


def answered(function: Event, response: Event | None, fault: float | None) -> Signature:
    """Return the fact about a task management function. ``fault``: s, when the fault began."""
    data: Mapping[str, Any] = response.data if response else {}
    when = None if fault is None or response is None else (
        "before the fault" if response.time < fault else "not before the fault")
    return Signature.of(FUNCTION, str(function.data["name"]),
                        data.get("response") or data.get("error") or UNANSWERED, when)


def _without_answer(part: History, rejected: Set[object]) -> Iterator[Signature]:
    issued = {event.data["number"]: event for event in part.select("workload", "command")}
    for answer in part.select("workload", "answer"):
        command = issued.get(answer.data["number"])
        if command and answer.data.get("error") == UNANSWERED:
            yield Signature.of(
                UNANSWERED, str(command.data["name"]),
                "its session's function was rejected"
                if command.data.get("session") in rejected
                else "no function of its session was rejected")
