# SPDX-License-Identifier: GPL-2.0-or-later
"""The program stf: its commands, their output, and their exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.stf import output
from fixtures.stf.main import COMMANDS, program, run
from fixtures.stf.status import Status
from results.errors import WrongUsageError
from results.store import RUN, Run, find_run, write_json

HOSTILE = "a\x1b[2Jb\nc\u202e"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_with_examples(
    name: str, capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([name, "--help"]) == Status.FINE
    printed = capsys.readouterr().out
    assert "Example" in printed
    assert f"stf {name}" in printed


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-h"]) == Status.FINE
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in COMMANDS)


@pytest.mark.parametrize("arguments", [["no-such"], ["image", "no-such"], ["--no-such"], []])
def test_wrong_usage(arguments: list[str]) -> None:
    assert run(arguments) == Status.WRONG_USAGE


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "main", interrupted)
    assert run(["image", "list"]) == Status.INTERRUPTED


def test_nothing_hostile_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("one", "two"), [(HOSTILE, "1")], right=("two",))
    printed = capsys.readouterr().out
    assert printed.splitlines()[1:] == ["a\\x1b[2Jb\\x0ac\\x202e    1"]


def test_images_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "scsi-target-faults/images/0123"
    folder.mkdir(parents=True)
    (folder / "root.ext4").write_bytes(bytes(1 << 20))
    (folder / "again").hardlink_to(folder / "root.ext4")
    assert run(["image", "list", "--json"]) == Status.FINE
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["kind"], one["folder"]) == ("images", str(folder))
    assert 1 << 20 <= one["bytes"] < 2 << 20


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Provide a results directory with two runs."""
    for name in ("20260101T000000Z-aaaaaa", "20260102T000000Z-bbbbbb"):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / RUN, {"run": name})
    (tmp_path / "latest").symlink_to("20260102T000000Z-bbbbbb")
    return tmp_path


@pytest.mark.parametrize(("name", "found"), [
    ("latest", "20260102T000000Z-bbbbbb"),
    ("20260101T000000Z-aaaaaa", "20260101T000000Z-aaaaaa"),
    ("20260101", "20260101T000000Z-aaaaaa")])
def test_a_run_by_name(runs: Path, name: str, found: str) -> None:
    assert find_run(runs, name).path == runs / found


def test_a_run_by_its_folder(runs: Path, tmp_path: Path) -> None:
    assert find_run(Path("/nowhere"), str(runs / "latest")).path.name == "20260102T000000Z-bbbbbb"


@pytest.mark.parametrize("name", ["2025", "", "*", "/no/such", "../x", "2026"])
def test_no_one_run(runs: Path, name: str) -> None:
    with pytest.raises(WrongUsageError):
        find_run(runs, name)


def test_a_report_is_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Run.begin(tmp_path, {})
    assert run(["report", "--results", str(tmp_path)]) == Status.FINE
    assert capsys.readouterr().out == f"{made.path / 'report.html'}\n"
    assert run(["report", made.path.name[:16], "--results", str(tmp_path), "--output",
                str(tmp_path / "x.html"), "--json"]) == Status.FINE
    assert json.loads(capsys.readouterr().out) == {"report": str(tmp_path / "x.html")}
    assert run(["report", "--results", str(tmp_path), "--output", "/no/such/x.html"]) \
        == Status.WORSE
    assert run(["report", "2001", "--results", str(tmp_path)]) == Status.WRONG_USAGE
