# SPDX-License-Identifier: GPL-2.0-or-later
"""Markdown from plain text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

SPECIAL = re.compile(r"([\\`*_\[\]|])")

CODE = re.compile(r"``(.+?)``")


def plain(text: str) -> str:
    """Return text with everything escaped that Markdown or HTML would interpret."""
    return SPECIAL.sub(r"\\\1", html.escape(text, quote=False))


def prose(text: str) -> str:
    """Return a docstring's text: double backquotes become code, the rest is escaped."""
    parts = CODE.split(" ".join(text.split()))
    return "".join(code(part) if number % 2 else plain(part) for number, part in enumerate(parts))


def code(text: str) -> str:
    """Return text as code, also within a table: by HTML, in which Markdown still has effect."""
    escaped = SPECIAL.sub(lambda found: f"&#{ord(found[0])};", text.replace("&", "&amp;"))
    return f"<code>{escaped.replace('<', '&lt;').replace('>', '&gt;')}</code>"


def block(text: str) -> str:
    """Return text as a block of code."""
    return f"```text\n{text.rstrip()}\n```"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. The cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
