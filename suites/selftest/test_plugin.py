# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin, by pytest's own pytester: bad input, verdicts, the table, interruptions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.context import Steps
from fixtures.machine.image import Image, guest_image
from fixtures.machine.initramfs import BOOT_MODULES
from fixtures.plugin import run_session
from fixtures.scenario import Scenario
from results.chart_queue import ChartQueue
from results.formats.recorded import files_in
from results.judge import Judgement
from results.store import ScenarioRecord
from results.verdict import Check, Figure, Verdict
from suites.selftest.test_formats import check_junit
from suites.selftest.test_images import Usage
from suites.selftest.test_scst_prefix import image, module
from targets.scst.prefix import DAEMON, MODULES

pytest_plugins = ["pytester"]

USAGE_ERROR = 4
RELEASE = "6.1.0-1-test"
"""Kernel release; shared with test_scst_prefix."""

SUITE = """
from fixtures.scenario import Plan, scenarios
from inject.catalogue import FAULTS

def plans(selection):
    return [Plan(FAULTS[name]) for name in ("release", "backend-close", "backend-kill")]

@scenarios(plans)
def test_it(ctx):
    pass
"""

FAULTS = ("release", "backend-close", "backend-kill")

Outcome = Callable[[Scenario], Verdict]


class Desk:
    """A directory to run pytest in, with a kernel, an image and an accelerator.

    ``outcome``: the verdict of each scenario. ``unproven``: the reason why a PASS proves nothing.
    ``calls_steps_with``: the context that tests are called with.
    """

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = pytester.path
        self.ran: list[Scenario] = []
        self.outcome: Outcome = lambda scenario: Verdict.PASS
        self.unproven = ""
        self.calls_steps_with: Any = None
        self._pytester = pytester
        monkeypatch.setenv("XDG_CACHE_HOME", f"{self.top}/cache")
        monkeypatch.delenv("SCST_PREFIX", raising=False)
        monkeypatch.setattr(run_session, "run_scenario", self._run)
        monkeypatch.setattr(run_session, "guest_image", lambda progress: Image(self.top, self.top))
        monkeypatch.setattr(ChartQueue, "_draw", staticmethod(lambda folder: None))
        self.suite = pytester.makepyfile(SUITE).stem
        self.kernel = self.kernel_directory("kernel", RELEASE)

    def kernel_directory(self, name: str, release: str) -> Path:
        """Make a directory accepted as a kernel."""
        tree = self.top / name / "lib/modules" / release
        tree.mkdir(parents=True)
        (tree / "modules.dep").touch()
        (tree / "modules.builtin").write_text("".join(f"{each}.ko\n" for each in BOOT_MODULES))
        (self.top / name / "bzImage").touch()
        return self.top / name

    def prefix(self) -> Path:
        """Make a directory accepted as an SCST installation."""
        prefix = self.top / "prefix"
        for name in MODULES:
            file = module(prefix, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image(name))
        (prefix / DAEMON).parent.mkdir(parents=True)
        (prefix / DAEMON).touch()
        return prefix

    def run(self, *options: str | Path, kernel: Path | str | None = None) -> pytest.RunResult:
        """Run the suite."""
        return self._pytester.runpytest_inprocess(
            "-p", "fixtures.plugin", "-p", "no:cacheprovider", "-p", "no:hypothesispytest",
            "--accel", "tcg", "--kernel", str(self.kernel if kernel is None else kernel),
            *map(str, options),
            no_reraise_ctrlc=True)

    def _run(
        self, scenario: Scenario, pool: Any, record: ScenarioRecord, steps: Steps, command: str,
    ) -> tuple[Judgement, str]:
        self.ran.append(scenario)
        record.history.write_text("")
        steps(self.calls_steps_with)
        verdict = self.outcome(scenario)
        judgement = Judgement(scenario.id, (Check(
            "ledger", verdict, "3 I/Os never ended", (),
            {"longest_command": Figure(2.5, "s"), "teardown_time": Figure(1.25, "s")}),))
        record.save(judgement)
        return judgement, self.unproven

    @property
    def results(self) -> Path:
        """The last run's folder."""
        return (self.top / "results/runs/latest").resolve()


