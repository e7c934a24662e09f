# SPDX-License-Identifier: GPL-2.0-or-later
"""Wait until an observable state holds."""

from __future__ import annotations

from collections.abc import Callable

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

POLL = 0.02
"""Seconds between two evaluations of the condition."""


def wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    """Wait until ``condition`` holds, ``deadline`` seconds at most; return whether it does."""
    try:
        Retrying(
            retry=retry_if_result(lambda holds: not holds), wait=wait_fixed(POLL),
            stop=stop_after_delay(deadline),
        )(condition)
    except RetryError:
        return False
    return True
