# SPDX-License-Identifier: GPL-2.0-or-later
"""Take the README's screenshot of a report: ``python -m suites.selftest.picture RUN PNG [WORDS]``.

RUN: a run's folder. WORDS: the page's filter; the first matching scenario is opened.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from results import page
from suites.selftest import browser as chrome

WIDTH, HEIGHT = 1280, 1250

COLOURS = 64
"""Palette size; small because the repository stores the image."""


def take(run: Path, picture: Path, words: str = "") -> None:
    """Save a screenshot of a run's page; exit with a message where no browser is installed."""
    path = chrome.where()
    if path is None:
        sys.exit("no browser: apt-get install chromium")
    written = page.write(run)
    with chrome.chromium(path) as browser:
        browser.media()
        browser.size(WIDTH, HEIGHT)
        browser.open(f"{written.as_uri()}#q={quote(words)}")
        browser.evaluate("document.querySelector('#list .row > button').click()")
        browser.picture(picture)
    with Image.open(picture) as taken:
        taken.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
