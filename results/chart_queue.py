"""A queue of charts: draws those of finished scenarios during the run, one at a time.

Drawing takes seconds of CPU; it runs in programs of its own at the lowest priority, so that it
does not disturb what is being measured.
"""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

BOUND = 120.0
"""Seconds after which a drawing is given up: a tool's bound, not a target's."""


class ChartQueue:
    """A context manager that draws in a thread; its exit waits for the queued charts.

    ``failures``: path, words.
    """

    def __init__(self) -> None:
        self.failures: list[tuple[Path, str]] = []
        self._queue: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._abandoned = False
        self._thread = threading.Thread(target=self._draw_all, name="charts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._queue.put(None)
        self._thread.join()

    def add(self, folder: Path) -> None:
        """Have the charts of a scenario's directory drawn, some time."""
        self._queue.put(folder)

    def abandon(self) -> None:
        """Draw nothing any more but what is being drawn: the user wants to leave."""
        self._abandoned = True

    @property
    def left(self) -> int:
        """About how many scenarios wait for their charts."""
        return self._queue.qsize()

    def _draw_all(self) -> None:
        while (folder := self._queue.get()) is not None:
            if self._abandoned:
                continue
            words = self._draw(folder)
            if words:
                self.failures.append((folder, words))

    @staticmethod
    def _draw(folder: Path) -> str | None:
        try:
            done = subprocess.run(
                ["nice", "-n", "19", sys.executable, "-m", "results.charts", str(folder)],
                cwd=Path(__file__).parents[1], stdin=subprocess.DEVNULL, capture_output=True,
                text=True, errors="replace", timeout=BOUND, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return done.stderr.strip().splitlines()[-1] if done.returncode and done.stderr else None
