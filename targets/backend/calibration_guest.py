"""The machine's speed as a backend sees it: a fixed piece of work, timed beside commands.

Runs in the guest; stdlib only. An emulated guest is as fast as its host lets it be, and is not as
fast when both of its CPUs work as when one does. So the work is done where the commands are
carried out and when they are, and a command's time can be told in it (results.calibration).
"""

from __future__ import annotations

import time
from itertools import count

STEPS = 32
"""Of the work: 0.1 ms under TCG, a sixth of what a backend takes for a command."""

EVERY = 4
"""Commands of which one has the work done beside it."""


def spin() -> float:
    """Do the work; return the seconds that it took.

    It is the interpreter's alone, without system calls: what a kernel or a target does slowly must
    not look like a slow machine.
    """
    began, value = time.monotonic_ns(), 1
    for _ in range(STEPS):
        value = value * 48271 % 2147483647  # MINSTD (Park, Miller, Stockmeyer, 1993)
    return (time.monotonic_ns() - began) / 1e9


class Calibration:
    """Time the work beside some commands."""

    def __init__(self) -> None:
        self._commands = count()

    def sample(self) -> dict[str, float]:
        """Return the data for a command's event: the work's seconds as ``spin``, or nothing."""
        return {} if next(self._commands) % EVERY else {"spin": spin()}
