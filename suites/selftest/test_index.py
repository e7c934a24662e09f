# SPDX-License-Identifier: GPL-2.0-or-later
"""The index: its content for any state of the runs' folders, and its concurrent readers."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from results import index, queries
from results.errors import MachineLostError
from results.index import INDEX, LAYOUT, opened
from results.store import HISTORY, RUN, VERDICT, write_json
from results.verdict import Outcome

Outcomes = dict[str, str]


def verdict(scenario: str, outcome: str, **figures: float) -> dict[str, Any]:
    """Return the content of a verdict.json."""
    word = {"KNOWN": "FAIL", "FIXED": "PASS"}.get(outcome, outcome)
    return {
        "scenario": scenario, "verdict": word, "outcome": outcome, "decided_by": "ledger",
        "known": {"id": "issue", "link": "x", "matched": [
            "ledger: open (read)", "held: at EXEC"] if outcome == "KNOWN" else [],
        } if outcome in {"KNOWN", "FIXED"} else None,
        "checks": [{"name": "ledger", "verdict": word, "reason": "3 I/Os never ended",
                    "evidence": [], "signatures": []}],
        "figures": {name: {"value": value, "unit": "s"} for name, value in figures.items()}}


def make_run(
    results: Path, name: str, outcomes: Outcomes, *, version: str = "1", ended: bool = True,
    figures: dict[str, float] | None = None,
) -> Path:
    """Make the folder of a run; a scenario with outcome "" was in progress."""
    run = results / name
    run.mkdir(parents=True)
    record: dict[str, Any] = {
        "run": name, "started": name[:4], "target": {"name": "lio", "version": version},
        "kernels": [{"name": "6.1", "release": "6.1.0-1"}, {"name": "6.12", "release": "6.12.9"}],
        "accelerator": {"name": "tcg"}, "host": {"name": "lab"}, "seed": 7}
    write_json(run / RUN, {**record, **({"ended": name[:4]} if ended else {})})
    for folder, outcome in outcomes.items():
        (run / folder).mkdir()
        (run / folder / HISTORY).touch()
        if outcome:
            scenario = folder.partition("~")[0]
            write_json(run / folder / VERDICT, verdict(scenario, outcome, **(figures or {})))
    return run


ONE = {"lio-6.1-a": "PASS", "lio-6.1-a~2": "FAIL", "lio-6.12-b": "KNOWN"}


def outcomes(results: Path, run: str = "2026-a") -> dict[str, str]:
    """Return the outcomes that the index holds, by the run's scenario folders."""
    with opened(results) as connection:
        return {each.folder: each.outcome for each in queries.samples(connection, run)}


def test_times_under_another_command_line_of_the_kernel_teach_nothing(tmp_path: Path) -> None:
    """A kernel with slub_debug is slower: its times are not used to estimate noise."""
    for name, words in (("2026-a", None), ("2026-b", "slub_debug=FZPU"), ("2026-c", None)):
        run = make_run(tmp_path, name, ONE, figures={"teardown_time": 1.5})
        record = json.loads((run / RUN).read_text())
        record["options"] = {"append": words} if words else {}
        (run / RUN).write_text(json.dumps(record))
    with opened(tmp_path) as connection:
        assert queries.conditions(connection, "2026-b").append == "slub_debug=FZPU"
        assert {each.run for each in queries.earlier(connection, "2026-c", besides=[])} == {
            "2026-a"}


@pytest.mark.parametrize(("options", "append"), [
    ({}, ""), ({"append": "", "memory_checks": "off"}, ""),
    ({"append": "", "memory_checks": "auto"}, "memory-checks=auto"),
    ({"append": "nosmt", "memory_checks": "on"}, "nosmt memory-checks=on")])
def test_runs_with_memory_checks_are_no_past_of_runs_without(
    tmp_path: Path, options: dict[str, str], append: str,
) -> None:
    run = make_run(tmp_path, "2026-a", ONE)
    record = json.loads((run / RUN).read_text())
    (run / RUN).write_text(json.dumps({**record, "options": options}))
    with opened(tmp_path) as connection:
        assert queries.conditions(connection, "2026-a").append == append


def test_runs_of_other_builds_do_not_disagree(tmp_path: Path) -> None:
    """One version, another build of one module: a PASS and a FAIL of two targets."""
    for name, outcome, build in (("2026-a", "PASS", "ab"), ("2026-b", "FAIL", "ef")):
        run = make_run(tmp_path, name, {"lio-6.1-a": outcome, "lio-6.12-b": outcome})
        record = json.loads((run / RUN).read_text())
        write_json(run / RUN, {**record, "parts": {
            "6.1.0-1/target_core_mod.ko": {"build_id": build * 20, "srcversion": "S"},
            "6.12.9/target_core_mod.ko": {"build_id": "cd" * 20, "srcversion": "S"}}})
    with opened(tmp_path) as connection:
        found = queries.disagreements(connection)
        past = queries.history(connection, "lio-6.1-a")
    assert [(each.scenario, each.times) for each in found] == [("lio-6.12-b", 2)]
    assert found[0].identity
    assert len({each.identity for each in past} - {""}) == 2


