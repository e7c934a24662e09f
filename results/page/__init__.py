# SPDX-License-Identifier: GPL-2.0-or-later
"""The page: a run as one HTML file that opens from disk, together with its charts.

``write`` makes it from a run's folder, in any state of the folder: the raw files are authoritative.
All text of a run is untrusted. It is sanitised on entry (``clean``), is carried as JSON without any
markup (``document``) and becomes text nodes, never HTML, in the browser (``page.js``). A
Content-Security-Policy allows the page's own script and style and nothing else.
"""

from results.page.document import PAGE, write
from results.page.scenario import digest

__all__ = ["PAGE", "digest", "write"]
