# SPDX-License-Identifier: GPL-2.0-or-later
"""A history is read from a file truncated by a crash, and the judge accepts any history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.history import Event, History, Recorder
from results.judge import judge
from results.verdict import Verdict
from suites.selftest.stories import Story, healthy

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def lines(story: Story) -> bytes:
    """Return a history as the bytes of history.jsonl."""
    return "".join(event.to_json() + "\n" for event in story.history().events).encode()


WHOLE = lines(healthy())


@QUICK
@given(cut=st.integers(0, len(WHOLE)))
def test_a_history_cut_anywhere_is_loaded_and_judged(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(WHOLE[:cut])
    history = History.load(path)
    assert len(history.events) == WHOLE[:cut].count(b"\n")
    judgement = judge(history)
    complete = len(history.events) == len(healthy().events)
    assert (judgement.verdict is Verdict.PASS) is complete
    json.dumps(judgement.to_json(), allow_nan=False)


def test_a_cut_last_line_with_half_a_character_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"time":1.0,"source":"a","kind":"b","data":{}}\n{"time":2.0,"so\xc3')
    assert History.load(path).events == (Event(1.0, "a", "b", {}),)


@pytest.mark.parametrize("line", [
    "", "{", "[]", "1", "null", '{"time":1.0}', '{"time":"x","source":"a","kind":"b","data":{}}',
    '{"time":[],"source":"a","kind":"b","data":{}}', '{"time":1,"source":"a","kind":"b","data":[]}',
    '{"time":NaN,"source":"a","kind":"b","data":{}}',
    '{"time":Infinity,"source":"a","kind":"b","data":{}}',
])
def test_what_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not an event"):
        Event.from_json(line)


def test_a_broken_line_in_the_middle_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"rubbish\n" + WHOLE)
    with pytest.raises(ValueError, match="rubbish"):
        History.load(path)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=5,
)


@QUICK
@given(data=st.data())
def test_the_judge_survives_any_value_anywhere(data: st.DataObject) -> None:
    events = list(healthy().events)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(events) - 1))
        event = events[at]
        key = data.draw(st.sampled_from([*event.data, "unheard of"]))
        changed = {**event.data, key: data.draw(VALUES)}
        if data.draw(st.booleans()):
            changed.pop(key)
        events[at] = Event(event.time, event.source, event.kind, changed)
    json.dumps(judge(History.of(events)).to_json(), allow_nan=False)


@QUICK
@given(keep=st.lists(st.booleans(), min_size=len(healthy().events), max_size=len(healthy().events)))
def test_the_judge_survives_any_missing_event(keep: list[bool]) -> None:
    events = [event for event, kept in zip(healthy().events, keep, strict=True) if kept]
    json.dumps(judge(History.of(events)).to_json(), allow_nan=False)


def test_the_recorder_writes_what_it_returns(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with Recorder(path) as recorder:
        recorder.record(2.0, "console", "line", text="second \udcff \u00e4")
        recorder.record(1.0, "harness", "phase", name="first")
        assert History.load(path) == recorder.history()
    recorder.record(3.0, "harness", "phase", name="late")
    assert [event.time for event in History.load(path).events] == [1.0, 2.0]


def test_equal_times_keep_their_order() -> None:
    events = [Event(1.0, "a", str(number)) for number in range(9)]
    assert History.of(events).events == tuple(events)


def test_first_last_select() -> None:
    history = History.of([Event(float(number), "a", "x" if number % 2 else "y")
                          for number in range(6)])
    assert [event.time for event in history.select("a", "x")] == [1.0, 3.0, 5.0]
    first, last = history.first("a"), history.last("a", "y")
    assert first is not None and last is not None
    assert (first.time, last.time) == (0.0, 4.0)
    assert history.first("b") is None
    assert history.last("b") is None
