# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of a run: built from any state of a run's folder, without markup from the run's text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from results import page
from results.errors import WrongUsageError
from results.history import Event, History, Recorder
from results.judge import judge
from results.known_issues import KnownIssue
from results.page import clean, document, latency, scenario
from results.page.document import scenario_folders
from results.page.scenario import BROKEN, DIGEST, UNFINISHED, axes
from results.store import Run
from results.timeline import Timeline
from results.verdict import Verdict
from suites.selftest import synthetic
from suites.selftest.stories import SCENARIO, Story, healthy, io
from suites.selftest.synthetic import locked_up, stuck

HOSTILE = ('</script><script>alert(1)</script><img src=x onerror=alert(2)>"\'`&amp;<!--\x1b[31m\x00'
           '\u202e\u2028\ud800')


class Scripts(HTMLParser):
    """Collects the script elements of a page, and the names of all other elements."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: dict[str, str] = {}
        self.names: list[str] = []
        self._open: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        if tag == "script":
            self._open = dict(attrs).get("id") or ""
            self.scripts[self._open] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.scripts[self._open] += data


class Page:
    """A written page, read back."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        parser = Scripts()
        parser.feed(self.text)
        parser.close()
        self.names = parser.names
        self._scripts = parser.scripts
        self.index: dict[str, Any] = json.loads(self._scripts["index"])

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcomes by scenario, in the page's order."""
        return {row[0]: row[1] for row in self.index["rows"]}

    def detail(self, name: str) -> dict[str, Any]:
        """Return the page's data of a scenario."""
        found: dict[str, Any] = json.loads(
            self._scripts[f"d{list(self.outcomes).index(name)}"])
        return found


def named(story: Story, name: str) -> History:
    """Return a history under another scenario id."""
    quoted = json.dumps(name)[1:-1]
    return History(tuple(Event.from_json(event.to_json().replace(SCENARIO, quoted))
                         for event in story.history().events))


