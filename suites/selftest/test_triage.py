# SPDX-License-Identifier: GPL-2.0-or-later
"""``stf triage`` on posted logs: the reports, the known issues, the exit status."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from fixtures.stf.main import run
from fixtures.stf.status import Status

POSTED = Path(__file__).parent / "logs" / "posted"
HUNG = str(POSTED / "hung-with-mutex-owner.log")
QUIET = str(POSTED / "proc-stack-is-no-report.log")


def test_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["triage", HUNG]) == Status.WORSE
    first, task, stack, *_ = capsys.readouterr().out.splitlines()
    assert first == (f"{HUNG}: [248.771215] task hung in core_enable_device_list_for_node "
                     "(targetcli)")
    assert task.split() == ["task", "targetcli:1502"]
    assert "core_enable_device_list_for_node < core_dev_add_initiator_node_lun_acl" in stack


def test_no_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["triage", QUIET]) == Status.FINE
    assert capsys.readouterr().out == f"{QUIET}: no report of the kernel\n"


def test_several_files_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["triage", "--json", QUIET, HUNG]) == Status.WORSE
    quiet, hung = json.loads(capsys.readouterr().out)
    assert quiet == {"file": QUIET, "reports": []}
    assert hung["reports"][0]["kind"] == "hung task"
    assert hung["reports"][0]["lines"]


def test_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    class Stdin:
        buffer = io.BytesIO(Path(HUNG).read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert run(["triage", "-"]) == Status.WORSE
    assert capsys.readouterr().out.startswith("-: [248.771215] task hung")


def test_a_known_issue_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "console.log"
    log.write_text(
        "[   31.000001] scst: ***CRITICAL ERROR***: Wrong cmd state 14\n"
        "[   31.000002] CPU: 1 PID: 77 Comm: iscsird0_1 Tainted: G           OE\n"
        "[   31.000003] Call Trace:\n"
        "[   31.000004]  scst_restart_cmd+0x1/0x2 [scst]\n"
        "[   31.000005]  cmnd_rx_end+0x1/0x2 [iscsi_scst]\n")
    run(["triage", str(log)])
    assert "    known  scst-aca-verify-bug: SCST: kernel BUG by a VERIFY" in capsys.readouterr().out


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["triage", "/no/such.log"]) == Status.WRONG_USAGE
    assert "/no/such.log: No such file or directory" in capsys.readouterr().err
