# SPDX-License-Identifier: GPL-2.0-or-later
"""Failing allocations: files written, tasks marked, failures counted and reported."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from inject.pair import PAIRS
from inject.system import ALLOCATIONS
from results.checkers import allocations
from results.errors import MachineLostError, TargetFailedError
from results.history import Recorder
from results.verdict import Verdict
from suites.selftest.test_operations import StagedDeployment
from suites.selftest.test_plugin import Desk
from targets import allocation
from targets.allocation import FEATURES, MANY, WAYS, missing
from targets.catalogue import traits_of
from targets.machine import Completed

pytest_plugins = ["suites.selftest.test_plugin"]


class Tree:
    """A directory in place of /sys/kernel and /proc, and a real shell."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for capability in {way.capability for way in WAYS.values()}:
            (top / "debug" / capability).mkdir(parents=True)
        for number, comm in enumerate(("iscsi_trx", "iscsi_ttx", "fio", "scst3 odd)"), 1):
            (top / f"proc/{number}/task/{number}").mkdir(parents=True)
            (top / f"proc/{number}/task/{number}/comm").write_text(f"{comm}\n")
        for cache in ("tcmu_cmd_cache", "ext4_inode_cache"):
            (top / "slab" / cache).mkdir(parents=True)
            (top / "slab" / cache / "failslab").write_text("0\n")

    def run(self, script: str) -> str:
        """Run a script on the directory and return its output."""
        moved = script.replace("/sys/kernel", str(self.top)).replace("/proc/", f"{self.top}/proc/")
        return subprocess.run(["sh", "-ec", moved], check=True, capture_output=True,
                              text=True).stdout

    def read(self, path: str) -> str:
        """Return a file's stripped content."""
        return (self.top / path).read_text().strip()

    def marked(self, pattern: str) -> set[str]:
        """Return the files that match a pattern and contain 1."""
        return {str(path.relative_to(self.top)) for path in self.top.glob(pattern)
                if path.read_text().strip() == "1"}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Provide a tree."""
    return Tree(tmp_path)


def test_the_targets_own_threads_are_marked(tree: Tree) -> None:
    (tree.top / "proc/9/task/9").mkdir(parents=True)  # a task that exits during the script
    tree.run(WAYS["failslab"].arm(("iscsi_t", "scst3 o"), ()))
    assert tree.marked("proc/*/task/*/make-it-fail") == {
        f"proc/{number}/task/{number}/make-it-fail" for number in (1, 2, 4)}
    settings = {name: tree.read(f"debug/failslab/{name}") for name in (
        "task-filter", "ignore-gfp-wait", "interval", "probability")}
    assert settings == {"task-filter": "Y", "ignore-gfp-wait": "N", "interval": "1",
                        "probability": "30"}
    assert not tree.marked("slab/*/failslab")


def test_the_targets_own_caches_are_marked(tree: Tree) -> None:
    tree.run(WAYS["failslab-caches"].arm(("iscsi_t",), ("tcmu_cmd_cache", "not_of_this_kernel")))
    assert tree.marked("slab/*/failslab") == {"slab/tcmu_cmd_cache/failslab"}
    assert tree.read("debug/failslab/cache-filter") == "Y"
    assert not tree.marked("proc/*/task/*/make-it-fail")


def test_pages_of_every_order_and_zone_fail(tree: Tree) -> None:
    tree.run(WAYS["fail-page-alloc"].arm(("iscsi_t",), ()))
    assert [tree.read(f"debug/fail_page_alloc/{name}") for name in (
        "min-order", "ignore-gfp-highmem", "ignore-gfp-wait")] == ["0", "N", "N"]


def test_they_are_counted_when_it_ends(tree: Tree) -> None:
    way = WAYS["failslab"]
    tree.run(way.arm(("iscsi_t",), ()))
    (tree.top / "debug/failslab/times").write_text(f"{MANY - 41}\n")
    assert tree.run(way.disarm()) == "41\n"
    assert tree.read("debug/failslab/probability") == "0"


def test_a_deployment_has_its_own_allocations_fail(tmp_path: Path) -> None:
    staged = StagedDeployment(tmp_path)
    scripts: list[str] = []

    def run(argv: list[str], **_: object) -> Completed:
        scripts.append(argv[-1])
        return Completed(tuple(argv), 0, "17\n", "")

    staged.machine.run = run  # type: ignore[method-assign,assignment]
    staged.deployment.begin("failslab-caches")
    assert "/sys/kernel/slab/scst_user_cmd/failslab" in scripts[-1]
    running = staged.deployment.begin("failslab")
    assert "scst_usr_cleanu*" in scripts[-1]
    staged.machine.files["/sys/kernel/debug/failslab/times"] = f"{MANY}\n"
    assert not running.done
    staged.machine.files["/sys/kernel/debug/failslab/times"] = f"{MANY - 1}\n"
    assert running.done  # the first failure: now the device is taken away
    running.finish(0.1)
    staged.deployment.heal("failslab", 1.0)
    injected = staged.recorder.history().first("fault", "injected")
    assert injected and injected.data == {"operation": "failslab", "count": 17}


@pytest.mark.parametrize(("counts", "verdict"), [
    ([], None), ([0], Verdict.UNKNOWN), ([0, 3], Verdict.PASS)])
def test_none_that_failed_is_nothing_to_look_at(
    counts: list[int], verdict: Verdict | None, tmp_path: Path,
) -> None:
    with Recorder(tmp_path / "history.jsonl") as recorder:
        for count in counts:
            allocation.record(recorder, 1.0, "failslab", f"{count}\n")
        found = allocations.check(recorder.history())
    assert (found and found.verdict) is verdict
    if found:
        assert found.figures["allocations_failed"].value == sum(counts)


class Kernel:
    """A machine whose kernel is a tree."""

    release = "6.1.0-fake"

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def run(self, argv: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        """Run a script on the tree."""
        moved = argv[-1].replace("/sys/kernel", str(self.tree.top))
        done = subprocess.run(["sh", "-c", moved], check=check, capture_output=True, text=True)
        done.status = done.returncode  # type: ignore[attr-defined]
        return done


def test_what_a_kernel_lacks_is_said(tree: Tree) -> None:
    machine: Any = Kernel(tree)
    mark = tree.top / "slab/kmalloc-64/failslab"
    mark.parent.mkdir()
    mark.touch(0o600)
    assert missing(machine, list(FEATURES)) is None
    mark.chmod(0o400)
    assert missing(machine, list(FEATURES)) == (
        "kernel 6.1.0-fake has no failslab caches: /sys/kernel/slab/*/failslab is not there, or "
        "read-only as in Linux 6.1")
    (tree.top / "debug/fail_page_alloc").rmdir()
    assert missing(machine, ["fail_page_alloc"]) == (
        "kernel 6.1.0-fake has no fail_page_alloc: it was built without "
        "CONFIG_FAULT_INJECTION_DEBUG_FS or CONFIG_FAIL_PAGE_ALLOC")


def test_a_kernel_that_takes_it_not_is_a_broken_tool(tmp_path: Path) -> None:
    staged = StagedDeployment(tmp_path)
    staged.machine.run = lambda argv, **_: Completed(  # type: ignore[method-assign]
        tuple(argv), 2, "", "sh: cannot create /sys/x: Permission denied\n")
    with pytest.raises(MachineLostError, match="does not take it: sh: cannot create /sys/x"):
        staged.deployment.begin("failslab")


def test_one_that_cannot_be_ended_is_a_broken_tool(tmp_path: Path) -> None:
    staged = StagedDeployment(tmp_path)
    staged.deployment.begin("failslab")
    staged.machine.run = lambda argv, **_: Completed(  # type: ignore[method-assign]
        tuple(argv), 2, "", "sh: 1: arithmetic expression\n")
    with pytest.raises(MachineLostError, match="arithmetic"):
        staged.deployment.heal("failslab", 1.0)


def test_a_pair_needs_what_its_kernel_has_to_have() -> None:
    assert {name for fault in ALLOCATIONS for name in fault.needs.kernel} == set(FEATURES)
    needs = {pair.name: pair.needs for pair in PAIRS}
    assert needs["failslab+backend-close"].kernel == {"failslab"}
    assert needs["cpu-hog+backend-close"].kernel == frozenset()
    assert "backend-close+failslab" not in needs  # its effect could not be observed
    assert needs["failslab+backend-close"].on(traits_of("lio"))
    # tgtadm's requests would be refused.
    assert not needs["failslab+backend-close"].on(traits_of("tgt"))


SUITE = """
from fixtures.scenario import Plan, scenarios
from inject.catalogue import FAULTS

def plans(selection):
    return [Plan(FAULTS[name]) for name in ("release", "failslab", "backend-kill")]

@scenarios(plans)
def test_it(ctx):
    pass
"""


@pytest.mark.parametrize("machine", ["lacks it", "is lost"])
def test_what_the_kernel_lacks_is_skipped(
    desk: Desk, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, machine: str,
) -> None:
    (desk.top / f"{desk.suite}.py").write_text(SUITE)

    def lacks(pool: object, kernel: str, features: frozenset[str]) -> str | None:
        if features and machine == "is lost":
            raise TargetFailedError("it does not load")
        return f"no {'and '.join(features)}" if features else None

    monkeypatch.setattr("fixtures.guest_pool.GuestPool.lacks", lacks)
    result = desk.run("-rs")
    if machine == "is lost":  # the scenario itself then reports the lost machine
        result.assert_outcomes(passed=3)
        return
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["*SKIPPED*no failslab*"])
    result.stdout.fnmatch_lines(["*2 of 2: PASS*backend-kill*"])
    assert [scenario.plan.fault.name for scenario in desk.ran] == ["release", "backend-kill"]