@pytest.fixture
def desk(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Provide a desk."""
    return Desk(pytester, monkeypatch)


def only(*verdicts: Verdict) -> Outcome:
    """Assign verdicts to the faults, in the suite's order."""
    return lambda scenario: dict(zip(FAULTS, verdicts, strict=True))[scenario.plan.fault.name]


# --- bad input ------------------------------------------------------------------------------------


def refusal(desk: Desk, result: pytest.RunResult) -> str:
    """Return the one line with the reason why nothing was run."""
    assert result.ret == USAGE_ERROR
    assert desk.ran == []
    output = [line for line in (*result.outlines, *result.errlines) if line.startswith("ERROR: ")]
    assert len(output) == 1
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    after = result.outlines[result.outlines.index(output[0]) + 1:] \
        if output[0] in result.outlines else []
    assert [line for line in after if line] == []
    return output[0].removeprefix("ERROR: ")


def test_a_prefix_that_is_no_installation(desk: Desk) -> None:
    output = refusal(desk, desk.run("--target", "scst", "--scst", desk.top))
    assert output.startswith(f"{desk.top}: not an SCST installation")


def test_a_prefix_that_is_not_there(desk: Desk) -> None:
    output = refusal(desk, desk.run("--target", "scst", "--scst", "/no/such/place"))
    assert output.startswith("/no/such/place: no such directory")


def test_a_prefix_without_the_guests_kernel(desk: Desk) -> None:
    kernel = desk.kernel_directory("other", "6.12.0-2-test")
    output = refusal(desk, desk.run("--target", "scst", "--scst", desk.prefix(), kernel=kernel))
    assert output.endswith(f"no SCST modules for kernel 6.12.0-2-test, only for {RELEASE}")


def test_scst_without_a_prefix(desk: Desk) -> None:
    assert refusal(desk, desk.run("--target", "scst")).startswith(
        "--target scst needs --scst PREFIX (or SCST_PREFIX)")


def test_the_prefix_may_come_from_the_environment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCST_PREFIX", "/no/such/place")
    assert "/no/such/place" in refusal(desk, desk.run("--target", "scst"))


def test_an_unknown_kernel(desk: Desk) -> None:
    assert refusal(desk, desk.run(kernel="2.6")).startswith("unknown kernel '2.6': ")


def test_a_kernel_without_modules(desk: Desk) -> None:
    shutil.rmtree(desk.kernel / "lib")
    assert "has no modules" in refusal(desk, desk.run())


def test_a_kernel_without_a_module_that_guests_boot_with(desk: Desk) -> None:
    (desk.kernel / "lib/modules" / RELEASE / "modules.builtin").write_text("virtio_pci.ko\n")
    assert refusal(desk, desk.run()) == f"kernel {RELEASE} has no module virtio_blk"


def test_no_qemu(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(desk.top))
    assert refusal(desk, desk.run()) == (
        "qemu-system-x86_64 is not installed: apt-get install qemu-system-x86")


def test_no_disk_space_for_the_image(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_session, "guest_image", guest_image)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 7 << 20))
    output = refusal(desk, desk.run())
    assert output.startswith("no disk space for the guest image: 3072 MiB are needed under ")
    assert "7 MiB are free" in output


def test_results_that_cannot_be_written(desk: Desk) -> None:
    (desk.top / "file").touch()
    assert refusal(desk, desk.run("--results", "file/runs")).startswith(
        "results directory file/runs cannot be written: Not a directory")


@pytest.mark.parametrize("options", [
    ("--repeat", "0"), ("--repeat", "-1")])
def test_a_repetition_that_cannot_be(desk: Desk, options: tuple[str, ...]) -> None:
    assert refusal(desk, desk.run(*options)) == "--repeat takes a whole number from 1"


def test_a_suite_that_refuses_what_it_is_asked(desk: Desk) -> None:
    (desk.top / f"{desk.suite}.py").write_text(
        "from fixtures.scenario import scenarios\n"
        "from results.errors import WrongUsageError\n"
        "def plans(selection):\n"
        "    raise WrongUsageError(f'there are no {selection.rounds} rounds')\n"
        "@scenarios(plans)\n"
        "def test_it(ctx):\n"
        "    pass\n")
    assert refusal(desk, desk.run("--rounds", "9")) == "there are no 9 rounds"


