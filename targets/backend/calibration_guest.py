# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's speed at a backend: a fixed piece of work, timed between commands.

Runs in the guest; stdlib only. The speed of an emulated guest depends on its host, and is lower
when both of its CPUs work than when one does. The work is therefore done by the thread that carries
commands out, at that time; a command's duration can be expressed in units of it
(results.calibration).
"""

from __future__ import annotations

import time
from itertools import count

STEPS = 32
"""Iterations of the work: 0.1 ms under TCG, a sixth of a backend's time for a command."""

EVERY = 4
"""One command in this many is accompanied by the work."""


def spin() -> float:
    """Do the work; return its duration in seconds.

    The work is done in the interpreter only, without system calls: a slow kernel or target must not
    look like a slow machine.
    """
    began, value = time.monotonic_ns(), 1
    for _ in range(STEPS):
        value = value * 48271 % 2147483647  # MINSTD (Park, Miller, Stockmeyer, 1993)
    return (time.monotonic_ns() - began) / 1e9


class Calibration:
    """Time the work, before some of the commands."""

    def __init__(self) -> None:
        self._commands = count()

    def sample(self) -> dict[str, float]:
        """Return the data for a command's event: the work's seconds as ``spin``, or nothing."""
        return {} if next(self._commands) % EVERY else {"spin": spin()}
