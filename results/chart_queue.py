# SPDX-License-Identifier: GPL-2.0-or-later
"""A queue of charts: draws the charts of finished scenarios during the run, one at a time.

Drawing takes seconds of CPU. It runs in separate processes at the lowest priority, so that it does
not disturb the measurements.
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
"""Seconds until a drawing is abandoned: a tool's bound, not a target's."""


class ChartQueue:
    """A context manager that draws in a thread; its exit waits for the queued charts.

    ``failures``: path and message of each failed drawing.
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
        """Queue the charts of a scenario's directory for drawing."""
        self._queue.put(folder)

    def abandon(self) -> None:
        """Finish the current drawing and drop the rest: the user wants to leave."""
        self._abandoned = True

    @property
    def left(self) -> int:
        """Approximate number of scenarios whose charts are still queued."""
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
