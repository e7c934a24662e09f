# SPDX-License-Identifier: GPL-2.0-or-later
"""stf's commands that read runs, and its doctor: output and exit status."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from fixtures.machine import doctor
from fixtures.machine.image import image_folder
from fixtures.stf.main import run as stf
from fixtures.stf.status import Status
from results.comparison.noise import RUNS_MIN
from results.index import INDEX
from results.store import RUN, VERDICT, write_json
from suites.selftest.test_index import make_run, verdict

TIMES = {"service_p25": 0.002, "teardown_time": 1.5, "longest_command": 2.0}
ALL = {f"lio-6.1-{number}": "PASS" for number in range(20)}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Provide a results directory with a good run."""
    make_run(tmp_path, "2025-good", ALL, figures=TIMES)
    return tmp_path


def result(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the printed JSON."""
    return json.loads(capsys.readouterr().out)


def test_nothing_is_worse(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(lab, "2026-same", ALL, figures=TIMES)
    assert stf(["compare", "2025", "2026", "--results", str(lab)]) == Status.FINE
    printed = capsys.readouterr().out
    assert "20 scenarios in both" in printed
    assert "nothing is worse" in printed


def test_a_failure_is_worse_and_its_mending_is_not(
    lab: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    make_run(lab, "2026-bad", {**ALL, "lio-6.1-7": "FAIL"}, figures=TIMES)
    words = ["--results", str(lab)]
    assert stf(["compare", "2025", "2026", *words]) == Status.WORSE
    printed = capsys.readouterr().out
    assert "new FAIL  lio-6.1-7  PASS    FAIL   3 I/Os never ended" in printed
    assert "worse: 1 new FAIL" in printed
    assert stf(["compare", "2026", "2025", *words, "--json"]) == Status.FINE
    found = result(capsys)
    assert [each["change"] for each in found["verdicts"]] == ["FIXED"]
    assert not found["worse"]


def record(run: Path, **more: Any) -> None:
    """Add to a run's record."""
    write_json(run / RUN, {**json.loads((run / RUN).read_text()), **more})


def test_a_run_of_a_subset_is_not_worse(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = {name: ALL[name] for name in list(ALL)[:5]}
    run = make_run(lab, "2026-part", part, figures=TIMES)
    assert stf(["compare", "2025", "2026", "--results", str(lab)]) == Status.WORSE
    record(run, planned=[*part, "lio-6.1-7"])  # one was selected, and has no record
    assert stf(["compare", "2025", "2026", "--results", str(lab)]) == Status.WORSE
    capsys.readouterr()
    record(run, planned=list(part))
    assert stf(["compare", "2025", "2026", "--results", str(lab)]) == Status.FINE
    printed = capsys.readouterr().out
    assert "note: 15 scenarios of the earlier run were not selected in the later one" in printed


def test_another_module_of_the_target_is_named(
    lab: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    healthy, defective = ({"6.1/scst.ko": {"build_id": build * 20, "sha256": "x"},
                           "6.1/scst_user.ko": {"build_id": "cd" * 20, "sha256": "y"}}
                          for build in ("ab", "ef"))
    record(lab / "2025-good", target={"name": "scst", "parts": healthy})
    record(make_run(lab, "2026-other", ALL, figures=TIMES),
           target={"name": "scst", "parts": defective})
    assert stf(["compare", "2025", "2026", "--results", str(lab)]) == Status.FINE
    printed = capsys.readouterr().out
    assert "note: another 6.1/scst.ko: build id abababababab, then build id efefefefefef" in printed
    assert "scst_user.ko" not in printed


def lio(build: str, **more: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the parts of LIO on one kernel, with the build id of tcm_loop.ko."""
    return {"6.1.0-1/vmlinux": {"build_id": "11" * 20, "version": "Linux version 6.1.0"},
            "6.1.0-1/target_core_mod.ko": {"build_id": "22" * 20, "srcversion": "SAME"},
            "6.1.0-1/tcm_loop.ko": {"build_id": build * 20, "srcversion": "SAME"}, **more}


@pytest.mark.parametrize(("after", "note"), [
    (lio("ab"), None),
    (lio("ef"), "another 6.1.0-1/tcm_loop.ko: build id abababababab, then build id efefefefefef"),
    ({name: part for name, part in lio("ab").items() if "loop" not in name},
     "another 6.1.0-1/tcm_loop.ko: build id abababababab, then none"),
    ({**lio("ab"), "6.1.0-1/tgtd": {"sha256": "77"}},
     "another 6.1.0-1/tgtd: none, then SHA-256 77"),
    ({**lio("ab"), "6.1.0-1/vmlinux": {"build_id": "11" * 20, "version": "rebuilt"}},
     "another 6.1.0-1/vmlinux: version Linux version 6.1.0, then version rebuilt"),
    ({name: {"build_id": "99" * 20} for name in lio("ab", **{"6.1.0-1/nbd.ko": {}},
                                                    **{"6.1.0-1/dm.ko": {}})},
     "another 6.1.0-1/vmlinux: build id 111111111111, then build id 999999999999; another "
     "6.1.0-1/target_core_mod.ko, 6.1.0-1/tcm_loop.ko, 6.1.0-1/nbd.ko and 1 more"),
    ({}, "the later run has no record of the target's parts: it may be another target"),
    ({**lio("ab"), "6.12.9/vmlinux": {"build_id": "33" * 20}}, None),  # another kernel besides
])
def test_the_part_that_differs_is_named_in_one_line(
    lab: Path, capsys: pytest.CaptureFixture[str], after: dict[str, dict[str, str]],
    note: str | None,
) -> None:
    record(lab / "2025-good", parts=lio("ab"), kernels=[{"name": "6.1", "release": "6.1.0-1"}])
    record(make_run(lab, "2026-other", ALL, figures=TIMES), parts=after)
    assert stf(["compare", "2025", "2026", "--results", str(lab)]) == Status.FINE
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note:")]
    assert printed == ([f"note: {note}"] if note else [])


def test_a_much_slower_backend_is_worse(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(lab, "2026-slow", ALL, figures={**TIMES, "service_p25": 0.004})
    assert stf(["compare", "2025", "2026", "--results", str(lab), "--json"]) == Status.WORSE
    (reported,) = [each for each in result(capsys)["times"] if each["reported"]]
    assert (reported["measure"], reported["scenario"], reported["worse"]) \
        == ("service_p25", None, True)
    assert reported["ratio"] == pytest.approx(2)


def test_a_host_that_is_twice_as_fast_makes_nothing_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    quick = {"service_p25": 0.001, "spin_p25": 0.0001, "service_spins": 10.0}
    make_run(tmp_path, "2025-usual", ALL, figures={
        **TIMES, "service_p25": 0.002, "spin_p25": 0.0002, "service_spins": 10.0})
    make_run(tmp_path, "2026-quick", ALL, figures={**TIMES, **quick})
    make_run(tmp_path, "2027-slow", ALL, figures={**TIMES, **quick, "service_spins": 20.0})
    words = ["--results", str(tmp_path), "--json"]
    assert stf(["compare", "2025", "2026", *words]) == Status.FINE
    found = result(capsys)
    assert not any(each["reported"] for each in found["times"])
    assert "the guest was 2.00 times as fast in the later run" in found["notes"][0]
    assert stf(["compare", "2025", "2027", *words]) == Status.WORSE
    (reported,) = [each for each in result(capsys)["times"] if each["reported"]]
    assert (reported["measure"], reported["before"], reported["after"]) == (
        "service_p25", pytest.approx(0.002), pytest.approx(0.004))


def test_a_host_that_became_busy_makes_nothing_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(RUNS_MIN + 1):
        make_run(tmp_path, f"2025-{number}", ALL, figures={**TIMES, "host_cpu_wait": 0.13})
    longer = {**TIMES, "longest_command": 4.0}
    make_run(tmp_path, "2026-busy", ALL, figures={**longer, "host_cpu_wait": 0.55})
    make_run(tmp_path, "2026-worse", ALL, figures={**longer, "host_cpu_wait": 0.14})
    words = ["--results", str(tmp_path), "--json"]
    assert stf(["compare", "2025-0", "2026-busy", *words]) == Status.FINE
    assert "for 13% of its time, then for 55%" in result(capsys)["notes"][0]
    assert stf(["compare", "2025-0", "2026-worse", *words]) == Status.WORSE
    assert stf(["compare", "2026-worse", "2026-busy", *words]) == Status.FINE


def test_a_run_that_lies_elsewhere_leaves_no_index_there(
    lab: Path, tmp_path_factory: pytest.TempPathFactory,
) -> None:
    other = tmp_path_factory.mktemp("other")
    make_run(other, "2026-far", ALL, figures=TIMES)
    assert stf(["compare", "2025", str(other / "2026-far"), "--results", str(lab)]) == Status.FINE
    assert not (other / INDEX).exists()
    assert (lab / INDEX).exists()


def test_kernels_are_compared_question_by_question(
    lab: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    for name, kernel, outcome in (("2026-old", "6.1", "PASS"), ("2027-new", "6.12", "FAIL")):
        path = make_run(lab, name, {f"lio-{kernel}-iscsi-x": outcome})
        record = json.loads((path / RUN).read_text())
        write_json(path / RUN, {**record, "kernels": [{"name": kernel, "release": kernel}]})
    assert stf(["compare", "2026", "2027", "--results", str(lab), "--json"]) == Status.WORSE
    found = result(capsys)
    assert [(each["scenario"], each["change"]) for each in found["verdicts"]] == [
        ("lio-*-iscsi-x", "new FAIL")]
    assert found["notes"] == ["kernel 6.1 is compared with 6.12"]


def test_who_was_flaky_before_is_no_news(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(lab, "2026-a", {"lio-6.1-1": "PASS", "lio-6.1-1~2": "FAIL"})
    make_run(lab, "2026-b", {"lio-6.1-1": "PASS"})
    make_run(lab, "2026-c", {"lio-6.1-1": "FAIL"})
    words = ["--results", str(lab), "--json"]
    assert stf(["compare", "2026-b", "2026-c", *words]) == Status.FINE
    assert [each["change"] for each in result(capsys)["verdicts"]] == ["flaky"]
    assert stf(["flaky", *words]) == Status.FINE
    assert [each["scenario"] for each in result(capsys)] == ["lio-6.1-1"]


def test_a_past_as_text_and_chart(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(lab, "2026-a", {"lio-6.1-1": "FAIL", "lio-6.1-1~2": "UNKNOWN"}, version="$2 b",
             figures=TIMES)
    make_run(lab, "2026-b", {"lio-6.1-1": "KNOWN"}, version="3")
    chart = lab / "past.png"
    assert stf(["history", "lio-6.1-1", "--chart", "teardown_time", str(chart),
                "--results", str(lab)]) == Status.FINE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:5]] == ["PASS", "FAIL", "UNKNOWN", "KNOWN"]
    assert lines[-1] == "1 PASS, 1 FAIL, 1 UNKNOWN, 1 KNOWN"
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert stf(["history", "lio-*", "--last", "2", "--json", "--results", str(lab)]) == 0
    assert len(result(capsys)) == 2


@pytest.mark.parametrize("words", [
    ["history", "no-such"], ["compare", "2025", "no-such"], ["history"],
    ["flaky", "--last", "1"], ["history", "lio-6.1-1", "--chart", "teardown_time", "/no/x.png"],
    ["history", "lio-6.1-1", "--chart", "teardown_time", "x.no-such-kind"]])
def test_wrong_usage(lab: Path, words: list[str]) -> None:
    assert stf([*words, "--results", str(lab)]) == Status.WRONG_USAGE


@pytest.mark.parametrize("words", [["index"], ["flaky"], ["history", "x"]])
def test_no_results_directory(tmp_path: Path, words: list[str]) -> None:
    assert stf([*words, "--results", str(tmp_path / "none")]) == Status.WRONG_USAGE


def test_the_index_is_rebuilt(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["index", "--results", str(lab), "--json"]
    assert stf(words) == Status.FINE
    write_json(lab / "2025-good/lio-6.1-0" / VERDICT, verdict("another", "PASS"))
    assert stf([*words, "--rebuild"]) == Status.FINE
    capsys.readouterr()
    assert stf(["history", "another", "--results", str(lab), "--json"]) == Status.FINE
    assert len(result(capsys)) == 1


# --- doctor ---------------------------------------------------------------------------------------


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return {each["what"]: each for each in result(capsys) if not each["there"]}


def test_a_machine_without_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SCST_PREFIX", raising=False)
    monkeypatch.setattr(doctor, "SONAME", "libno-such.so.7")
    assert stf(["doctor", "--results", str(tmp_path / "r"), "--json"]) == Status.WORSE
    found = findings(capsys)
    assert found["qemu-system-x86_64"]["mend"] == "apt-get install qemu-system-x86"
    assert found["guest image"]["mend"] == "stf image build"
    assert found["symbols 6.12"]["mend"] == "stf symbols 6.12"
    assert found["libiscsi"]["mend"] == "apt-get install libiscsi7"
    assert found["chromium"]["mend"] == "apt-get install chromium"
    assert {"SCST", "mmdebstrap", "kernel 6.1", "gcc"} <= set(found)
    assert not (tmp_path / "cache").exists()


def test_a_machine_with_all_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image_folder().mkdir(parents=True)
    programs = ("fakeroot", "newuidmap", "tgtd", "gcc", "chromium")
    for name in (*doctor.NEEDED, *doctor.BUILDERS, *programs):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.touch()
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(doctor, "RESULTS_SPACE", 1)
    monkeypatch.setattr(doctor, "IMAGE_SPACE", 1)
    monkeypatch.setattr(doctor, "KERNEL_SPACE", 1)
    assert stf(["doctor", "--results", str(tmp_path), "--json"]) == Status.FINE
    assert not [each for each in findings(capsys).values() if each["needed"]]


def test_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "RESULTS_SPACE", 1 << 60)
    assert stf(["doctor", "--results", str(tmp_path), "--json"]) == Status.WORSE
    assert findings(capsys)["space for results"]["mend"] == "--results names another place"


def test_an_scst_prefix_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    stf(["doctor", "--scst", str(tmp_path), "--json"])
    assert "not an SCST installation" in findings(capsys)["SCST"]["detail"]
