# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations that may block in the kernel without a bound: each has a thread of its own.

Runs in the guest; stdlib only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from targets.backend.control_guest import Later, Reply
from targets.scst.user_guest.registration import RegistrationError, errno_name

ANSWER_WITHIN = 1.0
"""Seconds after which the test gets the reply that an operation has not ended yet."""

Work = Callable[[], Mapping[str, Any] | None]
Outcome = Mapping[str, Any]


class Operation:
    """An operation that has begun. ``report`` gets its outcome as soon as there is one.

    The outcome has the keys that ``work`` returns, ``error`` (an errno's name, the text of another
    error, or None), ``seconds``, and ``words`` if the error has a text.
    """

    def __init__(self, work: Work, report: Callable[[Outcome], None]) -> None:
        self._work = work
        self._report = report
        self._ended = threading.Event()
        self.outcome: Outcome = {}
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        began = time.monotonic()
        result: Mapping[str, Any] = {}
        failure: dict[str, Any] = {"error": None}
        try:
            result = self._work() or {}
        except OSError as error:
            failure = {"error": errno_name(error)}
        except RegistrationError as error:
            failure = {"error": error.name, "words": str(error)}
        except Exception as error:  # must be reported, too
            failure = {"error": f"{type(error).__name__}: {error}"}
        self.outcome = {**result, **failure, "seconds": round(time.monotonic() - began, 6)}
        self._report(self.outcome)
        self._ended.set()

    def wait(self, until: float) -> dict[str, Any]:
        """Return done, and the outcome if it is done; wait until that time at most."""
        done = self._ended.wait(max(0.0, until - time.monotonic()))
        return {"done": done, **(self.outcome if done else {})}


def alone(begin: Callable[[], Operation]) -> Later:
    """Begin one operation; the result is its outcome, or ``done``: false after ANSWER_WITHIN."""
    def follow(reply: Reply) -> None:
        operation, until = begin(), time.monotonic() + ANSWER_WITHIN
        _aside(lambda: reply(operation.wait(until)))
    return Later(follow)


def together(begin: Callable[[], Mapping[str, Operation]]) -> Later:
    """Begin several operations; the result has ``devices``: their outcomes by device name."""
    def follow(reply: Reply) -> None:
        operations, until = begin(), time.monotonic() + ANSWER_WITHIN

        def answer() -> None:
            outcomes = {name: each.wait(until) for name, each in operations.items()}
            reply({"done": all(each["done"] for each in outcomes.values()), "devices": outcomes})
        _aside(answer)
    return Later(follow)


def _aside(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
