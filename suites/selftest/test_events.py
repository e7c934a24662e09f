# SPDX-License-Identifier: GPL-2.0-or-later
"""Events are declared: those that the code records, and those in the selftests' histories.

``python -m suites.selftest.event_check PATH`` compares the histories of real runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from results import events, history
from results.events import KINDS, SOURCES, describe, problems, type_name
from results.history import Event, Recorder
from suites.selftest import event_check
from suites.selftest.event_check import differences
from suites.selftest.stories import healthy

ROOT = Path(__file__).parents[2]

WRITERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "note": (("fixtures", "harness"), ("suites", "harness")),
    "emit": (("targets", "backend"), ("fixtures/workload", "workload")),
    "report": (("fixtures/workload", "workload"),),
}
"""Functions that take an event's kind and data: the paths of their callers, and the events'
source."""

NOT_RECORDED = {"ready"}
"""Kinds of a workload's messages that its host side does not record."""

OF_PROGRAMS = ("fixtures/workload/chain", "targets/backend/cases_guest.py",
               "targets/lio/interface_guest.py", "targets/scst/interface_guest.py",
               "targets/scst/waiting_guest.py")
"""Guest modules whose messages become ``program`` events of the harness."""


@dataclass(frozen=True)
class Call:
    """A call in the code that records an event."""

    where: str
    source: str
    kind: str
    fields: frozenset[str]


def literal(node: ast.expr | None) -> str:
    """Return a string constant, "" for any other node."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def names(keywords: list[ast.keyword]) -> frozenset[str]:
    """Return the names of keyword arguments; those of ``**mapping`` are not known."""
    return frozenset(each.arg for each in keywords if each.arg)


def made_by(call: ast.Call, path: str) -> tuple[str, str, frozenset[str]] | None:
    """Return source, kind and field names of the event that a call records, None otherwise."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name == "record" and len(call.args) >= 3:
        return literal(call.args[1]), literal(call.args[2]), names(call.keywords)
    if name == "Event" and len(call.args) == 4:
        data = call.args[3]
        keys = data.keys if isinstance(data, ast.Dict) else []
        return literal(call.args[1]), literal(call.args[2]), frozenset(filter(None, map(
            literal, filter(None, keys))))
    for place, source in WRITERS.get(name, ()) if call.args else ():
        if path.startswith(place):
            return source, literal(call.args[0]), names(call.keywords)
    return None


def calls() -> Iterator[Call]:
    """Yield the calls that record events with literal source and kind."""
    for room in ("fixtures", "targets", "inject", "suites"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name.startswith(("suites/selftest/", *OF_PROGRAMS)):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                made = made_by(node, name) if isinstance(node, ast.Call) else None
                if made and made[0] and made[1]:
                    yield Call(f"{name}:{getattr(node, 'lineno', 0)}", *made)


CALLS = list(calls())


def test_the_calls_are_found() -> None:
    found = {(each.source, each.kind) for each in CALLS}
    assert {("harness", "phase"), ("backend", "step"), ("block", "issue"), ("workload", "pdu"),
            ("fault", "fired"), ("target", "end"), ("sampler", "resources")} <= found


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.kind} {call.where}")
def test_a_recorded_event_is_declared(call: Call) -> None:
    if call.kind in NOT_RECORDED and call.source == "workload":
        return
    declared = KINDS.get((call.source, call.kind))
    assert declared, f"{call.where}: {call.source}/{call.kind} is not declared in results/events.py"
    known = {row.field for row in describe() if (row.source, row.kind) == (call.source, call.kind)}
    assert declared.open or call.fields <= known, f"{call.where}: {call.fields - known}"


@pytest.mark.parametrize("fault", ["close", "release"])
def test_a_whole_history_is_as_declared(fault: str) -> None:
    assert not differences(healthy(fault).history().events)


def test_every_kind_and_field_has_a_meaning() -> None:
    assert all(each.summary.endswith(".") for each in KINDS.values())
    rows = list(describe())
    assert {(row.source, row.kind) for row in rows} == set(KINDS)
    assert not [row for row in rows if not row.meaning or "typing" in row.type]
    assert {source for source, _ in KINDS} == set(SOURCES)


STEP = {"point": "EXEC", "action": "received", "handle": 1, "opcode": 42, "direction": "write",
        "lba": 0, "bytes": 4096}


@pytest.mark.parametrize(("data", "wrong"), [
    (STEP, None),
    ({**STEP, "status": 0, "spin": 0.001}, None),
    ({**STEP, "spin": 1}, None),
    ({**STEP, "opcode": "2a"}, "opcode is '2a', not integer or null"),
    ({**STEP, "opcode": True}, "opcode is True, not integer or null"),
    ({**STEP, "action": "seen"}, "action is 'seen', not 'received', 'held', 'answered'"),
    ({**STEP, "color": 1}, "has color, which is not declared"),
    ({name: STEP[name] for name in STEP if name != "lba"}, "lacks lba"),
])
def test_problems_of_a_field(data: dict[str, object], wrong: str | None) -> None:
    found = problems(Event(1.0, "backend", "step", data))
    assert (not found) if wrong is None else (len(found) == 1 and wrong in found[0])


def test_problems_within_lists_and_objects() -> None:
    task = {"pid": 1, "comm": "fio", "state": "D", "wchan": "", "stack": ["a", 1]}
    assert problems(Event(1.0, "sampler", "blocked", {"tasks": [task]})) == [
        "sampler/blocked: tasks: stack is 1, not string"]
    assert problems(Event(1.0, "sampler", "blocked", {"tasks": [3]})) == [
        "sampler/blocked: tasks is no object"]
    assert problems(Event(1.0, "sampler", "resources", {
        "when": "after", "slabs": {"x": None}, "modules": {}, "free_kib": 1, "taint": 0,
    })) == ["sampler/resources: slabs is None, not integer"]


def test_an_unknown_kind_and_an_open_one() -> None:
    assert problems(Event(1.0, "backend", "sang", {})) == ["backend/sang is not declared"]
    program = {"program": "initiator", "said": "sent", "tag": 3}
    assert not problems(Event(1.0, "harness", "program", program))


def test_types_are_named_as_json_has_them() -> None:
    assert type_name(list[str | None]) == "list of string or null"
    assert type_name(dict[str, float]) == "object of number"


def test_the_check_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, kind in (("right", "undone"), ("wrong", "undone"), ("wrong", "undo")):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        with Recorder(folder / "history.jsonl") as recorder:
            recorder.record(1.0, "fault", kind, fault="release")
    assert event_check.main([str(tmp_path / "right")]) == 0
    assert event_check.main([str(tmp_path)]) == 1
    assert "fault/undo is not declared" in capsys.readouterr().out


def test_the_history_refers_to_the_declarations() -> None:
    assert events.__name__ in (history.__doc__ or "")
