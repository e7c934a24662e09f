# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the detector self-test, which runs with ``-m detectors`` only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest

from fixtures.guest_pool import GuestPool
from fixtures.plugin import SESSION, RunPlan
from results.errors import MachineLostError, WrongUsageError
from suites.selftest.detectors import build
from suites.selftest.detectors.target import TargetWithModule

TABLE = "detectors.json"


@dataclass(frozen=True)
class Finding:
    """One detected defect: kernel, check, the check's reason, seconds from defect to detection."""

    defect: str
    kernel: str
    check: str
    title: str
    seconds: float


@dataclass
class Findings:
    """All findings of this run, stored beside its scenarios."""

    found: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding, results: Path) -> None:
        """Add a finding and write the whole table."""
        self.found.append(finding)
        table = json.dumps([asdict(each) for each in self.found], indent=2)
        (results / TABLE).write_text(table + "\n")


FINDINGS = pytest.StashKey[Findings]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config,
) -> None:
    """Print kernel, defect, check and seconds of each finding."""
    findings = config.stash.get(FINDINGS, None)
    if findings is None or not findings.found:
        return
    terminalreporter.section("detectors")
    for each in findings.found:
        terminalreporter.write_line(
            f"{each.defect:10} {each.kernel:6} {each.check:14} {each.seconds:6.2f} s  "
            f"{each.title}")


@pytest.fixture(scope="session")
def findings(request: pytest.FixtureRequest) -> Findings:
    """Provide the run's findings."""
    return request.config.stash.setdefault(FINDINGS, Findings())


@pytest.fixture(scope="session")
def defect_pool(request: pytest.FixtureRequest) -> Iterator[GuestPool]:
    """Provide a pool of guests with stf_test.ko loaded; skip where it cannot be built."""
    pool = request.config.stash[SESSION].pool
    try:
        files = {kernel.release: build.module(kernel, pool.progress)
                 for kernel in pool.kernels.values()}
    except (WrongUsageError, MachineLostError) as error:
        pytest.skip(f"{build.NAME} cannot be built: {error}")
    with replace(pool, target=TargetWithModule(pool.target, files), _guests={}) as with_module:
        yield with_module


@pytest.fixture
def defect_plan(run_plan: RunPlan, defect_pool: GuestPool) -> RunPlan:
    """Provide a runner of plans on these guests."""
    return run_plan.within(defect_pool)
