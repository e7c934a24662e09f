# SPDX-License-Identifier: GPL-2.0-or-later
"""The store: the layout of a run's records, each written so that an interruption loses nothing.

::

    RESULTS/latest -> RUN-ID
    RESULTS/RUN-ID/run.json
    RESULTS/RUN-ID/SCENARIO-ID/{history.jsonl,verdict.json,console.log,report.txt}
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import IO, Any

from results.errors import WrongUsageError
from results.judge import Judgement

DEFAULT_RESULTS = "results/runs"

RUN = "run.json"
HISTORY = "history.jsonl"
VERDICT = "verdict.json"
CONSOLE = "console.log"
REPORT = "report.txt"
LATEST = "latest"
STALLED = "stalled"

KERNEL_IN_ID = 60
"""Characters of a kernel's path that go into an id, which must fit into a file's name."""


@dataclass(frozen=True)
class ScenarioRecord:
    """The directory of one scenario in a run."""

    path: Path

    @property
    def history(self) -> Path:
        """Path of history.jsonl, for a ``Recorder``."""
        return self.path / HISTORY

    @property
    def initiators_console(self) -> Path:
        """Path of the console log of the initiator's own machine, where it has one."""
        return self.path / "console-initiator.log"

    @property
    def console(self) -> Path:
        """Path of console.log."""
        return self.path / CONSOLE

    @property
    def report(self) -> Path:
        """Path of report.txt, which exists for a scenario that did not pass, or was slow."""
        return self.path / REPORT

    @property
    def verdict(self) -> Path:
        """Path of verdict.json."""
        return self.path / VERDICT

    def save(self, judgement: Judgement) -> Path:
        """Write verdict.json atomically, and return its path."""
        write_json(self.verdict, judgement.to_json())
        return self.verdict

    def load(self) -> Judgement:
        """Read verdict.json. Raises FileNotFoundError when the scenario was never judged."""
        return Judgement.from_json(json.loads(self.verdict.read_text()))


@dataclass(frozen=True)
class Run:
    """The directory of one run."""

    path: Path

    @classmethod
    def begin(cls, results: Path, record: Mapping[str, Any]) -> Run:
        """Make the directory of a new run with its run.json, and point ``latest`` at it.

        Raises WrongUsageError when the results directory cannot be written.
        """
        run = cls(results.absolute() / run_id())
        try:
            run.path.mkdir(parents=True)
            write_json(run.path / RUN, {"run": run.path.name, **record})
            point(results.absolute() / LATEST, run.path.name)
        except OSError as error:
            raise _unwritable(results, error) from error
        return run

    def record(self) -> dict[str, Any]:
        """Return the content of run.json."""
        record: dict[str, Any] = json.loads((self.path / RUN).read_text())
        return record

    def note(self, **facts: Any) -> None:
        """Add facts to run.json that are known only later (the accelerator, the end)."""
        write_json(self.path / RUN, {**self.record(), **facts})

    def scenario(self, identity: str) -> ScenarioRecord:
        """Make the directory of a scenario; a repetition gets ``~2``, ``~3`` behind its name.

        Raises WrongUsageError when the id cannot be a directory's name.
        """
        if not identity or "/" in identity or "\0" in identity or identity.startswith("."):
            raise WrongUsageError(f"scenario id {identity!r} cannot be a directory's name")
        for path in _names(self.path / identity):
            with suppress(FileExistsError):
                path.mkdir()
                return ScenarioRecord(path)
        raise AssertionError("the names never end")

    def scenarios(self) -> list[ScenarioRecord]:
        """Return the scenarios on record, in the order in which they were begun."""
        found = [path for path in self.path.iterdir() if (path / HISTORY).exists()
                 or (path / VERDICT).exists()]
        return [ScenarioRecord(path) for path in sorted(found, key=_begun)]


def find_run(results: Path, name: str) -> Run:
    """Return the run that a user names: "latest", an id or its beginning, or a folder.

    Raises WrongUsageError when there is none, or more than one.
    """
    if (Path(name) / RUN).is_file():
        return Run(Path(name).resolve())
    if "/" not in name and (results / name / RUN).is_file():
        return Run((results / name).resolve())
    found = sorted(path.parent for path in results.glob(f"{escape(name)}*/{RUN}")) \
        if name and "/" not in name else []
    if not found:
        raise WrongUsageError(f"no run {name!r}: neither in {results} nor a folder with a {RUN}")
    if len(found) > 1:
        raise WrongUsageError(f"{name!r} may be {', '.join(path.name for path in found[:4])}"
                              + (" ..." if len(found) > 4 else ""))
    return Run(found[0].resolve())


def require_writable(results: Path) -> None:
    """Raise WrongUsageError when the results directory cannot be written; make it if need be."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise _unwritable(results, error) from error


def _unwritable(results: Path, error: OSError) -> WrongUsageError:
    words = f"results directory {results} cannot be written: {error.strerror}"
    if error.filename2 or error.filename:
        words += f" ({error.filename2 or error.filename})"
    return WrongUsageError(words)


def run_id() -> str:
    """Return a name for a run that sorts by time: UTC to the second, then random digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def kernel_in_id(name: str) -> str:
    """Return the form in which a kernel's name, which may be a path, appears in a scenario's id."""
    return name.strip("/").replace("/", "_")[-KERNEL_IN_ID:]


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    with whole(path) as file:
        json.dump(value, file, indent=2, default=str)
        file.write("\n")


@contextmanager
def whole(path: Path) -> Iterator[IO[str]]:
    """Provide a text file that replaces ``path`` atomically when the context ends."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def point(link: Path, target: str) -> None:
    """Point a symbolic link at a name in its directory, atomically."""
    beside = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    beside.symlink_to(target)
    try:
        beside.replace(link)
    finally:
        beside.unlink(missing_ok=True)


def _names(path: Path) -> Iterator[Path]:
    yield path
    number = 1
    while True:
        number += 1
        yield path.with_name(f"{path.name}~{number}")


def _begun(path: Path) -> tuple[int, str]:
    first = path / HISTORY if (path / HISTORY).exists() else path
    return first.stat().st_ctime_ns, path.name
