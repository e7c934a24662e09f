"""The story: the host pauses the machine for longer than any timer in it runs, and lets it go on.

A machine's clock stands still with its CPUs (QEMU's ``stop`` stops the virtual clock that HPET and
kvmclock are made of): nothing in it can have timed out. So nothing may be lost or late for it, no
session ends, and no watchdog speaks. What is beside it is as ever: the commands that are held are
answered, or the device is lost, with the pause in between.
"""

from __future__ import annotations

import time
from functools import partial

from fixtures.stage import Stage
from fixtures.story import Beside, tell


def story(stage: Stage) -> None:
    """Tell it."""
    tell(stage, lambda deployment, disk: Beside(
        before=partial(pause, stage, "before"), meanwhile=partial(pause, stage, "meanwhile")))


def pause(stage: Stage, when: str) -> None:
    """Pause the machine for longer than the highest of the ladder's rungs that a kernel has."""
    seconds = longest(stage)
    began = stage.machine.now()
    stage.note("paused", seconds=seconds, when=when)
    stage.guest.pause()
    time.sleep(seconds)
    stage.guest.resume()
    stage.guest.connection.set_clock(stage.ladder.silence)
    took = stage.machine.now() - began
    # What goes on of it is what it takes to stop the machine, and to ask for its time.
    stage.expect("the machine's clock stands still while it is paused", took < seconds / 2,
                 f"{took:.2f} s of {seconds:g} s passed")


def longest(stage: Stage) -> float:
    """Return how long to pause: longer than the hung-task detector waits, the most patient of
    target, initiator and kernel."""
    return stage.ladder.hung_task + stage.ladder.command
