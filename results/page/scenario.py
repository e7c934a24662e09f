# SPDX-License-Identifier: GPL-2.0-or-later
"""The digest: the page's data on one scenario, small and clean, kept in the scenario's folder.

A history has megabytes, of which the page shows kilobytes. The digest is made when the scenario has
ended and kept beside its source files. It is made again when it is missing or its sources have
changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from results import report
from results.checkers import kernel_health
from results.history import History
from results.judge import Judgement
from results.kernel_log.frames import FRAME, POINTER
from results.page import latency
from results.page.clean import is_script, quoted, script, text
from results.standstill import quoted as quoted_reports
from results.store import HISTORY, VERDICT, ScenarioRecord
from results.timeline import Timeline
from results.verdict import Check, Verdict

DIGEST = ".page.json"
FORMAT = 3
"""Increase it when the page could no longer show an existing digest correctly."""

EVIDENCE = "evidence"
STUCK = f"{EVIDENCE}/stuck.json"
WAITERS = f"{EVIDENCE}/waiters.json"
ACCOUNT = f"{EVIDENCE}/evidence.json"
SOURCES = (VERDICT, HISTORY, STUCK, WAITERS, ACCOUNT)
"""Source files of a digest, relative to the scenario's folder."""

HISTORY_MAX = 256 << 20
JSON_MAX = 32 << 20
"""Maximum bytes of a file that is read; larger files are only linked."""

POINTS = {True: 120, False: 600}
"""Maximum points of the chart: of a scenario that passed, and of any other."""

MOMENTS_MAX = 120
REPORTS_MAX = 8
REPORT_LINES = 60
LINE_MAX = 300
ROWS_MAX = 60
LINES_MAX = 200
QUOTED_MAX = 6

UNFINISHED = "UNFINISHED"
"""Outcome of a scenario that was begun and has no verdict."""
BROKEN = "BROKEN"
"""Outcome of a scenario whose verdict cannot be read."""

UNSEEN = (b'"source":"console"', b'"source":"sampler"', b'"source":"scsi","kind":"start"',
          b'"source":"scsi","kind":"done"', b'"kind":"writing"', b'"kind":"wrote"',
          b'"source":"workload","kind":"read"', b'"kind":"found"')
"""Markers of the lines that the page never uses: nine in ten of a history."""

STEP = b'"source":"backend","kind":"step"'
"""Marker of the lines that the page uses only for a scenario that did not pass."""

