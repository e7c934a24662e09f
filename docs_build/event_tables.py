# SPDX-License-Identifier: GPL-2.0-or-later
"""The history's events (results/events.py): for each kind, its fields."""

from __future__ import annotations

from itertools import groupby

from docs_build.markup import code, plain, prose, table
from results.events import KINDS, SOURCES, Kind, Row, describe

COLUMNS = ["field", "type", "meaning"]


def markdown() -> str:
    """Return a section for each source, with its kinds."""
    rows = {key: list(found) for key, found in groupby(
        describe(), lambda row: (row.source, row.kind))}
    parts = []
    for source, meaning in SOURCES.items():
        parts.append(f"## {source}\n\nSource: {plain(meaning)}.")
        parts += [_section(each, rows[source, each.name])
                  for each in KINDS.values() if each.source == source]
    return "\n\n".join(parts)


def _section(kind: Kind, rows: list[Row]) -> str:
    note = " Its data may have further fields." if kind.open else ""
    return f"### {kind.source}/{kind.name}\n\n{prose(kind.summary)}{note}\n\n" + table(
        COLUMNS, [[code(row.field) + (" (optional)" if row.optional else ""), plain(row.type),
                   prose(row.meaning)] for row in rows])