def record(run: Run, name: str, story: Story, known: KnownIssue | None = None) -> Path:
    """Store a history in a run as a judged scenario of that name."""
    renamed = named(story, name)
    kept = run.scenario(name)
    with Recorder(kept.history) as recorder:
        recorder.extend(renamed.events)
    found = judge(renamed)
    matched = ("ledger: open (write)",) if known and found.verdict is Verdict.FAIL else ()
    kept.save(type(found)(found.scenario, found.checks, known=known, matched=matched))
    kept.console.write_text("console\n")
    return kept.path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Provide a run."""
    return Run.begin(tmp_path, {"target": {"name": "lio"}, "options": {"target": "lio"}})


# --- content --------------------------------------------------------------------------------------


def test_known_and_fixed_are_told_apart(run: Run) -> None:
    issue = KnownIssue("pool", "https://example.org/1")
    for name, story, known in (("a", healthy(), None), ("b", stuck(), None),
                               ("c", stuck(), issue), ("d", healthy(), issue),
                               ("e", synthetic.lost(), None)):
        record(run, name, story, known)
    shown = Page(page.write(run.path))
    assert shown.outcomes == {
        "a": "PASS", "b": "FAIL", "c": "KNOWN", "d": "FIXED", "e": "UNKNOWN"}
    assert shown.detail("c")["known"] == ["pool", "https://example.org/1", "ledger: open (write)"]
    assert shown.detail("d")["known"] == ["pool", "https://example.org/1"]


def test_the_deciding_check_comes_first(run: Run) -> None:
    record(run, "a", locked_up())
    detail = Page(page.write(run.path)).detail("a")
    assert detail["checks"][0][:2] == ["FAIL", "kernel_health"]
    assert len(detail["checks"]) == len({name for _, name, _ in detail["checks"]}) > 5


def test_the_frame_that_names_a_report_is_marked(run: Run) -> None:
    record(run, "a", locked_up())
    (report,) = Page(page.write(run.path)).detail("a")["reports"]
    assert report["title"] == "soft lockup in sgv_pool_flush (scst_usr_cleanu)"
    assert report["frame"] == "sgv_pool_flush"
    (at,) = report["naming"]
    assert "RIP: 0010:sgv_pool_flush+0x12/0x90" in report["lines"][at]


def test_the_time_line_has_commands_fault_reports_and_teardown(run: Run) -> None:
    story = locked_up().at(13.8, "workload", "command", job="commands", disk="sda", number=1,
                           name="WRITE(10)", cdb="2a", direction="write", bytes=4096, reset=None)
    record(run, "a", story)
    detail = Page(page.write(run.path)).detail("a")
    words = [f"{source}: {what}" for _, source, what in detail["times"]]
    for each in ("workload: issues WRITE(10): number 1", "fault: close fires, 4 commands held",
                 "console: soft lockup in sgv_pool_flush (scst_usr_cleanu)",
                 "target: teardown begins", "target: teardown ends after 1.50 s"):
        assert each in words
    assert detail["since"] == "fault"
    assert [at for at, source, _ in detail["times"] if source == "fault"][-1] == 0.0


def test_the_chart_has_span_and_deadline(run: Run) -> None:
    record(run, "a", stuck())
    chart = Page(page.write(run.path)).detail("a")["chart"]
    assert chart["fault"] == [0, 1.6]
    assert chart["teardown"] == [pytest.approx(0.1), pytest.approx(1.6)]
    assert chart["deadline"] == 5.0
    assert set(chart["kinds"]) == {"write done", "write failed", "write open"}
    assert len(chart["points"]) == chart["of"] == 34


def test_latencies_before_during_and_after() -> None:
    history = healthy().history()
    timeline = Timeline.of(history)
    found = latency.samples(history, timeline)
    spread = {each["name"]: each for each in latency.distribution(timeline, found)}
    assert {name: each["ended"] for name, each in spread.items()} == {
        "before": 20, "during": 4, "after": 10}
    assert spread["during"]["failed"] == 4
    assert spread["during"]["median"] == pytest.approx(1.42)
    assert spread["after"]["longest"] == pytest.approx(0.02)
    assert all(sum(each["counts"]) == each["ended"] for each in spread.values())


def test_commands_past_the_block_layer_are_on_the_chart() -> None:
    story = healthy()
    for number, answered in ((1, True), (2, False)):
        where = {"job": "commands", "disk": "sda", "number": number}
        story.at(13.5, "workload", "command", **where)
        if answered:
            story.at(14.5, "workload", "answer", **where, seconds=1.0, error="EIO")
    found = latency.samples(story.history(), Timeline.of(story.history()))
    assert [(each.seconds, each.state) for each in found if each.op == "command"] == [
        (1.0, "failed"), (pytest.approx(10.5), "open")]


def test_what_is_open_or_longest_stays_when_points_are_thinned() -> None:
    story = healthy()
    for serial in range(100, 3000):
        io(story, serial, 11.0 + serial * 0.001, 0.001 + (serial == 777))
    io(story, 5000, 14.0, None)
    found = latency.samples(story.history(), Timeline.of(story.history()))
    kept = latency.thinned(found, 120)
    assert len(kept) <= 120
    assert max(each.seconds for each in kept) == max(each.seconds for each in found)
    assert [each for each in kept if each.state == "open"]
    assert max(each.seconds for each in kept if each.state == "done") == pytest.approx(1.001)


def test_axes_of_a_scenario() -> None:
    found = axes({"target": "scst", "kernel": "6.1", "fault": "backend-kill", "transport": "iscsi",
                  "point": {"state": "PARSE", "count": 2, "direction": None},
                  "commands": {"kind": "write", "count": 2}, "functions": {"function": "LUN_RESET"},
                  "device": {"options": {"parse_type": "CALL"}, "threads": 4},
                  "test": "suites/abort/test_abort.py::test_function", "variant": ""})
    assert found == {
        "point": "PARSE", "mechanism": "backend-kill", "target": "scst", "kernel": "6.1",
        "transport": "iscsi", "commands": "write", "commands held": 2, "function": "LUN_RESET",
        "test": "test_function", "threads": 4, "parse_type": "CALL"}
    assert axes({"story": "suites.abort.story:story"})["test"] == "suites.abort.story:story"  # old
    assert axes({"point": {"state": "EXEC", "count": 0}})["point"] == "none"


def test_how_to_run_it_again_and_the_raw_files(run: Run) -> None:
    name = "lio-6.1-iscsi-exec-write4-release"
    story = healthy().changed("harness", "scenario", {}, kernel="6.1", target="lio")
    (record(run, name, story) / "evidence").mkdir()
    (run.path / name / "evidence" / "a file#1.txt").write_text("x")
    detail = Page(page.write(run.path)).detail(name)
    assert detail["replay"] == (
        f"python -m pytest suites --target lio --kernel 6.1 --accel auto --seed 1 -k {name}")
    assert [f"./{name}/evidence/a%20file%231.txt", "evidence/a file#1.txt", 1] in detail["files"]
    assert {each[1] for each in detail["files"]} >= {
        "verdict.json", "history.jsonl", "console.log"}


def test_a_page_elsewhere_leads_to_the_run(run: Run, tmp_path: Path) -> None:
    record(run, "a", healthy())
    (tmp_path / "pages").mkdir()
    written = page.write(run.path, tmp_path / "pages" / "one.html")
    (to,) = (each[0] for each in Page(written).detail("a")["files"] if each[1] == "verdict.json")
    assert (written.parent / to).resolve() == run.path / "a" / "verdict.json"


# --- incomplete runs ------------------------------------------------------------------------------


def test_a_scenario_that_was_begun_and_not_judged(run: Run) -> None:
    record(run, "a", healthy())
    with Recorder(run.scenario("b").history) as recorder:
        recorder.extend(named(locked_up().until(22.5), "b").events)
    with (run.path / "b" / "history.jsonl").open("a") as file:
        file.write('{"time": 23.0, "source": "harn')  # its writer was killed
    shown = Page(page.write(run.path))
    assert shown.outcomes == {"a": "PASS", "b": UNFINISHED}
    assert "in phase recover" in shown.index["rows"][1][3]
    assert shown.detail("b")["reports"][0]["frame"] == "sgv_pool_flush"
    assert shown.detail("b")["times"]
    assert "problems" not in shown.detail("b")


@pytest.mark.parametrize("verdict", [
    "", "{", "[]", "null", '{"scenario": 1}', '{"scenario":"b","checks":[{}],"figures":{}}',
    '{"scenario":"b","checks":[],"figures":[]}', "\x00\xff" * 50, "[" * 5000])
def test_a_broken_verdict_is_shown_and_loses_no_other(run: Run, verdict: str) -> None:
    record(run, "a", healthy())
    record(run, "b", healthy())
    record(run, "c", stuck())
    (run.path / "b" / "verdict.json").write_text(verdict)
    shown = Page(page.write(run.path))
    assert shown.outcomes == {"a": "PASS", "b": BROKEN, "c": "FAIL"}
    assert shown.index["rows"][1][3].startswith("verdict.json cannot be shown")
    assert shown.detail("b")["times"]


@pytest.mark.parametrize("history", [
    b"", b"\x00\xff\xfe", b"[]\n{}\n", b'{"time":1,"source":"harness","kind":"phase","data":{}}\n',
    b'{"time":1,"source":"target","kind":"end","data":{"operation":"teardown"}}\n'])
def test_a_broken_history_leaves_the_verdict(run: Run, history: bytes) -> None:
    record(run, "a", stuck())
    (run.path / "a" / "history.jsonl").write_bytes(history)
    shown = Page(page.write(run.path))
    assert shown.outcomes == {"a": "FAIL"}
    assert shown.detail("a")["checks"]


def test_lines_that_are_no_events_are_counted(run: Run) -> None:
    path = record(run, "a", healthy()) / "history.jsonl"
    path.write_bytes(path.read_bytes() + b"rubbish\n" + b"\xff\n")
    assert Page(page.write(run.path)).detail("a")["problems"] == [
        "2 lines of history.jsonl are no events"]


def test_folders_that_cannot_be_read(run: Run) -> None:
    record(run, "a", healthy())
    (run.path / "empty").mkdir()
    (run.path / "b").mkdir()
    (run.path / "b" / "verdict.json").mkdir()
    (run.path / "c").symlink_to("nowhere")
    shown = Page(page.write(run.path))
    assert shown.outcomes == {"a": "PASS", "empty": UNFINISHED, "b": BROKEN}


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"target": 3, "kernels": "x", "seed": {}}'])
def test_a_broken_run_json(run: Run, text: str | None) -> None:
    record(run, "a", healthy())
    (run.path / "run.json").unlink()
    if text is not None:
        (run.path / "run.json").write_text(text)
    shown = Page(page.write(run.path))
    assert shown.outcomes == {"a": "PASS"}
    assert shown.index["run"]["target"]["name"] == "?"


def test_what_is_no_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(WrongUsageError, match=r"no such run|no run"):
            page.write(path)


# --- untrusted text -------------------------------------------------------------------------------


def test_hostile_text_is_no_markup(run: Run) -> None:
    story = locked_up().changed("target", "disk", {}, name=HOSTILE)
    story.at(20.0, "harness", "error", family=HOSTILE, message=HOSTILE)
    story.at(22.1, "console", "line", text=f"[   22.000000] BUG: {HOSTILE}")
    innocent = record(run, "a", locked_up())
    name = HOSTILE.replace("/", "|").replace("\0", "").replace("\ud800", "")
    record(run, name[:80], story.changed("harness", "scenario", {}, fault=HOSTILE, kernel=HOSTILE))
    run.note(target={"name": HOSTILE, "version": HOSTILE}, command=[HOSTILE])
    shown = Page(page.write(run.path))
    alone = Page(page.write(run.path, innocent / "x.html"))
    assert shown.names == alone.names  # the run's text created no element
    assert shown.names.count("script") == 2 + 2
    data = shown.text[shown.text.index('id="index"'):]
    for part in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', data, re.S):
        assert not set("<>&") & set(part)
        assert part.isascii()
        assert not set(map(chr, range(32))) & set(part)


@pytest.mark.parametrize(("raw", "shown"), [
    ("a\x1b[31mb", "a\u241b[31mb"), ("\x00\x7f", "\u2400\u2421"), ("tab\tnl\n", "tab\tnl\n"),
    ("a\u202eb", "a\\u202eb"), ("\ud800", "\ufffd"), ("\x9b31m", "\\u009b31m"),
    ("\u2028", "\\u2028"), ("zażółć 漢字", "zażółć 漢字")])
def test_control_characters_become_visible(raw: str, shown: str) -> None:
    assert clean.text(raw) == shown


def test_long_text_is_cut() -> None:
    assert clean.text("x" * 10_000, 5) == "xxxxx ... (9995 more characters)"


def test_a_digest_that_somebody_made_is_not_believed(run: Run) -> None:
    path = record(run, "a", healthy())
    page.write(run.path)
    head, _ = (path / DIGEST).read_text().splitlines()
    (path / DIGEST).write_text(f'{head}\n{{"x":"</script><script>alert(1)</script>"}}\n')
    assert "alert(1)" not in page.write(run.path).read_text()


# --- digests --------------------------------------------------------------------------------------


def test_a_digest_is_kept_and_made_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record(run, "a", healthy())
    before = scenario.digest(path)
    made: list[Path] = []
    monkeypatch.setattr(scenario, "_Maker", made.append)
    assert scenario.digest(path) == before
    assert made == []
    monkeypatch.undo()
    (path / "history.jsonl").write_text("")
    assert scenario.digest(path) != before


def test_a_page_that_would_be_too_large_keeps_what_did_not_pass(
    run: Run, monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, story in (("a", healthy()), ("b", stuck()), ("c", healthy())):
        record(run, name, story)
    monkeypatch.setattr(document, "DETAILS_MAX", 9000)
    shown = Page(page.write(run.path))
    assert [name for name in "abc" if shown.detail(name).get("cut")] == ["c"]
    assert shown.detail("c")["checks"]
    assert shown.detail("c")["files"]


def test_scenarios_stand_in_the_order_of_their_begin(run: Run) -> None:
    for name in ("z", "m", "a"):
        record(run, name, healthy())
    assert [path.name for path in scenario_folders(run.path)] == ["z", "m", "a"]


def test_many_scenarios_are_read_by_several_processes(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path, document.ALONE + 6)
    shown = Page(page.write(path))
    assert len(shown.outcomes) == document.ALONE + 6
    assert SCENARIO not in shown.text
