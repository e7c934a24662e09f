# SPDX-License-Identifier: GPL-2.0-or-later
"""Charts: fio-plot as a program, and the chart that shows the fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from results import charts
from results.errors import MachineLostError
from results.history import History
from suites.selftest.stories import Story, healthy

FIO_LOG = Path(__file__).parent / "fio" / "load_lat.1.log"
"""60 I/Os of a randwrite job at iodepth 8, as fio 3.33 wrote them."""

OPTIONS = {"rw": "randwrite", "iodepth": 8, "numjobs": 1}

PNG = b"\x89PNG"


def save(story: Story, folder: Path) -> None:
    """Write a history into a scenario's directory."""
    text = "".join(event.to_json() + "\n" for event in story.history().events)
    (folder / "history.jsonl").write_text(text)


def test_draw(tmp_path: Path) -> None:
    save(healthy().changed("workload", "begin", {"job": "load"}, options=OPTIONS), tmp_path)
    for name in ("fio-load_lat.1.log", "fio-load_lat.2.log"):
        shutil.copy(FIO_LOG, tmp_path / name)
    drawn = charts.draw(tmp_path)
    assert [path.name for path in drawn] == ["latency.png", "fio-latency.png"]
    assert all(path.read_bytes().startswith(PNG) for path in drawn)


def test_nothing_to_draw(tmp_path: Path) -> None:
    save(healthy().without("block"), tmp_path)
    assert charts.draw(tmp_path) == []


def test_a_cut_log_is_drawn(tmp_path: Path) -> None:
    log = tmp_path / "cut.log"
    log.write_bytes(FIO_LOG.read_bytes()[:-9])
    path = charts.fio_chart([log], tmp_path / "a.png", "a title", OPTIONS)
    assert path.read_bytes().startswith(PNG)


def test_fio_plots_last_words_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "rubbish.log"
    log.write_text("1, x, 1, 4096, 0, 0\n2, x, 1, 4096, 0, 0\n")
    with pytest.raises(MachineLostError, match="fio-plot ended with status 1: ValueError"):
        charts.fio_chart([log], tmp_path / "a.png", "a title", OPTIONS)


@pytest.mark.parametrize("text", ["", "0, 1, 1, 4096, 0, 0\n", "0, 1, 1, 1\n5000, 1, 1, 1\n"])
def test_sparse_logs_are_refused(tmp_path: Path, text: str) -> None:
    log = tmp_path / "sparse.log"
    log.write_text(text)
    with pytest.raises(MachineLostError, match="too few entries"):
        charts.fio_chart([log], tmp_path / "a.png", "a title", OPTIONS)


def test_fault_chart_of_sick_histories(tmp_path: Path) -> None:
    stories = {
        "open": healthy().without("block", "complete", io=21),
        "no-fault": healthy().without("fault"),
        "never-over": healthy().until(14.5),
    }
    for name, story in stories.items():
        path = charts.fault_chart(story.history(), tmp_path / f"{name}.png")
        assert path.read_bytes().startswith(PNG)


def test_a_history_without_ladder_is_refused(tmp_path: Path) -> None:
    events = healthy().without("harness", "scenario").history().events
    with pytest.raises(KeyError):
        charts.fault_chart(History(events), tmp_path / "a.png")
