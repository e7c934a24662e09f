# SPDX-License-Identifier: GPL-2.0-or-later
"""The store: a run's records are complete, and can be found again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from results import store
from results.errors import WrongUsageError
from results.judge import judge
from results.store import Run
from results.verdict import Verdict
from suites.selftest.stories import healthy


def test_a_run_is_on_record_from_its_beginning(tmp_path: Path) -> None:
    run = Run.begin(tmp_path / "results" / "runs", {"target": "lio", "seed": 7})
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", run.path.name)
    assert json.loads((run.path / "run.json").read_text()) == {
        "run": run.path.name, "target": "lio", "seed": 7,
    }
    latest = run.path.parent / "latest"
    assert latest.is_symlink()
    assert latest.resolve() == run.path
    assert not latest.readlink().is_absolute()


def test_latest_moves_on(tmp_path: Path) -> None:
    Run.begin(tmp_path, {})
    second = Run.begin(tmp_path, {})
    assert (tmp_path / "latest").resolve() == second.path
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_run_json_can_be_added_to(tmp_path: Path) -> None:
    run = Run.begin(tmp_path, {"target": "lio"})
    run.note(accelerator="tcg")
    assert run.record() == {"run": run.path.name, "target": "lio", "accelerator": "tcg"}
    assert [path.name for path in run.path.iterdir()] == ["run.json"]


def test_a_scenario_is_saved_and_loaded(tmp_path: Path) -> None:
    run = Run.begin(tmp_path, {})
    record = run.scenario("lio-6.1-iscsi-exec-write4-release")
    judgement = judge(healthy().history())
    path = record.save(judgement)
    assert path == run.path / "lio-6.1-iscsi-exec-write4-release" / "verdict.json"
    assert json.loads(path.read_text())["verdict"] == "PASS"
    assert record.load().verdict is Verdict.PASS
    assert run.scenarios() == [record]


def test_a_repetition_has_its_own_directory(tmp_path: Path) -> None:
    run = Run.begin(tmp_path, {})
    names = [run.scenario("a").path.name for _ in range(3)]
    assert names == ["a", "a~2", "a~3"]


@pytest.mark.parametrize("identity", ["", ".", "..", "a/b", "/a", "a\0b", ".hidden"])
def test_what_cannot_be_a_directory_is_refused(tmp_path: Path, identity: str) -> None:
    run = Run.begin(tmp_path, {})
    with pytest.raises(WrongUsageError, match="cannot be a directory's name"):
        run.scenario(identity)


def test_a_scenario_without_verdict_is_still_on_record(tmp_path: Path) -> None:
    run = Run.begin(tmp_path, {})
    record = run.scenario("a")
    record.history.write_text("")
    assert run.scenarios() == [record]
    with pytest.raises(FileNotFoundError):
        record.load()


def test_results_that_cannot_be_written_are_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(WrongUsageError) as raised:
        Run.begin(file, {})
    words = str(raised.value)
    assert words.startswith(f"results directory {file} cannot be written: Not a directory")
    assert "\n" not in words


def test_a_directory_named_latest_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(WrongUsageError, match="latest"):
        Run.begin(tmp_path, {})


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    store.write_json(path, {"a": 1})
    recursive: list[object] = []
    recursive.append(recursive)
    with pytest.raises(ValueError, match="ircular"):
        store.write_json(path, recursive)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]
