# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare recorded histories with the declarations in results.events.

    python -m suites.selftest.event_check results/runs

Prints each difference once, with the number of events that show it and one file.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from results.events import problems
from results.history import Event, History

HISTORY = "history.jsonl"


def differences(events: Iterable[Event]) -> Counter[str]:
    """Return every difference between these events and their declarations, with its count."""
    return Counter(each for event in events for each in problems(event))


def histories(path: Path) -> Iterable[Path]:
    """Return the histories at or below a path, each once."""
    found = path.rglob(HISTORY) if path.is_dir() else [path]
    return sorted({each.resolve() for each in found})


def main(argv: Sequence[str] | None = None) -> int:
    """Check all histories below the given paths; return 1 if any differs."""
    counts: Counter[str] = Counter()
    first: dict[str, Path] = {}
    checked = 0
    for top in sys.argv[1:] if argv is None else argv:
        for path in histories(Path(top)):
            found = differences(History.salvage(path).history.events)
            counts.update(found)
            checked += 1
            for each in found:
                first.setdefault(each, path)
    for each, count in counts.most_common():
        print(f"{count} x {each}  ({first[each]})")
    print(f"{checked} histories, {len(counts)} differences")
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main())
