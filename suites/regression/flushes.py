# SPDX-License-Identifier: GPL-2.0-or-later
"""Count iterations of scst_usr_cleanupd over a device by its sgv_pool_flush calls, with a kprobe.

dev_user_process_cleanup() itself is inlined in release builds. Each of its iterations flushed both
pools of the device once before commit 83745c0a2, and flushes both twice since then.
"""

from __future__ import annotations

import re

from targets.machine import Machine

TRACING = "/sys/kernel/tracing"
EVENT = f"{TRACING}/events/stf/flush"
CLEANER = "scst_usr_cleanu"  # comm has 15 characters
HITS = re.compile(r"common_pid:\s*(\S+)\s*\[.*\}\s*hitcount:\s*(\d+)")

PER_ITERATION = 4
"""Maximum number of sgv_pool_flush calls in one iteration."""


class Flushes:
    """A counter of calls, from its construction until ``stop``."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        machine.write(f"{TRACING}/kprobe_events", "p:stf/flush sgv_pool_flush")
        machine.write(f"{EVENT}/trigger", "hist:keys=common_pid.execname")

    def iterations(self) -> int:
        """Return a lower bound of the cleanup thread's iterations so far."""
        shown = self._machine.read(f"{EVENT}/hist")
        calls = sum(int(count) for name, count in HITS.findall(shown) if CLEANER.startswith(name))
        return calls // PER_ITERATION

    def stop(self) -> None:
        """Remove the probe, which would prevent the unloading of the probed module."""
        self._machine.write(f"{EVENT}/trigger", "!hist:keys=common_pid.execname")
        self._machine.write(f"{TRACING}/kprobe_events", "-:stf/flush")
