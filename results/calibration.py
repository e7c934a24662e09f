"""The guest's speed by its own measure: the unit in which CPU work is compared.

A host's speed changes from run to run: its clock, who else is on it, which of its CPUs share a
core. So a backend does a fixed piece of work beside some of its commands and says how long that
took (targets.backend.calibration_guest): a time that is nothing but work of a CPU's is then told in
such spins, and the host's speed cancels out.
"""

from __future__ import annotations

from results.history import History
from results.verdict import Figure

SPIN = "spin_p25"
"""The figure's name in verdict.json. A quartile: half of the work is done while another CPU of the
same core works, too, and takes twice as long."""


def spin_quartile(history: History) -> Figure:
    """Return the lower quartile of how long a spin took, in seconds; None where none was told."""
    seconds = sorted(float(event.data["spin"]) for event in history.select("backend", "step")
                     if "spin" in event.data)
    return Figure(seconds[len(seconds) // 4] if seconds else None, "s")
