"""The timeout ladder: one table of bounds, ordered so that the most precise one fires first.

One stall can surface as a late command, a spinning thread, an RCU stall, a soft lockup or a
hung task. Nothing else in the project states a bound of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import ceil

TCG_SCALE = 1.5
"""How much longer things may take without hardware virtualization. Boot and deployment are
10 times slower under TCG, but the bounds below are made of the target's own timers (which
do not scale) and little computation (which does)."""


@dataclass(frozen=True)
class Ladder:
    """Bounds in seconds of guest time, lowest rung first.

    ``command``: an I/O in flight at the fault must have ended. ``spin_window``: how long a
    thread must burn a CPU, with no command in flight, to be called spinning. ``teardown``:
    the device must be gone. ``watchdog_thresh``: the sysctl; the soft lockup detector speaks
    at twice its value (kernel/watchdog.c). ``hung_task``: kernel.hung_task_timeout_secs.
    ``silence``: the agent must have answered. ``scenario``: all of it, restore to verdict.
    ``step``: one healthy operation of deployment, login or clean-up. ``slack``: by how much what a
    sum of timers bounds may be late. ``boot``: kernel start to agent. ``evidence``: reading a
    stalled guest's memory.
    """

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
        """When the soft lockup detector speaks: twice watchdog_thresh (kernel/watchdog.c)."""
        return 2.0 * self.watchdog_thresh

    def scaled(self, factor: float) -> Ladder:
        """Return the ladder with every bound but the sampling window multiplied."""
        bounds = {
            name: type(value)(value * factor) if name != "spin_window" else value
            for name, value in asdict(self).items()
        }
        return Ladder(**bounds)

    def extended(self, seconds: float) -> Ladder:
        """Return the ladder with a teardown of as many seconds more: that rung, and those
        above it that are of who waits. (A CPU that spins waits for nothing.)"""
        return replace(self, teardown=self.teardown + seconds,
                       hung_task=self.hung_task + ceil(seconds), silence=self.silence + seconds,
                       scenario=self.scenario + seconds)

    def rungs(self) -> list[tuple[str, float]]:
        """Return (name, seconds) in the order in which they must fire."""
        return [
            ("command", self.command),
            ("spin", self.command + self.spin_window),
            ("teardown", self.teardown),
            ("soft lockup", self.soft_lockup),
            ("hung task", self.hung_task),
            ("silence", self.silence),
            ("scenario", self.scenario),
        ]
