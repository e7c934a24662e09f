# SPDX-License-Identifier: GPL-2.0-or-later
"""The index: the verdicts of all runs of a results directory, for queries, in SQLite.

The raw files are authoritative. The index is read from every run's run.json and its scenarios'
verdict.json, brought up to date whenever it is opened, and rebuilt when it is damaged or has
another layout. ``RESULTS/index.sqlite`` may be removed at any time.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
)
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool

from results.calibration import SPIN
from results.errors import MachineLostError
from results.identity import identity, parts_of
from results.service import IN_SPINS
from results.starvation import WAIT
from results.store import HISTORY, RUN, VERDICT, kernel_in_id
from results.verdict import Verdict

INDEX = "index.sqlite"

LAYOUT = 4
"""Increase it when the tables below or the values read into them change: older indexes are
rebuilt."""

FIGURES = (
    "service_p25", "latency_before_p50", "latency_before_p99", "latency_during_p50",
    "latency_during_max", "latency_after_p50", "latency_after_p99", "longest_command",
    "teardown_time", "bystander_max", "wall_time", SPIN, IN_SPINS, WAIT,
)
"""The figures of verdict.json by which runs are compared; all but UNITLESS are in seconds."""

UNITLESS = frozenset({IN_SPINS, WAIT})

SETTLED = 24 * 3600.0
"""Seconds without a change after which a run without a recorded end is not read again."""

BATCH = 5000
"""Rows per write."""

CACHE_KIB = 128 << 10
"""Maximum of SQLite's page cache in KiB. Names come in any order: with the default of 2 MiB each
page of their index would be written again and again."""

LOCK_TIMEOUT = 60.0
"""Seconds to wait for another program that writes the index."""

UNJUDGED = "the run ended, or was killed, before it was judged"

metadata = MetaData()

runs = Table(
    "run", metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, unique=True, nullable=False),
    Column("stamp", String, nullable=False),
    Column("started", String),
    Column("ended", String),
    Column("target", String),
    Column("version", String),
    Column("accelerator", String),
    Column("host", String),
    Column("cpus", Integer),
    Column("append", String, nullable=False),
    Column("seed", BigInteger),
)

names = Table(
    "name", metadata,
    Column("id", Integer, primary_key=True),
    Column("scenario", String, unique=True, nullable=False),
)

rows = Table(
    "scenario", metadata,
    Column("id", Integer, primary_key=True),
    Column("run", ForeignKey("run.id"), nullable=False),
    Column("name", ForeignKey("name.id"), nullable=False),
    Column("folder", String, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("kernel", String),
    Column("identity", String),
    Column("verdict", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("decided_by", String),
    Column("reason", String),
    Column("known", String),
    *(Column(figure, Float) for figure in FIGURES),
    Index("scenario_of_run", "run"),
    Index("scenario_by_name", "name"),
)


@contextmanager
def opened(results: Path, *, rebuild: bool = False) -> Iterator[Connection]:
    """Provide a connection to the index of a results directory, brought up to date.

    The index lies beside the runs, or in memory where it cannot be written. Another program may
    write it at the same time. ``rebuild``: discard the old index first.
    """
    path = results / INDEX
    if rebuild:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    try:
        engine = _current(path, results)
    except (OSError, DatabaseError):  # cannot be written: a full disk, another user's runs
        engine = _in_memory(_found(results))
    try:
        with engine.connect() as connection:
            yield connection
    except DatabaseError as error:
        raise MachineLostError(f"the index {path} is damaged ({error.orig}): "
                               "stf index --rebuild makes it anew") from error
    finally:
        engine.dispose()


@contextmanager
def alone(run: Path) -> Iterator[Connection]:
    """Provide a connection to an index of one run, wherever its directory lies."""
    engine = _in_memory({run.name: run})
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _found(results: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in results.glob(f"[!.]*/{RUN}")
            if not path.parent.is_symlink()}


def _in_memory(found: Mapping[str, Path]) -> Engine:
    engine = create_engine("sqlite://")
    _fill(engine, found)
    return engine


def _current(path: Path, results: Path) -> Engine:
    """Return an engine of the index on disk, with this layout, undamaged and up to date."""
    if path.exists():
        engine = _engine(f"sqlite:///{path.absolute()}")
        try:
            if _layout(engine) == LAYOUT:
                _fill(engine, _found(results))
                return engine
        except OperationalError:  # locked for too long, or no space: not the file's fault
            engine.dispose()
            raise
        except DatabaseError:  # no database, or a damaged one
            pass
        engine.dispose()
    return _made(path, results)


def _made(path: Path, results: Path) -> Engine:
    """Build the index in a temporary file and rename it; the last of several builders wins."""
    for stale in path.parent.glob(f".{path.name}.*"):  # of a program that was killed
        if time.time() - stale.stat().st_mtime > SETTLED:
            stale.unlink(missing_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    engine = _engine(f"sqlite:///{beside.absolute()}", "PRAGMA synchronous = OFF",
                     "PRAGMA journal_mode = OFF")  # not in use before it is complete
    try:
        _fill(engine, _found(results))
        engine.dispose()
        beside.replace(path)
    finally:
        engine.dispose()
        beside.unlink(missing_ok=True)
    return _engine(f"sqlite:///{path.absolute()}")


def _engine(address: str, *pragmas: str) -> Engine:
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": LOCK_TIMEOUT})

    # pysqlite begins no transaction before a SELECT (SQLAlchemy's documentation, SQLite,
    # "Serializable isolation"): two programs would then both find a run missing, and both add it.
    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (f"PRAGMA cache_size = -{CACHE_KIB}", *pragmas):
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(
            "writes") else "BEGIN")

    return engine


def _layout(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _fill(engine: Engine, found: Mapping[str, Path]) -> None:
    """Bring the tables up to date with the runs' folders, by name."""
    with engine.connect() as connection:
        there = connection.dialect.has_table(connection, runs.name)
        known = _stamps(connection) if there else {}
    stamps = {name: _stamp(path, known.get(name, (0, ""))[1]) for name, path in found.items()}
    if there and {name: stamp for name, (_, stamp) in known.items()} == stamps:
        return
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        metadata.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {LAYOUT}")
        writer = _Writer(connection)
        known = _stamps(connection)
        for name, (number, _) in known.items():
            if name not in found:
                writer.forget(number)
        for name, path in sorted(found.items()):
            if known.get(name, (0, ""))[1] != stamps[name]:
                writer.enter(path, stamps[name])
        writer.flush()