HEAD = 120
"""Bytes of a line that contain its source and kind."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Digest:
    """The page's data on one scenario.

    ``row``: for the list and the matrix. ``detail``: shown when the scenario is opened, as JSON
    that can stand in a script element (``clean.script``). ``replay``: the fields of the scenario's
    record that are needed to run it again.
    """

    row: Mapping[str, Any]
    replay: Mapping[str, Any] | None
    detail: str


def digest(folder: Path) -> Digest:
    """Return a scenario's digest: the one kept if it is still valid, or a new one, which is kept.

    Defects of a scenario's files raise no error: the digest reports them.
    """
    sources = _stamps(folder)
    with suppress(OSError, ValueError, KeyError, TypeError):
        head, detail = (folder / DIGEST).read_text(encoding="ascii").splitlines()
        kept = json.loads(head)
        # It goes into the page as it is, and the run may come from an untrusted source.
        if (kept["format"], kept["sources"]) == (FORMAT, sources) and is_script(detail):
            return Digest(kept["row"], kept["replay"], detail)
    made = _Maker(folder).digest()
    head = script({"format": FORMAT, "sources": sources, "row": made.row, "replay": made.replay})
    with suppress(OSError):  # a full disk, or another user's run
        beside = folder / f"{DIGEST}.{os.getpid()}"
        beside.write_text(f"{head}\n{made.detail}\n", encoding="ascii")
        beside.replace(folder / DIGEST)
    return made


def _stamps(folder: Path) -> dict[str, list[int]]:
    """Return size and modification time of each source that exists."""
    stamps = {}
    for name in SOURCES:
        with suppress(OSError):
            status = (folder / name).stat()
            stamps[name] = [status.st_size, status.st_mtime_ns]
    return stamps


@dataclass
class _Maker:
    """Makes one digest; an error becomes a problem that the page shows."""

    folder: Path
    problems: list[str] = field(default_factory=list)

    def digest(self) -> Digest:
        judgement = self._try(VERDICT, self._judgement)
        outcome = str(judgement.outcome) if judgement else (
            BROKEN if (self.folder / VERDICT).exists() else UNFINISHED)
        passed = judgement is not None and judgement.verdict is Verdict.PASS
        history = self._try(HISTORY, lambda: self._history(passed, judgement is None))
        history = history or History(())
        shown = judgement or self._from_console(history)
        detail = self._try("the time line", lambda: self._of_history(shown, history, passed)) or {}
        stuck, waiters = self._rows(STUCK), self._rows(WAITERS)
        rest = self._try("the evidence", lambda: self._of_evidence(shown, stuck, waiters)) or {}
        checks = self._try("the checks", lambda: self._of_judgement(shown)) or {}
        led = self._try("the headline", lambda: self._cause(shown, history, stuck, waiters)) or {}
        scenario = self._try("the scenario's record", lambda: self._scenario(history)) or {}
        row = {
            "id": text(self.folder.name, 255), "outcome": outcome,
            "by": text(judgement.decided_by.name, 40) if judgement and judgement.decided_by else "",
            "why": self._why(judgement, outcome, history),
            "known": text(judgement.known.id, 80) if judgement and judgement.known else "",
            "slow": text("; ".join(map(str, shown.slow)), 400),
            "axes": scenario.get("axes", {}),
            "figures": {name: _number(shown.figures[name].value) for name in
                        ("longest_command", "teardown_time", "wall_time") if name in shown.figures},
            "titles": sorted({text(each["title"], 200) for each in quoted_reports(shown.checks)}),
        }
        detail = {**checks, **led, **rest, **detail,
                  "problems": [text(each) for each in self.problems]}
        return Digest(row, scenario.get("replay"),
                      script({name: value for name, value in detail.items() if value}))

    def _try(self, what: str, action: Callable[[], Result]) -> Result | None:
        """Do one part; show its error as a problem, without hiding any other part."""
        try:
            return action()
        except FileNotFoundError:
            return None
        except Exception as error:
            self.problems.append(f"{what} cannot be shown: {type(error).__name__}: {error}")
            return None

    def _judgement(self) -> Judgement:
        if (self.folder / VERDICT).stat().st_size > JSON_MAX:
            raise ValueError("it is too large")
        return ScenarioRecord(self.folder).load()

    def _history(self, passed: bool, console: bool) -> History:
        """Read the events that the page uses; console lines only for a scenario without verdict."""
        path = self.folder / HISTORY
        if path.stat().st_size > HISTORY_MAX:
            raise ValueError(f"it has {path.stat().st_size >> 20} MiB")
        unseen = (*(UNSEEN[1:] if console else UNSEEN), *((STEP,) if passed else ()))
        found = History.salvage(path, lambda line: not any(
            each in line[:HEAD] for each in unseen))
        if found.broken:
            self.problems.append(f"{found.broken} lines of {HISTORY} are no events")
        return found.history

    def _from_console(self, history: History) -> Judgement:
        """Return a judgement by the kernel's reports, for a scenario without verdict."""
        check = self._try("the console", lambda: kernel_health.check(history))
        failed = check is not None and check.verdict is Verdict.FAIL
        return Judgement(self.folder.name, (check,) if check and failed else ())

    def _rows(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        read = self._try(name, lambda: json.loads(path.read_text(errors="replace"))
                         if path.stat().st_size <= JSON_MAX else None)
        return [each for each in read if isinstance(each, dict)] if isinstance(read, list) else []

    def _why(self, judgement: Judgement | None, outcome: str, history: History) -> str:
        if judgement:
            return text(judgement.cause, 300)
        if outcome == BROKEN:
            return text(next((each for each in self.problems if each.startswith(VERDICT)),
                             f"{VERDICT} cannot be read"), 300)
        if history.first("harness", "scenario") is None:
            return "it has records and no verdict: no scenario, or one that had hardly begun"
        phase = history.last("harness", "phase")
        where = f" in phase {phase.data.get('name')}" if phase else ""
        return text(f"it was begun and not judged: its record ends{where}", 300)

    def _cause(
        self, judgement: Judgement, history: History, stuck: list[dict[str, Any]],
        waiters: list[dict[str, Any]],
    ) -> dict[str, Any]:
        """Return cause and consequences; those of a scenario judged before there were headlines."""
        if judgement.verdict is not Verdict.FAIL:
            return {}
        words = [judgement.cause, *judgement.consequences] if judgement.headline else report.cause(
            judgement, history, stuck, waiters)
        return {"cause": text(words[0], 1000),
                "consequences": [text(each, 600) for each in words[1:]]}

    def _of_judgement(self, judgement: Judgement) -> dict[str, Any]:
        first = judgement.decided_by
        checks = sorted(judgement.checks, key=lambda check: check is not first)
        detail: dict[str, Any] = {
            "checks": [[str(each.verdict), text(each.name, 40), text(each.reason)]
                       for each in checks],
            "figures": [[text(name, 60), _number(figure.value), text(figure.unit, 10)]
                        for name, figure in sorted(judgement.figures.items())],
            "reports": _reports(judgement),
        }
        if judgement.slow:
            detail["slow"] = [text(each) for each in judgement.slow]
        if judgement.known:
            detail["known"] = [text(judgement.known.id, 80), text(judgement.known.link),
                               *map(text, judgement.matched)]
        if first and judgement.verdict is not Verdict.PASS:
            detail["evidence"] = _excerpts(first)
        return detail

    def _of_evidence(
        self, judgement: Judgement, stuck: list[dict[str, Any]], waiters: list[dict[str, Any]],
    ) -> dict[str, Any]:
        account = self._try(ACCOUNT, lambda: json.loads((self.folder / ACCOUNT).read_text()))
        missing = account.get("missing", []) if isinstance(account, dict) else []
        return {
            "stuck": [[[text(cell, 120) for cell in cells] for cells in table[:ROWS_MAX]]
                      for table in report.alike(stuck)],
            "tasks": [text(line, 200) for line in report.standing(judgement, waiters)][:LINES_MAX],
            "missing": [text(each) for each in missing][:ROWS_MAX],
        }

    def _of_history(self, judgement: Judgement, history: History, passed: bool) -> dict[str, Any]:
        if not history.events:
            return {}
        timeline = Timeline.of(history)
        origin = report.zero(timeline)
        moments = report.moments(judgement, history)
        detail: dict[str, Any] = {
            "since": "begin" if timeline.fired is None else "fault",
            "times": [[round(each.time - origin, 3), text(each.source, 40), text(each.words, 300)]
                      for each in moments[:MOMENTS_MAX]],
        }
        if not passed:
            detail["flying"] = [text(line, 300) for line in report.in_flight(history)]
        if found := latency.samples(history, timeline):
            detail["chart"] = latency.drawing(history, timeline, found, POINTS[passed])
            detail["chart"]["reports"] = [
                round(each["time"] - origin, 3) for each in quoted_reports(judgement.checks)
                if each["time"] is not None][:ROWS_MAX]
            detail["spread"] = latency.distribution(timeline, found)
        return detail

    def _scenario(self, history: History) -> dict[str, Any]:
        event = history.first("harness", "scenario")
        if event is None:
            return {}
        data = event.data
        return {
            "axes": {name: text(value, 80) for name, value in axes(data).items()},
            "replay": {name: data[name] if isinstance(data.get(name), int)
                       else text(data.get(name, ""), 255) for name in ("id", "kernel", "seed")},
        }


def axes(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a scenario's record that can be an axis of the matrix.

    Options of the device are each an axis by their own names.
    """
    point = scenario.get("point") or {}
    device = scenario.get("device") or {}
    commands, functions = scenario.get("commands") or {}, scenario.get("functions") or {}
    named = {
        "point": point.get("state") if point.get("count") else "none",
        "mechanism": scenario.get("fault"),
        "target": scenario.get("target"),
        "kernel": scenario.get("kernel"),
        "transport": scenario.get("transport"),
        "commands": commands.get("kind") or point.get("direction"),
        "commands held": point.get("count"),
        "function": functions.get("function"),
        "order": functions.get("order"),
        "variant": scenario.get("variant") or None,
        "test": str(scenario.get("test") or scenario.get("story") or "").split("::")[-1] or None,
        **{name: device.get(name) for name in ("handler", "threads", "multi")},
        **(device.get("options") or {}),
    }
    return {name: value for name, value in named.items() if value is not None}


def _reports(judgement: Judgement) -> list[dict[str, Any]]:
    """Return the kernel's reports, each title once, with the lines that name it."""
    found = quoted_reports(judgement.checks)
    first: dict[str, Mapping[str, Any]] = {}
    for each in found:
        first.setdefault(each["title"], each)
    return [
        {"title": text(title, 200), "times": sum(each["title"] == title for each in found),
         "frame": text(each["frame"] or "", 120),
         "facts": [text(f"{name} {each[name]}", 120) for name in ("task", "cpu")
                   if each.get(name) is not None],
         "lines": [text(line, LINE_MAX) for line in each["lines"][:REPORT_LINES]],
         "naming": _naming(each),
         "cut": len(each["lines"]) > REPORT_LINES}
        for title, each in list(first.items())[:REPORTS_MAX]
    ]


def _naming(quote: Mapping[str, Any]) -> list[int]:
    """Return the number of the line with the frame that names a report; without one, the first."""
    frame = quote["frame"]
    # Cut first: the patterns take quadratic time in a line's length, which is unlimited.
    lines = [str(line)[:LINE_MAX] for line in quote["lines"][:REPORT_LINES]]
    named = [
        number for number, line in enumerate(lines)
        for found in (POINTER.search(line), FRAME.search(line))
        if frame and found and found["function"] == frame
    ]
    named += [number for number, line in enumerate(lines) if frame and frame in line]
    return named[:1] or [0][:len(lines)]


def _excerpts(check: Check) -> list[str]:
    """Return a check's evidence as lines of JSON; reports are shown separately."""
    return [
        text(json.dumps(quoted(each), ensure_ascii=False), 800) for each in check.evidence
        if not (isinstance(each, Mapping) and "title" in each)
    ][:QUOTED_MAX]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
