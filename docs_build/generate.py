# SPDX-License-Identifier: GPL-2.0-or-later
"""Replace markers in a page, ``<!-- generated: NAME -->`` on a line of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from docs_build import bounds, checks, commands, defects, event_tables, options, standards

MARKER = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)

PARTS: Mapping[str, Callable[[], str]] = {
    "bounds": bounds.markdown,
    "checks": checks.markdown,
    "commands": commands.markdown,
    "defect-counts": defects.counts,
    "defects": defects.markdown,
    "events": event_tables.markdown,
    "options": options.markdown,
    "standards": standards.markdown,
}
"""Functions that generate a part as Markdown, by the part's name."""


def fill(page: str) -> str:
    """Return a page with its generated parts. Raises KeyError for an unknown one."""
    return MARKER.sub(lambda found: PARTS[found[1]](), page)