def _stamps(connection: Connection) -> dict[str, tuple[int, str]]:
    return {row.name: (row.id, row.stamp)
            for row in connection.execute(select(runs.c.id, runs.c.name, runs.c.stamp))}


def _stamp(run: Path, known: str) -> str:
    """Return a stamp of a run; a different stamp means that the run must be read again.

    ``known``: its previous stamp. A run with a recorded end never changes. For a run without one,
    every verdict's time is read until nothing has been added for a day.
    """
    record = (run / RUN).stat().st_mtime_ns
    if known == f"ended {record}" or _read(run / RUN).get("ended"):
        return f"ended {record}"
    newest = max(record, run.stat().st_mtime_ns)
    if time.time() - newest / 1e9 > SETTLED:
        return f"left {newest}"
    verdicts = [entry.stat().st_mtime_ns for entry in _entries(run, VERDICT)]
    return f"under way {newest} {len(verdicts)} {max(verdicts, default=0)}"


def _entries(run: Path, name: str) -> Iterator[Path]:
    for folder in os.scandir(run):
        path = Path(folder.path, name)
        if folder.is_dir() and path.exists():
            yield path


def _read(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in a file; an empty one when there is none."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


@dataclass(frozen=True)
class _Seen:
    """A scenario in the index: its row, and the modification time of its verdict (ns)."""

    row: int
    seen: int


class _Writer:
    """Enters runs in one transaction, rows in batches."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names: dict[str, int] = {
            row.scenario: row.id for row in connection.execute(select(names))}
        self._batch: list[dict[str, Any]] = []

    def forget(self, number: int) -> None:
        """Remove a run."""
        self._connection.execute(delete(rows).where(rows.c.run == number))
        self._connection.execute(delete(runs).where(runs.c.id == number))

    def enter(self, path: Path, stamp: str) -> None:
        """Enter a run, or its new scenarios."""
        record = _read(path / RUN)
        number = self._run(path.name, stamp, record)
        before = {row.folder: _Seen(row.id, row.seen) for row in self._connection.execute(
            select(rows.c.id, rows.c.folder, rows.c.seen).where(rows.c.run == number))}
        releases, parts = _releases(record), parts_of(record)
        identities = {release: identity(parts, release, releases.values())
                      for release in {None, *releases.values()}}
        for folder in sorted(os.scandir(path), key=_repetition):
            found = self._scenario(folder, before.get(folder.name), releases)
            if found:
                self._add({"run": number, "identity": identities[found["kernel"]], **found})

    def _run(self, name: str, stamp: str, record: Mapping[str, Any]) -> int:
        target, host = _object(record, "target"), _object(record, "host")
        values = {
            "name": name, "stamp": stamp, "started": _text(record, "started"),
            "ended": _text(record, "ended"), "target": _text(target, "name"),
            "version": " ".join(filter(None, (_text(target, "version"), _text(target, "commit"))))
            or None,
            "accelerator": _text(_object(record, "accelerator"), "name"),
            "host": _text(host, "name"),
            "cpus": _whole(host.get("cpus")),
            "append": _append(_object(record, "options")),
            "seed": _whole(record.get("seed")),
        }
        number = self._connection.scalar(select(runs.c.id).where(runs.c.name == name))
        if number is None:
            return self._inserted(runs, values)
        self._connection.execute(runs.update().where(runs.c.id == number), values)
        return int(number)

    def _scenario(
        self, folder: os.DirEntry[str], before: _Seen | None, releases: Mapping[str, str],
    ) -> dict[str, Any] | None:
        verdict = Path(folder.path, VERDICT)
        try:
            seen = verdict.stat().st_mtime_ns
        except OSError:  # none yet, or none ever
            if before or not Path(folder.path, HISTORY).exists():
                return None
            seen = 0
        if before and before.seen == seen:
            return None
        if before:
            self._connection.execute(delete(rows).where(rows.c.id == before.row))
        record = _read(verdict) if seen else {}
        scenario = str(record.get("scenario") or folder.name.partition("~")[0])
        return {"name": self._name(scenario), "folder": folder.name, "seen": seen,
                "kernel": _release(scenario, releases), **_judgement(record, bool(seen))}

    def _name(self, scenario: str) -> int:
        if scenario not in self._names:
            self._names[scenario] = self._inserted(names, {"scenario": scenario})
        return self._names[scenario]

    def _inserted(self, table: Table, values: Mapping[str, Any]) -> int:
        key = self._connection.execute(insert(table), values).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _add(self, row: dict[str, Any]) -> None:
        self._batch.append(row)
        if len(self._batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the gathered rows."""
        if self._batch:
            self._connection.execute(insert(rows), self._batch)
            self._batch.clear()


def _repetition(folder: os.DirEntry[str]) -> tuple[str, int, str]:
    """Return a sort key of folders that puts "~10" behind "~9"."""
    return folder.name.partition("~")[0], len(folder.name), folder.name


def _judgement(record: Mapping[str, Any], there: bool) -> dict[str, Any]:
    """Return the columns that verdict.json fills; UNKNOWN for an unreadable one."""
    verdict = _text(record, "verdict")
    if verdict not in Verdict.__members__:
        reason = "its verdict cannot be read" if there else UNJUDGED
        return {"verdict": "UNKNOWN", "outcome": "UNKNOWN", "decided_by": "machine",
                "reason": reason, "known": None, **dict.fromkeys(FIGURES)}
    decided = _text(record, "decided_by")
    reasons = (check.get("reason") for check in _objects(record.get("checks"))
               if check.get("name") == decided)
    figures = _object(record, "figures")
    return {
        "verdict": verdict, "outcome": _text(record, "outcome") or verdict,
        "decided_by": decided, "known": _text(_object(record, "known"), "id"),
        "reason": None if verdict == Verdict.PASS else _text(
            _object(record, "headline"), "cause") or next(map(str, reasons), None),
        **{name: _number(_object(figures, name).get("value")) for name in FIGURES},
    }


def _releases(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the releases of the run's kernels, by the name that scenarios' ids contain."""
    return {str(kernel.get("name")): str(kernel.get("release"))
            for kernel in _objects(record.get("kernels"))}


def _release(scenario: str, releases: Mapping[str, str]) -> str | None:
    """Return the release of a scenario's kernel: its id is TARGET-KERNEL-...."""
    for name, release in releases.items():
        if f"-{kernel_in_id(name)}-" in scenario:
            return release
    return next(iter(releases.values())) if len(releases) == 1 else None


def _objects(value: object) -> Iterable[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _object(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    return str(value) if isinstance(value, str | int) else None


def _append(options: Mapping[str, Any]) -> str:
    """Return additional words of the kernels' command line, and which suites have memory checks.

    Runs before there was --memory-checks had none: their times are of another kind.
    """
    words, checks = (_text(options, name) or "" for name in ("append", "memory_checks"))
    return " ".join(filter(None, (words, f"memory-checks={checks}" * (checks in ("auto", "on")))))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and abs(value) < 1 << 63 else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
