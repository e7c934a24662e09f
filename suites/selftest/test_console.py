# SPDX-License-Identifier: GPL-2.0-or-later
"""The console's watcher: all lines of a quiet console, the reports of a flooded one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.watcher import console
from fixtures.watcher.console import ConsoleWatcher, may_be_report
from results.checkers import kernel_health
from results.history import Event, History, Recorder
from results.kernel_log import Kind, read

SOON = 10.0
LOGS = Path(__file__).parent / "logs/staged"
NOISE = "it is getting wet in here"


def watched(path: Path, content: bytes, wanted: str = "") -> History:
    """Return the history recorded from a console with this content."""
    path.touch()
    with (Recorder(path.with_suffix(".jsonl")) as recorder,
          ConsoleWatcher(path, 0, recorder, lambda: 1.0) as watcher):
        with path.open("ab") as file:
            file.write(content)
        assert not wanted or watcher.wait_for(wanted, SOON)
    return History.load(path.with_suffix(".jsonl"))


def lines(history: History) -> list[str]:
    """Return the recorded lines in recorded order."""
    return [event.data["text"] for event in history.select("console", "line")]


def test_a_quiet_console_is_recorded_whole(tmp_path: Path) -> None:
    history = watched(tmp_path / "console", b"one\r\n[    2.500000] two\nthree", "two")
    assert sorted(lines(history)) == ["[    2.500000] two", "one", "three"]
    assert history.first("console", "dropped") is None


@pytest.mark.parametrize("log", ["soft-lockup-6.1", "warning-6.12", "kasan-6.1", "panic-6.1",
                                 "hung-tasks-tcmu-6.1", "rcu-self-detected-6.1"])
def test_a_report_survives_a_flood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: str
) -> None:
    monkeypatch.setattr(console, "FLOOD", 100)
    report = (LOGS / f"{log}.log").read_text()
    flood = f"{NOISE}\n" * 500
    mixed = "".join(f"{line}\n{NOISE}\n" for line in report.splitlines())
    end = "[   99.000000] stf: scenario x ends\n"
    history = watched(tmp_path / "console", (flood + mixed + flood + end).encode(), "x ends")
    found = read("".join(f"{line}\n" for line in lines(history)[100:]))
    wanted = read(report)
    assert [(each.kind, each.title) for each in found] == [
        (each.kind, each.title) for each in wanted]
    assert wanted
    assert end.strip() in lines(history)
    assert NOISE not in lines(history)[100:]
    dropped = history.first("console", "dropped")
    assert dropped is not None
    assert dropped.data["lines"] == sum(
        text.count("\n") for text in (flood, mixed, flood, end)) - len(lines(history))


def test_long_lines_are_a_flood_sooner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "FLOOD_BYTES", 1000)
    history = watched(tmp_path / "console", (NOISE + "\n").encode() * 1000)
    assert len(lines(history)) == 1000 // len(NOISE)


def test_a_flood_of_trouble_ends_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "FLOOD", 100)
    monkeypatch.setattr(console, "RECORDED_MAX", 200)
    words = "BUG: something, over and over\n" * 1000 + "stf: scenario x ends\n"
    history = watched(tmp_path / "console", words.encode(), "x ends")
    assert len(lines(history)) == 201


def test_a_line_that_never_ends_is_cut(tmp_path: Path) -> None:
    history = watched(tmp_path / "console", b"x" * 3_000_000)
    assert sum(map(len, lines(history))) == 3_000_000
    assert len(lines(history)) > 1


def test_one_message_written_into_another_is_seen() -> None:
    assert may_be_report(f"{NOISE} and [   12.500000] WARNING: CPU: 0 PID: 7 at x.c:1 "
                         f"f+0x1/0x2 [m]")
    assert not may_be_report(f"[   12.500000] {NOISE}")
    assert read("[   12.500000] WARNING: CPU: 0 PID: 7 at x.c:1 f+0x1/0x2 [m]")[0].kind \
        is Kind.WARNING


CUT = (LOGS / "../recorded/warning-in-a-flood-6.1.log").resolve()


def test_a_report_cut_by_a_flood_keeps_its_order(tmp_path: Path) -> None:
    """The numbers of the lines keep the order of a report that a flood cuts.

    A message that begins in the middle of a line has the host's time, not its own. Sorted by time,
    its lines were out of order and the WARNING lost its function (seen in a guest).
    """
    marked = b"stf: scenario x begins\n" + CUT.read_bytes() + b"\nstf: scenario x ends\n"
    history = watched(tmp_path / "console", marked, "x ends")
    scenario = Event(0.0, "harness", "scenario", {"id": "x"})
    assert [event.data["number"] for event in history.select("console", "line")] \
        != list(range(1, len(lines(history)) + 1))
    (report,) = kernel_health.reports(History.of([scenario, *history.events]))
    assert report.title == "WARNING in stf_sick_warn (stf_sick_warn)"