def test_a_run_is_found_with_its_scenarios(tmp_path: Path) -> None:
    make_run(tmp_path, "2026-a", ONE, figures={"teardown_time": 1.5})
    with opened(tmp_path) as connection:
        found = queries.samples(connection, "2026-a")
        past = queries.history(connection, "lio-6.12-b")
        assert queries.conditions(connection, "2026-a") == queries.Conditions(
            "lio", "tcg", "lab")
        assert queries.scenarios(connection, "lio-6.1") == ["lio-6.1-a", "lio-6.12-b"]
    assert sorted(each.outcome for each in found) == ["FAIL", "KNOWN", "PASS"]
    assert {each.scenario for each in found} == {"lio-6.1-a", "lio-6.12-b"}
    assert {each.figure("teardown_time") for each in found} == {1.5}
    assert [each.reason for each in found if each.outcome is Outcome.FAIL] == [
        "3 I/Os never ended"]
    assert [(each.kernel, each.known) for each in past] == [("6.12.9", "issue")]


def test_new_runs_are_added_and_removed_ones_go(tmp_path: Path) -> None:
    first = make_run(tmp_path, "2026-a", ONE)
    assert len(outcomes(tmp_path)) == 3
    make_run(tmp_path, "2027-b", ONE)
    assert len(outcomes(tmp_path, "2027-b")) == 3
    shutil.rmtree(first)
    assert outcomes(tmp_path) == {}
    assert len(outcomes(tmp_path, "2027-b")) == 3


def test_a_run_under_way_grows(tmp_path: Path) -> None:
    run = make_run(tmp_path, "2026-a", {"lio-6.1-a": "PASS", "lio-6.1-b": ""}, ended=False)
    assert outcomes(tmp_path) == {"lio-6.1-a": "PASS", "lio-6.1-b": "UNKNOWN"}
    write_json(run / "lio-6.1-b" / VERDICT, verdict("lio-6.1-b", "FAIL"))
    assert outcomes(tmp_path) == {"lio-6.1-a": "PASS", "lio-6.1-b": "FAIL"}


def test_what_killed_pytest_left_is_read_with_every_finished_scenario(tmp_path: Path) -> None:
    run = make_run(tmp_path, "2026-a", {"lio-6.1-a": "PASS", "lio-6.1-b": ""}, ended=False)
    (run / "boot-1-6.1.log").touch()
    (run / "lio-6.1-c").mkdir()  # killed before it wrote a byte
    (run / "lio-6.1-a" / ".verdict.json.00112233").write_text('{"scena')
    with opened(tmp_path) as connection:
        found = {each.folder: each for each in queries.samples(connection, "2026-a")}
    assert {name: each.outcome for name, each in found.items()} == {
        "lio-6.1-a": "PASS", "lio-6.1-b": "UNKNOWN"}
    assert found["lio-6.1-b"].reason == index.UNJUDGED


KILLED = """
import pathlib, signal, sys
from results.judge import Judgement
from results.store import Run
from results.verdict import Check, Verdict
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
run = Run.begin(pathlib.Path(sys.argv[1]), {"started": "x", "target": {"name": "lio"}})
for number in range(10**6):
    record = run.scenario(f"lio-6.1-{number}")
    record.history.write_text("")
    record.save(Judgement(f"lio-6.1-{number}", (Check("ledger", Verdict.PASS, "fine"),)))
    print(number, flush=True)
"""


@pytest.mark.parametrize("moment", [0, 1, 7, 30])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_killed_at_any_moment_has_every_finished_scenario(
    tmp_path: Path, moment: int, how: signal.Signals,
) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as program:
        assert program.stdout is not None
        while int(program.stdout.readline()) < moment:
            pass
        program.send_signal(how)
        reported = moment + 1 + len(program.stdout.readlines())
    run = (tmp_path / "latest").resolve().name
    found = outcomes(tmp_path, run)
    finished = [name for name, outcome in found.items() if outcome == "PASS"]
    assert reported <= len(finished) <= reported + 1
    assert len(found) - len(finished) <= 1


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"verdict": "MAYBE"}', b'{"verdict": 3}',
    b'{"verdict": ["PASS"]}'])
def test_a_verdict_that_cannot_be_read_is_unknown(tmp_path: Path, content: bytes) -> None:
    run = make_run(tmp_path, "2026-a", ONE)
    (run / "lio-6.1-a" / VERDICT).write_bytes(content)
    assert outcomes(tmp_path)["lio-6.1-a"] == "UNKNOWN"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"target": 3, "kernels": [1], "seed": "x"}',
                                     b'{"seed": 1e400, "started": null}'])
def test_a_run_whose_record_cannot_be_read_keeps_its_scenarios(
    tmp_path: Path, content: bytes,
) -> None:
    run = make_run(tmp_path, "2026-a", ONE)
    (run / RUN).write_bytes(content)
    assert len(outcomes(tmp_path)) == 3


