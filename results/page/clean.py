# SPDX-License-Identifier: GPL-2.0-or-later
"""Sanitising of untrusted text: no character acts, is invisible or reverses the line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

TEXT_MAX = 600
"""Maximum characters of one string; the raw files have the rest."""

LIST_MAX = 40
"""Maximum items of a list in quoted evidence."""

ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff]")
"""Control characters, characters without width, those that change the direction of writing (UAX
9), surrogates."""


def text(value: object, limit: int = TEXT_MAX) -> str:
    """Return a value as text of at most ``limit`` characters, its control characters visible.

    C0 become their pictures (U+2400), a lone surrogate U+FFFD, all others ``\\u202e`` and the like.
    """
    words = str(value)
    if len(words) > limit:
        words = f"{words[:limit]} ... ({len(words) - limit} more characters)"
    return ACTING.sub(_visible, words)


def quoted(value: Any) -> Any:
    """Return a JSON value with all its texts clean and its lists cut."""
    if isinstance(value, Mapping):
        return {text(key, 80): quoted(each) for key, each in list(value.items())[:LIST_MAX]}
    if isinstance(value, list | tuple):
        return [quoted(each) for each in value[:LIST_MAX]]
    return value if value is None or isinstance(value, bool | int | float) else text(value)


def script(value: Any) -> str:
    """Return a value as JSON in plain ASCII that cannot end a script element."""
    words = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return words.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def is_script(words: str) -> bool:
    """Return whether a text has the form that ``script`` writes, fit for a script element."""
    return words.isascii() and words.startswith("{") and not set("<>&") & set(words)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"