def test_a_test_without_plans(desk: Desk) -> None:
    (desk.top / f"{desk.suite}.py").write_text("def test_it(ctx): pass\n")
    result = desk.run()
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{desk.suite}.py::test_it takes ctx, and no @scenarios(...)*"])


def test_kvm_that_is_not_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fixtures.machine.accel._why_not_kvm", lambda *_: "there is no /dev/kvm")
    assert refusal(desk, desk.run("--accel", "kvm")) == "--accel kvm: there is no /dev/kvm"


@pytest.mark.parametrize("option", ["--target=windows", "--accel=hax", "--seed=x", "--repeat=x"])
def test_what_no_option_takes(desk: Desk, option: str) -> None:
    assert desk.run(option).ret == USAGE_ERROR
    assert desk.ran == []


def test_tests_without_guests_need_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.top / "test_plain.py").write_text("def test_plain(): pass\n")
    monkeypatch.setenv("PATH", str(desk.top))
    result = desk.run("test_plain.py")
    result.assert_outcomes(passed=1)
    assert not (desk.top / "results").exists()


def test_listing_the_tests_needs_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(desk.top))
    assert desk.run("--collect-only").ret == 0
    assert not (desk.top / "results").exists()


# --- verdicts -------------------------------------------------------------------------------------


def test_each_verdict_is_what_pytest_calls_it(desk: Desk) -> None:
    desk.outcome = only(Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN)
    result = desk.run()
    result.assert_outcomes(passed=1, failed=1, errors=1)
    assert result.ret == 1
    ids = [scenario.id for scenario in desk.ran]
    result.stdout.fnmatch_lines([
        "*UNKNOWN: ledger: 3 I/Os never ended*",
        f"*evidence: {desk.results / ids[2]}",
        "*FAIL: ledger: 3 I/Os never ended*",
        f"*evidence: {desk.results / ids[1]}",
    ])


def test_a_run_that_passes(desk: Desk) -> None:
    result = desk.run("--seed", "7")
    result.assert_outcomes(passed=3)
    assert result.ret == 0
    assert [scenario.plan.fault.name for scenario in desk.ran] == list(FAULTS)
    assert {scenario.seed for scenario in desk.ran} == {7}
    result.stdout.fnmatch_lines([f"target: lio; kernels: {desk.kernel}; seed: 7"])


def test_a_pass_that_proves_nothing_is_skipped(desk: Desk) -> None:
    desk.unproven = "the race was not met"
    desk.outcome = only(Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN)
    result = desk.run("-rs")
    result.assert_outcomes(skipped=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["SKIPPED*the race was not met"])


@pytest.mark.parametrize("wrong", ["assert ctx == 1", "import pytest; pytest.fail('no')"])
def test_a_wrong_test_is_an_error(desk: Desk, wrong: str) -> None:
    """Neither a pass nor the target's failure: its history has no verdict but UNKNOWN."""
    (desk.top / f"{desk.suite}.py").write_text(SUITE.replace("pass\n", f"{wrong}\n"))
    desk.run().assert_outcomes(errors=3)


ARGUMENTS = """
from dataclasses import dataclass
import pytest
from fixtures.scenario import Plan, scenarios
from inject.release import Release

@dataclass(frozen=True)
class Job:
    size: int
    seed: int = 1

def plans(selection):
    for size in (3, 4):
        yield Plan(Release(), variant=f"size{size}", arguments={"job": Job(size), "word": "yes"})

@pytest.fixture
def other():
    return "other"

@scenarios(plans)
def test_it(ctx, job, other):
    ctx.append((job.size, job.seed, other))
"""


def test_a_plans_arguments_are_the_tests(desk: Desk) -> None:
    (desk.top / f"{desk.suite}.py").write_text(ARGUMENTS)
    desk.calls_steps_with = []
    desk.run("--seed", "7").assert_outcomes(passed=2)
    assert desk.calls_steps_with == [(3, 7, "other"), (4, 7, "other")]
    first, _ = desk.ran
    assert first.id.endswith("-iscsi-size3-exec-write4-release")
    record = first.record()
    assert (record["job"], record["word"]) == ({"size": 3, "seed": 7}, "yes")
    assert record["test"] == f"{desk.suite}.py::test_it"


