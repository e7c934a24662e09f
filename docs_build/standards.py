# SPDX-License-Identifier: GPL-2.0-or-later
"""The standards and their cited clauses: results.standards."""

from __future__ import annotations

from docs_build.markup import plain, table
from results.standards import DOCUMENTS, Document


def markdown() -> str:
    """Return a section for each document, with a row for each clause."""
    return "\n\n".join(map(_section, DOCUMENTS.values()))


def _section(document: Document) -> str:
    rows = [[plain(number), plain(title)] for number, title in document.clauses.items()]
    rows += [["by its title", plain(title)] for title in document.titles]
    head = (f"## {document.name}\n\n{plain(document.title)}, {document.revision}. "
            f"Source of numbers and titles: {plain(document.source)}.")
    return "\n\n".join([head, *([table(["clause", "title"], rows)] if rows else [])])
