"""The page: a run as one HTML file that opens from disk, with nothing but charts beside it.

``write`` makes it of a run's folder, whatever state that is in: the raw files are the truth. All
text of a run is untrusted. It is made harmless where it enters (``clean``), travels as JSON in
which no markup is left (``document``) and becomes text nodes, never HTML, in the browser
(``page.js``); a Content-Security-Policy allows the page's own script and style and nothing else.
"""

from results.page.document import PAGE, write
from results.page.scenario import digest

__all__ = ["PAGE", "digest", "write"]
