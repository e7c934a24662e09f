# SPDX-License-Identifier: GPL-2.0-or-later
"""The scenario ids that every suite collects for a target, and their table under version control.

A scenario's id names it in reports, in known issues, and in the records of earlier runs. After a
change that changes ids on purpose, write the table again from the top of the checkout::

    python -m suites.selftest.collected > suites/selftest/scenario_ids.tsv
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from targets.catalogue import TARGETS

TOP = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("scenario_ids.tsv")

SUITES = tuple(sorted(path.parent.name for path in (TOP / "suites").glob("*/__init__.py")
                      if path.parent.name != "selftest"))

EVERY_MARK = "not detectors or conformance or performance or endurance"
"""Selects opt-in tests, too: pytest leaves them out unless -m names their mark."""

NODE = re.compile(r"suites/(\w+)/\S+?\[(.+)\]")
NO_PARAMETERS = "NOTSET"
"""pytest's id of a test whose parameter list is empty."""

Ids = Mapping[str, Sequence[str]]
"""Ids by suite, in collection order."""


@cache
def collect(target: str, top: Path = TOP, suites: tuple[str, ...] = SUITES) -> Ids:
    """Return the ids collected for a target on one kernel, by suite, from a separate interpreter.

    ``target``: a target's name or the alias's (suites.selftest.alias_plugin). ``top``: the
    checkout. Raises AssertionError with pytest's output when the collection fails.
    """
    command = [sys.executable, "-m", "pytest", "-p", "suites.selftest.alias_plugin",
               "-p", "no:cacheprovider", "--collect-only", "-q", "--no-header",
               "-m", EVERY_MARK, "--target", target, "--kernel", "6.1",
               *(f"suites/{suite}" for suite in suites)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(command, cwd=top, env=environment, check=False, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    ids: dict[str, list[str]] = {suite: [] for suite in suites}
    for line in done.stdout.splitlines():
        found = NODE.fullmatch(line)
        if found and found[2] != NO_PARAMETERS:
            ids[found[1]].append(found[2])
    return ids


def rows(target: str, ids: Ids) -> list[str]:
    """Return a target's rows of the table: target, suite, number of ids, checksum of the ids."""
    return ["\t".join((target, suite, str(len(ids[suite])), checksum(ids[suite])))
            for suite in sorted(ids)]


def checksum(ids: Sequence[str]) -> str:
    """Return the SHA-256 of the sorted ids, one per line."""
    return hashlib.sha256("".join(f"{each}\n" for each in sorted(ids)).encode()).hexdigest()


if __name__ == "__main__":
    for name in TARGETS:
        print("\n".join(rows(name, collect(name))))
