# SPDX-License-Identifier: GPL-2.0-or-later
"""The timeout ladder as a table (results/ladder.py)."""

from __future__ import annotations

import re
from dataclasses import fields

from docs_build.markup import code, prose, table
from results.ladder import TCG_SCALE, Ladder

MEANING = re.compile(r"``(\w+)``: (.+?)(?=(?<=\.) ``\w+``: |$)")
"""A field in the ladder's docstring, up to the next one."""


def meanings() -> dict[str, str]:
    """Return the meaning of each bound by its name."""
    text = " ".join((Ladder.__doc__ or "").split())
    return {found[1]: found[2] for found in MEANING.finditer(text)}


def markdown() -> str:
    """Return a row for each bound."""
    usual, emulated, meaning = Ladder(), Ladder().scaled(TCG_SCALE), meanings()
    return table(
        ["bound", "KVM (s)", "TCG (s)", "meaning"],
        [[code(each.name), f"{getattr(usual, each.name):g}", f"{getattr(emulated, each.name):g}",
          prose(meaning[each.name])] for each in fields(Ladder)])
