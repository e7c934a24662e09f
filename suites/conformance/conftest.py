# SPDX-License-Identifier: GPL-2.0-or-later
"""The pristine guest and the final table of the conformance tests (``-m conformance`` only)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from fixtures.initiator.disk import Disk
from fixtures.initiator.iscsi_test_cu import Outcome
from fixtures.initiator.protocol import initiator_for
from fixtures.machine.guest import Guest
from fixtures.plugin import SESSION, RunPlan
from results import kernel_log
from results.errors import TargetFailedError, WrongUsageError
from results.history import Recorder
from results.store import ScenarioRecord
from targets.target import Deployment, Device, Target, Transport

TABLE = "conformance.json"

BAD = frozenset({Outcome.FAILED, Outcome.HUNG})


@dataclass(frozen=True)
class Row:
    """One test of iscsi-test-cu on a kernel: its outcomes on the two devices.

    ``reference_words``, ``our_words``: the failure messages. ``race``: the reason why the outcome
    does not depend on the device; "": it depends on the device.
    """

    kernel: str
    test: str
    reference: Outcome
    ours: Outcome
    reference_words: str = ""
    our_words: str = ""
    race: str = ""

    @property
    def worse(self) -> bool:
        """Whether the test passes on the reference and fails on the project's backend."""
        return not self.race and self.reference is Outcome.PASSED and self.ours in BAD

    def line(self) -> str:
        """Return the row as a line of the table."""
        words = [f"{who}: {text}" for who, what, text in (
            ("vdisk_fileio", self.reference, self.reference_words),
            ("scst_user", self.ours, self.our_words)) if what in BAD]
        return (f"{self.kernel:6} {self.test:38} {self.reference:8} {self.ours:8} "
                f"{'; '.join(words)}{f' ({self.race})' if self.race else ''}").rstrip()


@dataclass
class Table:
    """All rows of this run, saved in its results folder."""

    rows: list[Row] = field(default_factory=list)

    def add(self, rows: Iterable[Row], results: Path) -> None:
        """Add rows, and save all rows."""
        self.rows += rows
        text = json.dumps([asdict(row) for row in self.rows], indent=2)
        (results / TABLE).write_text(text + "\n")


ROWS = pytest.StashKey[Table]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config,
) -> None:
    """Print each test with its outcomes on vdisk_fileio and scst_user, and the failure messages."""
    table = config.stash.get(ROWS, None)
    if table is None or not table.rows:
        return
    terminalreporter.section("iscsi-test-cu: vdisk_fileio, scst_user")
    for row in table.rows:
        terminalreporter.write_line(row.line())


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Table:
    """Provide the run's table."""
    return request.config.stash.setdefault(ROWS, Table())


@dataclass(frozen=True)
class Bed:
    """A pristine guest, and the records of the test that runs on it.

    ``offset``: size of the console file in bytes when the guest was restored.
    """

    guest: Guest
    target: Target
    recorder: Recorder
    record: ScenarioRecord
    offset: int

    @contextmanager
    def deployed(
        self, device: Device, transport: Transport = Transport.ISCSI
    ) -> Iterator[Deployment]:
        """Provide a deployed device. After an error, leave the device and the guest unchanged.

        Raises TargetFailedError, also for kernel reports on the guest's console.
        """
        ladder = self.guest.ladder
        deployment = self.target.deploy(
            self.guest.machine, device, transport, ladder, self.recorder)
        with suppress(TargetFailedError, WrongUsageError):  # a backend without events for steps
            deployment.backend.call("steps", deadline=ladder.step, on=False)
        yield deployment
        deployment.remove()
        self._require_health()

    @contextmanager
    def disk(self, device: Device, transport: Transport = Transport.ISCSI) -> Iterator[Disk]:
        """Provide a deployed device as a disk of the guest."""
        initiator, ladder = initiator_for(transport), self.guest.ladder
        with self.deployed(device, transport) as deployment:
            yield initiator.login(self.guest.machine, deployment.address, ladder)
            initiator.logout(self.guest.machine, deployment.address, ladder)

    def console(self) -> str:
        """Return the guest's console output since the restore."""
        with self.guest.console.open("rb") as file:
            file.seek(self.offset)
            return file.read().decode(errors="replace")

    def _require_health(self) -> None:
        titles = list(dict.fromkeys(report.title for report in kernel_log.read(self.console())))
        if titles:
            raise TargetFailedError(f"the kernel reported: {'; '.join(titles)}")


Pristine = Callable[[], AbstractContextManager[Bed]]


@pytest.fixture
def pristine(request: pytest.FixtureRequest, run_plan: RunPlan, kernel_name: str) -> Pristine:
    """Provide a function that returns a context manager: a pristine guest with the target loaded.

    The test itself enters the context, since at an interrupt the guests end before the fixtures.
    """
    pool = run_plan.pool
    record = request.config.stash[SESSION].run.scenario(request.node.name.replace("/", "_"))

    @contextmanager
    def enter() -> Iterator[Bed]:
        with Recorder(record.history) as recorder, pool.restored(kernel_name) as guest:
            bed = Bed(guest, pool.target, recorder, record, guest.console.stat().st_size)
            try:
                yield bed
            finally:
                record.console.write_text(bed.console())

    return enter