def test_figures_that_are_none(tmp_path: Path) -> None:
    run = make_run(tmp_path, "2026-a", {"lio-6.1-a": "PASS"})
    record = verdict("lio-6.1-a", "PASS")
    record["figures"] = {"teardown_time": {"value": "x"}, "longest_command": 3,
                         "wall_time": {"value": True}}
    (run / "lio-6.1-a" / VERDICT).write_text(json.dumps(record))
    with opened(tmp_path) as connection:
        (found,) = queries.samples(connection, "2026-a")
    assert found.figure("teardown_time") is None
    assert found.figure("longest_command") is None


def test_the_link_to_the_latest_is_no_run(tmp_path: Path) -> None:
    make_run(tmp_path, "2026-a", ONE)
    (tmp_path / "latest").symlink_to("2026-a")
    with opened(tmp_path) as connection:
        assert connection.scalar(select(func.count()).select_from(index.runs)) == 1


@pytest.mark.parametrize("layout", [0, LAYOUT - 1, LAYOUT + 1])
def test_an_index_of_another_layout_is_made_anew(tmp_path: Path, layout: int) -> None:
    make_run(tmp_path, "2026-a", ONE)
    with sqlite3.connect(tmp_path / INDEX) as other:
        other.execute("CREATE TABLE run (quite TEXT, another TEXT)")
        other.execute(f"PRAGMA user_version = {layout}")
    assert len(outcomes(tmp_path)) == 3


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_index_is_made_anew(tmp_path: Path, content: bytes) -> None:
    make_run(tmp_path, "2026-a", ONE)
    (tmp_path / INDEX).write_bytes(content)
    assert len(outcomes(tmp_path)) == 3


def test_damage_that_is_found_late_says_what_to_do(tmp_path: Path) -> None:
    make_run(tmp_path, "2026-a", ONE)
    outcomes(tmp_path)
    with pytest.raises(MachineLostError, match="stf index --rebuild"), \
            opened(tmp_path) as connection:
        connection.exec_driver_sql("SELECT * FROM no_such_table")


def test_rebuilding_sees_what_was_changed_behind_its_back(tmp_path: Path) -> None:
    run = make_run(tmp_path, "2026-a", {"lio-6.1-a": "PASS"})
    outcomes(tmp_path)
    write_json(run / "lio-6.1-a" / VERDICT, verdict("lio-6.1-a", "FAIL"))
    with opened(tmp_path, rebuild=True) as connection:
        assert [each.outcome for each in queries.samples(connection, "2026-a")] == ["FAIL"]


def test_where_it_cannot_be_written_it_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_run(tmp_path, "2026-a", ONE)
    monkeypatch.setattr(index, "INDEX", "no/such/folder.sqlite")
    assert len(outcomes(tmp_path)) == 3


def test_on_a_full_disk_it_is_in_memory(tmp_path: Path) -> None:
    make_run(tmp_path, "2026-a", {f"lio-6.1-{number}": "PASS" for number in range(300)})
    program = (
        "import resource, sys, pathlib, signal\n"
        "from results import index, queries\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "with index.opened(pathlib.Path(sys.argv[1])) as found:\n"
        "    print(len(queries.samples(found, '2026-a')))\n")
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True,
                          text=True, check=False, cwd=Path(__file__).parents[2])
    assert (done.stdout, done.returncode) == ("300\n", 0), done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_several_programs_at_once(tmp_path: Path) -> None:
    for number in range(20):
        make_run(tmp_path, f"20{number:02}-a", ONE)
    program = ("import sys, pathlib\n"
               "from results import index, queries\n"
               "for _ in range(5):\n"
               "    with index.opened(pathlib.Path(sys.argv[1])) as found:\n"
               "        assert len(queries.history(found, 'lio-6.1-a')) == 40\n")
    started = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)],
                                stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
               for _ in range(4)]
    for each in started:
        _, words = each.communicate()
        assert each.returncode == 0, words
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [INDEX]


def test_who_disagrees_with_itself(tmp_path: Path) -> None:
    make_run(tmp_path, "2025-z", {"lio-6.1-a": "FAIL", "lio-6.1-b": "FAIL"}, version="0")
    make_run(tmp_path, "2026-a", {"lio-6.1-a": "PASS", "lio-6.1-b": "PASS", "lio-6.1-c": "PASS"})
    make_run(tmp_path, "2026-b", {"lio-6.1-a": "PASS", "lio-6.1-b": "FAIL", "lio-6.1-c": "FIXED"})
    make_run(tmp_path, "2026-c", {"lio-6.1-a": "PASS", "lio-6.1-b": "PASS",
                                  "lio-6.1-c": "UNKNOWN"})
    with opened(tmp_path) as connection:
        (found,) = queries.disagreements(connection)
        assert queries.disagreements(connection, besides=["2026-b"]) == []
        assert queries.disagreements(connection, target="tgt") == []
    assert (found.scenario, found.times) == ("lio-6.1-b", 3)
    assert found.chance == pytest.approx(2 / 3)