def test_the_closing_table(desk: Desk) -> None:
    desk.outcome = only(Verdict.PASS, Verdict.FAIL, Verdict.PASS)
    result = desk.run()
    ids = [scenario.id for scenario in desk.ran]
    result.stdout.fnmatch_lines([
        "*= scenarios =*",
        "scenario *longest command *teardown *decided by",
        f"{ids[0]} *PASS * 2.50 s * 1.25 s",
        f"{ids[1]} *FAIL * 2.50 s * 1.25 s  ledger: 3 I/Os never ended",
        f"{ids[2]} *PASS * 2.50 s * 1.25 s",
        "*2 PASS, 1 FAIL*",
        f"results: {desk.results}",
    ])


def test_repetitions_are_recorded_each_by_itself(desk: Desk) -> None:
    result = desk.run("--repeat", "2", "-k", "release")
    result.assert_outcomes(passed=2, deselected=4)
    (name,) = {scenario.id for scenario in desk.ran}
    assert sorted(path.name for path in desk.results.iterdir() if path.is_dir()) == [
        name, f"{name}~2"]
    assert json.loads((desk.results / "run.json").read_text())["options"]["repeat"] == 2


def test_every_kernel_is_asked(desk: Desk) -> None:
    other = desk.kernel_directory("other", "6.12.0-2-test")
    result = desk.run("--kernel", other, "--kernel", desk.kernel)
    result.assert_outcomes(passed=6)
    assert [scenario.kernel for scenario in desk.ran] == [str(desk.kernel)] * 3 + [str(other)] * 3


def test_a_run_on_record(desk: Desk) -> None:
    desk.run("--target", "scst", "--scst", desk.prefix(), "--seed", "7", "-k", "release")
    record = json.loads((desk.results / "run.json").read_text())
    assert record["seed"] == 7
    assert record["target"]["version"] == "4.0.0"
    assert record["kernels"] == [
        {"name": str(desk.kernel), "release": RELEASE, "origin": str(desk.kernel)}]
    assert record["accelerator"] == {"name": "tcg", "reason": "--accel tcg"}
    assert record["options"]["target"] == "scst"
    assert set(record["host"]) == {"name", "release", "cpus", "python"}
    assert record["verdicts"] == {"PASS": 1}


def test_junit_says_which_run_it_is_and_where_the_evidence_lies(desk: Desk) -> None:
    desk.outcome = only(Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN)
    desk.run("--junitxml", "junit.xml", "-o", "junit_family=xunit2", "-o",
             "junit_logging=system-out")
    suite = check_junit(desk.top / "junit.xml")
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert (properties["run"], properties["target"]) == (desk.results.name, "lio")
    cases = list(suite.iter("testcase"))
    assert [[child.tag for child in case if child.tag != "system-out"] for case in cases] == [
        [], ["failure"], ["error"]]
    for case, scenario in zip(cases, desk.ran, strict=True):
        output = case.findtext("system-out") or ""
        assert output.count("[[ATTACHMENT|") == len(files_in(desk.results / scenario.id))
        assert f"[[ATTACHMENT|{desk.results / scenario.id / 'verdict.json'}]]" in output


def test_pytest_html_gets_links(desk: Desk) -> None:
    pytest.importorskip("pytest_html", reason="pytest-html is not installed")
    desk.outcome = only(Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN)
    desk.run("-p", "pytest_html", "--html", "report.html")
    output = (desk.top / "report.html").read_text()
    assert all((desk.results / scenario.id / "verdict.json").as_uri() in output
               for scenario in desk.ran)


# --- interruptions --------------------------------------------------------------------------------


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_what_was_recorded_outlives_an_interrupt(
    desk: Desk, interrupt: type[BaseException],
) -> None:
    def interrupted(scenario: Scenario) -> Verdict:
        if scenario.plan.fault.name == "backend-close":
            raise interrupt("by the user")
        return Verdict.PASS

    desk.outcome = interrupted
    result = desk.run("-x" if interrupt is SystemExit else "-v")
    assert result.ret in {1, 2}
    first, second = (desk.results / scenario.id for scenario in desk.ran)
    assert json.loads((first / "verdict.json").read_text())["verdict"] == "PASS"
    assert (second / "history.jsonl").exists()
    record = json.loads((desk.results / "run.json").read_text())
    assert record["verdicts"] == {"PASS": 1}
    result.stdout.fnmatch_lines([f"{first.name} *PASS*", f"results: {desk.results}"])
