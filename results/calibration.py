# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's speed as measured inside the guest: the unit in which CPU work is compared.

A host's speed changes from run to run: its clock, its other load, which of its CPUs share a core.
So a backend does a fixed piece of work (a spin) before some of its commands and reports the
duration (targets.backend.calibration_guest). A duration that consists only of CPU work is then
expressed in spins, and the host's speed cancels out.
"""

from __future__ import annotations

from results.history import History
from results.verdict import Figure

SPIN = "spin_p25"
"""The figure's name in verdict.json. A quartile: half of the spins run while another CPU of the
same core is busy too, and take twice as long."""


def spin_quartile(history: History) -> Figure:
    """Return the lower quartile of the spins' durations in seconds; None without a spin."""
    seconds = sorted(float(event.data["spin"]) for event in history.select("backend", "step")
                     if "spin" in event.data)
    return Figure(seconds[len(seconds) // 4] if seconds else None, "s")
