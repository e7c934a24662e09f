# SPDX-License-Identifier: GPL-2.0-or-later
"""KCIDB's reports (kcidb-io, schema 5.3): the input format of KernelCI's common database.

The checkout is the target's source, the build is target and kernel, and each scenario is a test.
Files are not uploaded: KCIDB needs addresses, so files are named only when the address of the run's
folder is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from results.formats.recorded import Recorded, clean, identity, record_of, scenarios
from results.store import Run
from results.verdict import Outcome

VERSION = {"major": 5, "minor": 3}

STATUS = {Outcome.PASS: "PASS", Outcome.FIXED: "PASS", Outcome.KNOWN: "FAIL",
          Outcome.FAIL: "FAIL", Outcome.UNKNOWN: "ERROR"}
"""A known failure is a failure to KCIDB, which keeps known issues of its own."""

EXCERPT_MAX = 16 * 1024
"""Characters of a log that a report may quote (kcidb-io, log_excerpt)."""

COMMIT = re.compile(r"[0-9a-f]{40}")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""The form in run.json."""

ORIGIN = re.compile(r"[a-z0-9_]+")


def write(run: Run, path: Path, *, origin: str, served: str | None = None) -> Path:
    """Write the report and return its path.

    ``origin``: the CI system's name in KCIDB, of a-z, 0-9 and _. ``served``: the address under
    which the run's folder is served.
    """
    path.write_text(json.dumps(report(run, origin, served), indent=2) + "\n", encoding="utf-8")
    return path


def report(run: Run, origin: str, served: str | None = None) -> dict[str, Any]:
    """Return the report as JSON values."""
    record = record_of(run)
    key = f"{origin}:{clean(run.path.name)}"
    build = f"{key}/build"
    return {
        "version": VERSION,
        "checkouts": [_present({
            "id": key, "origin": origin, "valid": True, **_source(record),
            "comment": "scsi-target-faults, " + _words(run),
            "start_time": _started(record)})],
        "builds": [_present({
            "id": build, "checkout_id": key, "origin": origin, "architecture": "x86_64",
            "status": "PASS", "comment": _words(run), "start_time": _started(record),
            "misc": identity(run)})],
        "tests": [_test(run, each, origin, build, served) for each in scenarios(run)],
    }


def _source(record: Mapping[str, Any]) -> dict[str, Any]:
    target = record.get("target")
    target = target if isinstance(target, dict) else {}
    commit = str(target.get("commit") or "")
    found: dict[str, Any] = {"tree_name": str(target.get("name") or "unknown")}
    if COMMIT.fullmatch(commit):
        found["git_commit_hash"] = commit
    elif commit:
        found["git_commit_name"] = commit
    return found


def _test(
    run: Run, each: Recorded, origin: str, build: str, served: str | None,
) -> dict[str, Any]:
    judgement = each.judgement
    found: dict[str, Any] = {
        "id": f"{origin}:{clean(run.path.name)}/{clean(each.name)}", "build_id": build,
        "origin": origin, "status": STATUS[judgement.outcome],
        "path": "scsi_target_faults." + re.sub(r"[^a-zA-Z0-9_-]", "_", judgement.scenario),
        "comment": clean(judgement.reason)[:EXCERPT_MAX],
        "duration": each.seconds,
        "start_time": _started(record_of(run)),
        "environment": {"comment": identity(run).get("host", "unknown"),
                        "misc": {"accelerator": identity(run).get("accelerator", "unknown")}},
        "misc": _present({
            "outcome": str(judgement.outcome),
            "slow": list(map(str, judgement.slow)) or None,
            "known_issue": judgement.known.id if judgement.known else None,
            "figures": {name: {"value": figure.value, "unit": figure.unit}
                        for name, figure in judgement.figures.items()
                        if figure.value is not None}}),
    }
    report_text = each.folder / "report.txt"
    if report_text.is_file():
        found["log_excerpt"] = clean(
            report_text.read_text(encoding="utf-8", errors="replace"))[:EXCERPT_MAX]
    if served:
        found["output_files"] = list(_files(run, each, served))
    return _present(found)


def _files(run: Run, each: Recorded, served: str) -> Iterator[dict[str, str]]:
    address = quote(served.rstrip("/"), safe="%:/?#[]@!$&'()*+,;=~")
    for file in each.files():
        inside = file.relative_to(run.path)
        yield {"name": "-".join(inside.parts[1:]), "url": f"{address}/{quote(str(inside))}"}


def _started(record: Mapping[str, Any]) -> str | None:
    started = str(record.get("started"))
    return started if TIME.fullmatch(started) else None


def _words(run: Run) -> str:
    return ", ".join(f"{name} {value}" for name, value in identity(run).items())


def _present(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without its unknown values: nothing in a report may be null."""
    return {name: value for name, value in record.items() if value is not None}
