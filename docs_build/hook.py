# SPDX-License-Identifier: GPL-2.0-or-later
"""The hook of mkdocs: put the generated parts where a page has their markers."""

from __future__ import annotations

from docs_build.generate import fill


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return a page's Markdown with its generated parts. Called by mkdocs."""
    return fill(markdown)
