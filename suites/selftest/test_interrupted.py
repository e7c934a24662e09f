# SPDX-License-Identifier: GPL-2.0-or-later
"""A run interrupted at any point leaves enough for its page: complete scenarios first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.run_scenario import _note_crash
from results import page
from results.errors import MachineLostError
from results.history import Recorder
from results.judge import judge
from results.verdict import Verdict
from suites.selftest.test_page import Page

TOP = Path(__file__).parents[2]

CONFTEST = """
import time
from dataclasses import replace
from pathlib import Path

from fixtures.plugin import run_session
from fixtures.machine.image import Image
from fixtures.machine.kernel import Kernel
from results.chart_queue import ChartQueue
from results.history import Recorder
from results.judge import judge
from suites.selftest.stories import SCENARIO
from suites.selftest.test_page import named
from suites.selftest.stories import healthy

HERE = Path(__file__).parent

def run_scenario(scenario, pool, record, steps, command=None):
    history = named(healthy(), scenario.id)
    with Recorder(record.history) as recorder:
        for number, event in enumerate(history.events):
            recorder.extend([event])
            if number == 60 and "backend-kill" in scenario.id:
                (HERE / "midway").touch()
                if (HERE / "waits").exists():
                    time.sleep(60)
        judgement = judge(recorder.history())
        record.console.write_bytes(b"console\\n" * 2000)
        record.save(judgement)
    return judgement, ""

class Target:
    name = "lio"
    tree = None
    def check(self, release): pass
    def describe(self): return {"name": "lio"}

run_session.run_scenario = run_scenario
run_session.tool = lambda name: name
run_session.guest_image = lambda progress: Image(HERE, HERE)
run_session.find_kernel = lambda name, progress: Kernel(name, "6.1.0-test", HERE, HERE, "none")
run_session.require_boot_modules = lambda kernel: None
run_session.target_by_name = lambda name, prefix: Target()
ChartQueue._draw = staticmethod(lambda folder: None)
"""

SUITE = """
from fixtures.scenario import Plan, scenarios
from inject.catalogue import FAULTS

def plans(selection):
    return [Plan(FAULTS[name]) for name in ("release", "backend-close", "backend-kill")]

@scenarios(plans)
def test_it(ctx):
    pass
"""

FIRST = "lio-6.1-iscsi-exec-write4-release"
SECOND = "lio-6.1-iscsi-exec-write4-backend-close"
THIRD = "lio-6.1-iscsi-exec-write4-backend-kill"

BOUND = 120.0
"""Seconds for a pytest run of three scripted scenarios on a busy machine."""


def begin(top: Path, results: Path, *options: str) -> subprocess.Popen[str]:
    """Start a pytest run of three scripted scenarios.

    It receives SIGINT even if these tests run in the background of a shell.
    """
    (top / "conftest.py").write_text(CONFTEST)
    (top / "test_suite.py").write_text(SUITE)
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "pytest", "-p", "fixtures.plugin",
         "-p", "no:cacheprovider",
         "-p", "no:hypothesispytest", "--import-mode=importlib", "--rootdir", str(top),
         "--accel", "tcg", "--kernel", "6.1", "--results", str(results), *options, str(top)],
        cwd=top, env={**os.environ, "PYTHONPATH": str(TOP)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def until(path: Path, program: subprocess.Popen[str]) -> None:
    """Wait until a file exists; fail if the program exits first."""
    deadline = time.monotonic() + BOUND
    while not path.exists():
        assert program.poll() is None, program.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def latest(results: Path) -> Path:
    """Return the folder of the run."""
    return (results / "latest").resolve()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_what_had_finished_is_on_the_page(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "waits").touch()
    program = begin(tmp_path, tmp_path / "results")
    until(tmp_path / "midway", program)
    program.send_signal(number)
    output, _ = program.communicate(timeout=BOUND)
    run = latest(tmp_path / "results")
    if number == signal.SIGINT:  # SIGINT stops the plugin, which then writes the report
        assert f"report: {run / page.PAGE}" in output
        assert (run / page.PAGE).exists()
    shown = Page(page.write(run))
    assert shown.outcomes == {FIRST: "PASS", SECOND: "PASS", THIRD: "UNFINISHED"}
    for name in (FIRST, SECOND):
        assert shown.detail(name)["checks"]
        assert shown.detail(name)["chart"]["points"]
    assert shown.detail(THIRD)["times"]
    assert bool(shown.index["run"]["ended"]) == (number == signal.SIGINT)


def test_a_run_that_ends_by_itself_has_its_page(tmp_path: Path) -> None:
    program = begin(tmp_path, tmp_path / "results")
    output, _ = program.communicate(timeout=BOUND)
    assert program.returncode == 0, output
    run = latest(tmp_path / "results")
    assert f"report: {run / page.PAGE}" in output
    assert set(Page(run / page.PAGE).outcomes.values()) == {"PASS"}
    lines = [line for line in output.splitlines() if line.startswith("stf: ") and " of 3" in line]
    assert [line.split(": ")[2].split()[0] for line in lines] == ["PASS"] * 3
    assert "3 of 3" in lines[-1]


# --- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Provide a file system of 256 KiB; skip where none can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "stf-test", str(folder)],
        check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("room", range(0, 200, 24))
def test_a_full_disk_leaves_what_had_been_written(
    tmp_path: Path, small: Path, room: int,
) -> None:
    """The disk fills up at different points: while a history, a verdict or the page is written."""
    (small / "ballast").write_bytes(bytes(room << 10))
    program = begin(tmp_path, small / "results", "--repeat", "3")
    output, _ = program.communicate(timeout=BOUND)
    assert program.returncode in {1, 4}, output
    assert " failed" not in output.splitlines()[-1]  # a full disk is never the target's failure
    if program.returncode == 4:
        assert "cannot be written" in output
        return
    run = latest(small / "results")
    shown = Page(page.write(run, tmp_path / "page.html"))
    finished = {path.parent.name for path in run.glob("*/verdict.json")}
    assert {name for name, outcome in shown.outcomes.items() if outcome == "PASS"} == finished
    assert set(shown.outcomes.values()) <= {"PASS", "UNFINISHED"}
    assert "No space left on device" in output


def test_events_that_cannot_be_written_are_the_machines_loss(small: Path) -> None:
    with Recorder(small / "history.jsonl") as recorder:
        recorder.record(1.0, "harness", "phase", name="restore")
        with pytest.raises(MachineLostError, match=r"cannot be written: No space left on device"):
            recorder.record(2.0, "harness", "error", message="x" * (300 << 10))
        recorder.record(3.0, "harness", "phase", name="end")
        lines = (small / "history.jsonl").read_text().splitlines()
        assert ['"restore"' in lines[0], '"end"' in lines[1], len(lines)] == [True, True, 2]


def test_a_story_that_is_wrong_says_how(tmp_path: Path) -> None:
    with Recorder(tmp_path / "history.jsonl") as recorder:
        recorder.record(5.0, "harness", "scenario", id="it")
        try:
            recorder.no_such_thing()  # type: ignore[attr-defined]
        except AttributeError as error:
            _note_crash(recorder, error)
        check = judge(recorder.history()).decided_by
    assert check is not None
    assert (check.name, check.verdict) == ("machine", Verdict.UNKNOWN)
    assert "AttributeError: 'Recorder' object has no attribute 'no_such_thing'" in check.reason
    assert "test_a_story_that_is_wrong_says_how" in str(check.evidence)
