# SPDX-License-Identifier: GPL-2.0-or-later
"""The fate of one I/O in the backend: the command that carried it, and who has it now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from results.history import Event, History
from results.standstill import shown_opcode

SECTOR = 512
BLOCK_SIZES = (512, 4096)
"""Bytes of a logical block; a step's lba counts in these."""

FLUSHES = frozenset({0x35, 0x91})
"""SYNCHRONIZE CACHE (10) and (16), SBC-4."""

CLOCKS = 0.05
"""Seconds by which a backend's event may seem to precede the issue of its I/O."""

DATA_POINTS = frozenset({"PARSE", "ALLOC_MEM", "EXEC", "ON_FREE_CMD"})
"""Points of a command's life; at others a request is none of the initiator's."""


def fate(history: History, io: Mapping[str, Any]) -> str:
    """Return the fate of an I/O that never ended as text; "" where the backend's record lacks it.

    ``io``: as ``results.block_io.Io.evidence`` returns it.
    """
    if not any(True for _ in _steps(history)):
        return ""
    last = _last(history, io)
    if last is None:
        return "no command for it reached the backend"
    what = _name(last)
    if last.data["action"] == "answered":
        status = last.data.get("status")
        ended = "" if status is None else f" with status {status:#04x}"
        times = sum(_carries(step, io) and step.data["action"] == "received"
                    for step in _steps(history))
        often = f"{times} commands for it, the last" if times > 1 else "its command"
        return (f"the backend answered {often} ({what}){ended} "
                f"{max(0.0, last.time - float(io['issued'])):.2f} s after its issue")
    gone = next(_ends(history, last), None)
    return f"its command ({what}) was {last.data['action']} by the backend" + (
        f", which then {gone}" if gone else " and never answered")


def held_to_the_end(history: History, io: Mapping[str, Any]) -> bool:
    """Return whether the test's own backend held the command of an I/O and never let it go."""
    last = _last(history, io)
    return last is not None and last.data["action"] == "held" and next(
        _ends(history, last), None) is None and not any(
            last.data["handle"] in event.data["handles"]
            and event.data.get("device") in {None, last.data.get("device")}
            for event in history.select("backend", "released") if event.time >= last.time)


def unanswered(history: History) -> list[str]:
    """Return the commands that the backend had when it ended or closed the device, as one text.

    Empty for none, or when it neither ended nor closed the device.
    """
    left: dict[tuple[object, object], Event] = {}
    for event in history.select("backend", "step"):
        key = (event.data.get("device"), event.data["handle"])
        left.pop(key, None)
        if event.data["action"] != "answered":
            left[key] = event
    ends = [(event, gone) for event in left.values()
            if (gone := next(_ends(history, event), None))]
    if not ends:
        return []
    event, gone = ends[0]
    number = "one command" if len(ends) == 1 else f"{len(ends)} commands, the first"
    return [f"the backend had {number} ({_name(event)}) when it {gone}"]


def _steps(history: History) -> Iterator[Event]:
    return (event for event in history.select("backend", "step")
            if event.data["point"] in DATA_POINTS)


def _last(history: History, io: Mapping[str, Any]) -> Event | None:
    """Return the last step of the command that carried an I/O, None when there was none."""
    steps = list(_steps(history))
    carried = [event for event in steps if _carries(event, io)]
    return _of_one(steps, carried[-1])[-1] if carried else None


def _name(step: Event) -> str:
    data = step.data
    device = f" of {data['device']}" if data.get("device") else ""
    code = "" if data["opcode"] is None else f", opcode {shown_opcode(data['opcode'])}"
    return f"handle {data['handle']}{device}{code}, at {data['point']}"


def _of_one(steps: list[Event], of: Event) -> list[Event]:
    """Return the steps of one command from a step on: until its handle is received again."""
    own = [event for event in steps if event.time >= of.time
           and event.data["handle"] == of.data["handle"]
           and event.data.get("device") == of.data.get("device")]
    again = next((number for number, event in enumerate(own) if number
                  and event.data["action"] == "received"
                  and event.data["point"] == of.data["point"]), len(own))
    return own[:again]


def _carries(step: Event, io: Mapping[str, Any]) -> bool:
    data = step.data
    if step.time < float(io["issued"]) - CLOCKS or data["action"] == "answered":
        return False
    if io["op"] == "flush":
        return data["opcode"] in FLUSHES
    if data["direction"] != io["op"]:
        return False
    if data["lba"] is None:
        return data["bytes"] == io["bytes"] and data["opcode"] is not None
    return any(data["lba"] * size == io["sector"] * SECTOR for size in BLOCK_SIZES)


def _ends(history: History, last: Event) -> Iterator[str]:
    """Yield the ends of the backend after a step, as text."""
    for event in history.select("backend", "closed", "exit"):
        if event.time < last.time:
            continue
        if event.kind == "exit":
            yield f"ended with status {event.data['status']}"
        elif event.data.get("device") in {None, last.data.get("device")}:
            yield "closed the device"
