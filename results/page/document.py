# SPDX-License-Identifier: GPL-2.0-or-later
"""The document: skeleton, style, script and data as one HTML file.

The parts that are needed first come first: a table of all scenarios, and the script that shows it.
Then comes a script element of JSON for each scenario's detail, which is parsed when it is opened.
The order lets a browser paint the table while it still reads the rest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from html import escape
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import quote

from results import replay
from results.errors import WrongUsageError
from results.page.clean import quoted, script, text
from results.page.scenario import BROKEN, DIGEST, UNFINISHED, Digest, digest
from results.store import HISTORY, RUN, VERDICT, whole
from results.verdict import Outcome

PAGE = "report.html"

OUTCOMES = (Outcome.FAIL, UNFINISHED, BROKEN, Outcome.UNKNOWN, Outcome.KNOWN, Outcome.FIXED,
            Outcome.PASS)
"""In the order of interest to a reader."""

DETAILS_MAX = 32 << 20
"""Maximum characters of all details: beyond it, those of passed scenarios are cut to their
checks."""

FILES_MAX = 200
"""Maximum number of linked files of one scenario."""

ALONE = 64
"""Scenarios up to which one process reads them; for more, one process for each CPU."""

PARTS = Path(__file__).parent

FIRST_FILES = ("report.txt", "verdict.json", "history.jsonl", "console.log")


def write(run: Path, page: Path | None = None) -> Path:
    """Write the page of a run atomically, and return its path.

    ``run``: its folder, finished or not. ``page``: the file to write, if not report.html in that
    folder; its links then lead to the folder. Raises WrongUsageError when there is no such run,
    OSError when the page cannot be written.
    """
    run = run.absolute()
    if not run.is_dir():
        raise WrongUsageError(f"{run}: no such run")
    folders = scenario_folders(run)
    if not folders and not (run / RUN).is_file():
        raise WrongUsageError(f"{run}: no run: it has neither {RUN} nor a scenario's folder")
    page = run / PAGE if page is None else page.absolute()
    base = Path(os.path.relpath(run, page.parent))
    with whole(page) as file:
        for part in parts(run, folders, base):
            file.write(part)
    return page


def scenario_folders(run: Path) -> list[Path]:
    """Return the folders of a run's scenarios in the order in which they were begun."""
    found = []
    with os.scandir(run) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_dir() and not entry.name.startswith("."):
                    found.append(_begun(Path(entry.path)))
    return [path for _, _, path in sorted(found)]


def _begun(folder: Path) -> tuple[int, str, Path]:
    """Return the time of a scenario's first file, as far as it is known, its name and folder."""
    times = []
    for name in (HISTORY, VERDICT):
        with suppress(OSError):
            times.append((folder / name).stat().st_ctime_ns)
    return (times or [folder.stat().st_ctime_ns])[0], folder.name, folder


def parts(run: Path, folders: Sequence[Path], base: Path) -> Iterator[str]:
    """Yield the document, piece by piece."""
    record, problem = _record(run)
    style = (PARTS / "page.css").read_text(encoding="utf-8")
    code = (PARTS / "page.js").read_text(encoding="utf-8")
    digests = list(_digests(folders))
    index = {
        "run": {**_identity(run, record), "problem": problem, "files": _files(run, base)},
        "outcomes": [str(each) for each in OUTCOMES],
        **_columns([each.row for each in digests]),
    }
    head = (PARTS / "page.html").read_text(encoding="utf-8")
    yield head.format(
        policy=_policy(style, code), title=escape(f"Run {text(run.name, 100)}"), style=style,
        index=script(index), script=code)
    options = {"target": index["run"]["target"]["name"], **_table(record.get("options"))}
    for number, (each, detail) in enumerate(zip(digests, _within(digests), strict=True)):
        more: dict[str, Any] = {"files": _files(folders[number], base / folders[number].name)}
        if each.replay:
            more["replay"] = _again(each.replay, options)
        # Both are JSON objects that are not empty.
        shown = f"{script(more)[:-1]},{detail[1:]}" if detail != "{}" else script(more)
        yield f'<script type="application/json" id="d{number}">{shown}</script>\n'
    yield "</body></html>\n"


