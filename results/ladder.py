# SPDX-License-Identifier: GPL-2.0-or-later
"""The timeout ladder: one table of bounds, ordered so that the most precise one fires first.

One stall can surface as a late command, a spinning thread, an RCU stall, a soft lockup or a hung
task. No other part of the project states a bound of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import ceil

TCG_SCALE = 1.5
"""Factor of the bounds without hardware virtualization. Boot and deployment are 10 times slower
under TCG, but the bounds below consist of the target's own timers (which do not scale) and
little computation (which does)."""


@dataclass(frozen=True)
class Ladder:
    """Bounds in seconds of guest time, lowest rung first.

    ``bystander``: for an I/O on a device that the fault does not concern. ``command``: for the end
    of an I/O in flight at the fault. ``spin_window``: CPU time of a thread, without a command in
    flight, from which it counts as spinning. ``teardown``: for the removal of the device.
    ``watchdog_thresh``: the sysctl; the soft lockup detector reports at twice its value
    (kernel/watchdog.c). ``hung_task``: kernel.hung_task_timeout_secs. ``silence``: for a reply of
    the agent. ``scenario``: for the whole scenario, restore to verdict. ``step``: for one healthy
    operation of deployment, login or clean-up. ``slack``: allowed lateness of an event whose bound
    is a sum of timers. ``boot``: kernel start to agent. ``evidence``: for reading a stalled guest's
    memory.
    """

    bystander: float = 2.0
    command: float = 5.0
    spin_window: float = 1.0
    teardown: float = 7.0
    watchdog_thresh: int = 4
    hung_task: int = 10
    silence: float = 15.0
    scenario: float = 60.0
    step: float = 10.0
    slack: float = 2.0
    boot: float = 60.0
    evidence: float = 30.0

    @property
    def soft_lockup(self) -> float:
        """Seconds until the soft lockup report: twice watchdog_thresh (kernel/watchdog.c)."""
        return 2.0 * self.watchdog_thresh

    def scaled(self, factor: float) -> Ladder:
        """Return the ladder with every bound but the sampling window multiplied."""
        bounds = {
            name: type(value)(value * factor) if name != "spin_window" else value
            for name, value in asdict(self).items()
        }
        return Ladder(**bounds)

    def extended(self, seconds: float) -> Ladder:
        """Return the ladder with a teardown of as many seconds more.

        The rungs of waiting above it (hung task, silence, scenario) move too; the soft lockup rung
        does not: a spinning CPU does not wait.
        """
        return replace(self, teardown=self.teardown + seconds,
                       hung_task=self.hung_task + ceil(seconds), silence=self.silence + seconds,
                       scenario=self.scenario + seconds)

    def rungs(self) -> list[tuple[str, float]]:
        """Return (name, seconds) in the order in which they must fire."""
        return [
            ("bystander", self.bystander),
            ("command", self.command),
            ("spin", self.command + self.spin_window),
            ("teardown", self.teardown),
            ("soft lockup", self.soft_lockup),
            ("hung task", self.hung_task),
            ("silence", self.silence),
            ("scenario", self.scenario),
        ]
