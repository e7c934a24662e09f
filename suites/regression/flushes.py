"""Iterations of scst_usr_cleanupd over a device: its calls of sgv_pool_flush, by a kprobe.

dev_user_process_cleanup() itself is inlined in release builds. Each of its iterations flushed
both pools of the device once before commit 83745c0a2, and does so twice since.
"""

from __future__ import annotations

import re

from targets.machine import Machine

TRACING = "/sys/kernel/tracing"
EVENT = f"{TRACING}/events/stf/flush"
CLEANER = "scst_usr_cleanu"  # comm has 15 characters
HITS = re.compile(r"common_pid:\s*(\S+)\s*\[.*\}\s*hitcount:\s*(\d+)")

PER_ITERATION = 4
"""Calls at most in one iteration."""


class Flushes:
    """Counts calls from its construction until ``stop``."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        machine.write(f"{TRACING}/kprobe_events", "p:stf/flush sgv_pool_flush")
        machine.write(f"{EVENT}/trigger", "hist:keys=common_pid.execname")

    def iterations(self) -> int:
        """Return the least number of iterations that the cleanup thread has made."""
        shown = self._machine.read(f"{EVENT}/hist")
        calls = sum(int(count) for name, count in HITS.findall(shown) if CLEANER.startswith(name))
        return calls // PER_ITERATION

    def stop(self) -> None:
        """Remove the probe: it would keep its module from being unloaded."""
        self._machine.write(f"{EVENT}/trigger", "!hist:keys=common_pid.execname")
        self._machine.write(f"{TRACING}/kprobe_events", "-:stf/flush")