def _digests(folders: Sequence[Path]) -> Iterator[Digest]:
    """Yield the digests, made by several processes where there are many."""
    fresh = sum(not (folder / DIGEST).exists() for folder in folders)
    if fresh <= ALONE:
        yield from map(digest, folders)
        return
    # Spawned, not forked: pytest's process has threads.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        yield from pool.map(digest, folders, chunksize=16)


def _within(digests: Sequence[Digest]) -> list[str]:
    """Return the details that fit into the page: scenarios that did not pass come first."""
    left = DETAILS_MAX
    details: dict[int, str] = {}
    for number, each in sorted(enumerate(digests),
                               key=lambda pair: pair[1].row["outcome"] == Outcome.PASS):
        left -= len(each.detail)
        details[number] = each.detail if left >= 0 else _thin(json.loads(each.detail))
    return [details[number] for number in range(len(digests))]


def _thin(detail: Mapping[str, Any]) -> str:
    return script({**{name: detail[name] for name in ("cause", "checks", "known", "slow",
                                                     "problems")
                      if name in detail}, "cut": True})


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the rows by columns: the axes as numbers into tables of their values."""
    names = dict.fromkeys(name for row in rows for name in row["axes"])
    axes = {}
    for name in names:
        values: dict[str, int] = {}
        of = [values.setdefault(row["axes"].get(name, "-"), len(values)) for row in rows]
        if len(values) > 1 or name in {"point", "mechanism"}:
            axes[name] = {"values": list(values), "of": of}
    return {
        "counts": Counter(row["outcome"] for row in rows),
        "axes": axes,
        "rows": [[row["id"], row["outcome"], row["by"], row["why"], row["known"],
                  row["figures"].get("longest_command"), row["figures"].get("teardown_time"),
                  row["titles"], row["slow"]] for row in rows],
    }


def _record(run: Path) -> tuple[dict[str, Any], str | None]:
    """Return the content of run.json, or the problem with it."""
    try:
        record = json.loads((run / RUN).read_text(errors="replace"))
    except FileNotFoundError:
        return {}, f"{RUN} is missing"
    except (OSError, ValueError) as error:
        return {}, text(f"{RUN} cannot be read: {error}")
    return (record, None) if isinstance(record, dict) else ({}, f"{RUN} is no table")


def _identity(run: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that identify this run."""
    kernels = [each for each in record.get("kernels") or [] if isinstance(each, dict)]
    command = record.get("command")
    return {
        "id": text(run.name, 100),
        "target": {"name": "?", **quoted(_table(record.get("target")))},
        "kernels": quoted(kernels),
        "accelerator": quoted(_table(record.get("accelerator"))),
        "host": quoted(_table(record.get("host"))),
        "seed": quoted(record.get("seed")),
        "started": text(record.get("started", "?"), 40),
        "ended": text(record.get("ended", ""), 40),
        "seconds": _duration(record),
        "command": " ".join(map(str, quoted(command))) if isinstance(command, list) else "",
        "options": quoted({name: value for name, value in _table(record.get("options")).items()
                           if value not in (None, False)}),
        "written": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _duration(record: Mapping[str, Any]) -> float | None:
    try:
        began, ended = (datetime.fromisoformat(record[name]) for name in ("started", "ended"))
        return (ended - began).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def _again(given: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    seed = given.get("seed")
    return text(replay.command(options, str(given["kernel"]), seed if isinstance(seed, int)
                               else None, str(given["id"])), 1000)


def _files(folder: Path, base: Path) -> list[list[Any]]:
    """Return [reference, name, bytes] of the files in a folder and in its evidence folder."""
    found = []
    for path in [*_entries(folder), *(each for sub in _entries(folder) if sub.is_dir()
                                      and sub.name == "evidence" for each in _entries(sub))]:
        with suppress(OSError):
            if path.is_file() and path.name not in {DIGEST, PAGE}:
                name = path.relative_to(folder)
                found.append([f"./{quote(os.fsencode(base / name))}", text(name, 255),
                              path.stat().st_size])
    found.sort(key=lambda each: (each[1] not in FIRST_FILES, each[1]))
    return found[:FILES_MAX]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _policy(style: str, code: str) -> str:
    """Return a Content-Security-Policy (CSP level 3) that allows a browser these two only."""
    return "; ".join((
        "default-src 'none'", f"style-src {_hash(style)}", f"script-src {_hash(code)}",
        "img-src 'self' file:", "base-uri 'none'", "form-action 'none'"))


def _hash(source: str) -> str:
    found = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(found).decode()}'"
