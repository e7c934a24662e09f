# SPDX-License-Identifier: GPL-2.0-or-later
"""A recorded run in other tools' formats, checked by their schemas, with hostile text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from fixtures.stf.main import run as stf
from fixtures.stf.status import Status
from results.formats import fio, junit, kcidb, ktap, markdown
from results.formats.recorded import counts, scenarios
from results.history import Event
from results.store import HISTORY, REPORT, RUN, VERDICT, Run, write_json
from suites.selftest.test_index import make_run, verdict

HOSTILE = "<script>alert(1)</script> ]]> \x1b[2J\x00 \ud800 & \"'|`# \r\n## gone [x](javascript:1)"

CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out", "system-err"},
    "properties": {"property"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}
"""Allowed child elements, by the schema of Jenkins' xunit-plugin (junit-10.xsd)."""

ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "time", "skipped", "timestamp",
                  "hostname", "id", "package"},
    "property": {"name", "value"}, "testcase": {"name", "time", "classname"},
    "failure": {"type", "message"}, "error": {"type", "message"},
    "skipped": {"type", "message"},
}


def check_junit(path: Path) -> ET.Element:
    """Check elements and attributes of a file against the schema; return its test suite."""
    root = ET.parse(path).getroot()
    for node in root.iter():
        assert set(node.attrib) <= ATTRIBUTES.get(node.tag, set()), node.tag
        assert {child.tag for child in node} <= CHILDREN.get(node.tag, set()), node.tag
    (suite,) = root
    assert {"name", "tests", "failures", "errors"} <= set(suite.attrib)
    assert re.fullmatch(r"\d+\.\d*", suite.get("time", ""))
    return suite


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Provide a run with every outcome, a truncated verdict and hostile text."""
    path = make_run(tmp_path / "runs", "2026-a", {
        "lio-6.1-pass": "PASS", "lio-6.1-fail": "FAIL", "lio-6.1-unknown": "UNKNOWN",
        "lio-6.1-known": "KNOWN", "lio-6.1-fixed": "FIXED", "lio-6.1-cut": ""},
        figures={"wall_time": 1.5})
    (path / "lio-6.1-torn").mkdir()
    (path / "lio-6.1-torn" / VERDICT).write_text('{"scenario": "lio-6.1-to')
    hostile = verdict("lio-6.1-hostile", "FAIL")
    hostile["checks"][0]["reason"] = HOSTILE
    (path / "lio-6.1-hostile").mkdir()
    write_json(path / "lio-6.1-hostile" / VERDICT, hostile)
    (path / "lio-6.1-fail" / "evidence").mkdir()
    (path / "lio-6.1-fail" / "evidence" / "stuck.json").write_text("{}")
    (path / "lio-6.1-fail" / REPORT).write_bytes(b"scst_usr_cleanupd spins\xff\x00")
    record = json.loads((path / RUN).read_text())
    record["target"]["name"] = "lio <b>"
    write_json(path / RUN, {**record, "started": "2026-11-23T01:15:58Z"})
    return Run(path)


def test_a_run_is_read_however_it_ended(run: Run) -> None:
    assert counts(list(scenarios(run))) == {
        "PASS": 1, "FAIL": 2, "UNKNOWN": 3, "KNOWN": 1, "FIXED": 1}


def test_junit(run: Run, tmp_path: Path) -> None:
    suite = check_junit(junit.write(run, tmp_path / "junit.xml"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("8", "2", "3")
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert properties["run"] == "2026-a"
    assert properties["target"] == "lio <b>"
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert cases["lio-6.1-pass"].find("failure") is None
    failure = cases["lio-6.1-fail"].find("failure")
    assert failure is not None
    assert failure.get("message") == "ledger: 3 I/Os never ended"
    output = cases["lio-6.1-fail"].findtext("system-out") or ""
    stuck = run.path / "lio-6.1-fail/evidence/stuck.json"
    assert f"[[ATTACHMENT|{stuck}]]" in output
    assert (cases["lio-6.1-known"].findtext("system-out") or "").startswith(
        "KNOWN: issue (x), by ledger: open (read); held: at EXEC")
    hostile = cases["lio-6.1-hostile"].find("failure")
    assert hostile is not None
    assert "<script>alert(1)</script> ]]> \\x1b[2J\\x00 \\xd800" in hostile.get("message", "")


def test_kcidb_by_its_own_schema(run: Run) -> None:
    schema = pytest.importorskip("kcidb_io", reason="kcidb-io is not installed").schema.V5_3
    report = kcidb.report(run, "mylab", "https://lab.example/runs/a b/")
    assert schema.is_valid(report)
    assert schema.is_valid(kcidb.report(run, "mylab"))
    tests = {test["id"].rpartition("/")[2]: test for test in report["tests"]}
    assert tests["lio-6.1-fail"]["status"] == "FAIL"
    assert tests["lio-6.1-fail"]["log_excerpt"].startswith("scst_usr_cleanupd spins")
    assert {"name": "evidence-stuck.json",
            "url": "https://lab.example/runs/a%20b/lio-6.1-fail/evidence/stuck.json",
            } in tests["lio-6.1-fail"]["output_files"]
    assert tests["lio-6.1-known"]["misc"]["known_issue"] == "issue"
    assert tests["lio-6.1-cut"]["status"] == "ERROR"


def test_ktap(run: Run, tmp_path: Path) -> None:
    lines = ktap.write(run, tmp_path / "ktap").read_text().splitlines()
    assert lines[0] == "KTAP version 1"
    assert "1..8" in lines
    results = [line for line in lines if re.match(r"(not )?ok \d", line)]
    assert [int(re.split(r"ok ", line)[1].split()[0]) for line in results] == list(range(1, 9))
    output = {line.split()[-1 if "#" not in line else line.split().index("#") - 1]: line
              for line in results}
    assert output["lio-6.1-pass"].startswith("ok ")
    assert output["lio-6.1-known"].endswith("# XFAIL issue, by ledger: open (read); held: at EXEC")
    assert output["lio-6.1-fail"].startswith("not ok ")
    assert "# ERROR" in output["lio-6.1-cut"]
    assert all(line.isprintable() for line in lines)


def test_markdown_has_no_markup_of_others(run: Run, tmp_path: Path) -> None:
    text = markdown.write(run, tmp_path / "md").read_text()
    assert "## SCSI target faults: 2 FAIL, 1 FIXED, 1 KNOWN, 1 PASS, 3 UNKNOWN" in text
    assert markdown.escaped("issue, x, by ledger: open (read); held: at EXEC: ").strip() in text
    assert "<script" not in text
    assert "&lt;script" in text
    assert "[x](" not in text
    assert len([line for line in text.splitlines() if line.startswith("## ")]) == 1


def test_fio_plot_finds_its_logs(run: Run, tmp_path: Path) -> None:
    folder = run.path / "lio-6.1-pass"
    begin = Event(1.0, "workload", "begin", {"job": "load", "disk": "sda", "options": {
        "rw": "randwrite", "iodepth": 1, "numjobs": 2}})
    (folder / HISTORY).write_text(begin.to_json() + "\n")
    (folder / "fio-load_lat.1.log").write_text("5, 100, 1, 4096\n9, 100, 1, 40")
    (folder / "fio-load_lat.2.log").write_text("2, 100, 1, 4096\n")
    fio.write(run, tmp_path / "plots")
    (log,) = (tmp_path / "plots").rglob("*.log")
    assert log.name == "randwrite-iodepth-1-numjobs-2_lat.1.log"
    assert log.read_text() == "2, 100, 1, 4096\n5, 100, 1, 4096\n"


@pytest.mark.parametrize("kind", ["junit", "ktap", "markdown", "kcidb"])
def test_exported_from_the_command_line(
    run: Run, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["export", kind, str(run.path), "--origin", "mylab"]
    assert stf(words) == Status.FINE
    printed = capsys.readouterr().out
    assert stf([*words, "-o", str(tmp_path / "out")]) == Status.FINE
    assert (tmp_path / "out").read_text() == printed


@pytest.mark.parametrize("words", [
    ["kcidb"], ["kcidb", "--origin", "My Lab"], ["fio-plot"], ["fio-plot", "-o", "plots"],
    ["junit", "-o", "/no/such/place/x.xml"], ["pdf"]])
def test_what_cannot_be_exported(
    run: Run, words: list[str], capsys: pytest.CaptureFixture[str],
) -> None:
    arguments: list[Any] = ["export", words[0], str(run.path), *words[1:]]
    assert stf(arguments) == Status.WRONG_USAGE
    assert "rror: " in capsys.readouterr().err
