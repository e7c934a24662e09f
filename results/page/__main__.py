# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the page of a run: ``python -m results.page RUN [PAGE]``."""

from __future__ import annotations

import sys
from pathlib import Path

from results.errors import WrongUsageError
from results.page import write

if __name__ == "__main__":
    try:
        print(write(*map(Path, sys.argv[1:3])))
    except (WrongUsageError, OSError, TypeError) as error:
        sys.exit(f"page: {error}")
