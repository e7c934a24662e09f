"""Seeing an operation wait for the commands that a backend holds, and letting it go on."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_EVERY = 0.02
"""Seconds between two looks at whether an operation waits."""


def until(condition: Callable[[], bool], deadline: float) -> bool:
    """Look until ``condition`` holds, ``deadline`` seconds at most; tell whether it does."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(LOOK_EVERY)
    return True
