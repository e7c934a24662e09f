# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals to a target's daemon, and the faults that a daemon fault is combined with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from inject.daemon import DAEMONS, WITHOUT
from inject.fault import Held
from inject.pair import DISTURBANCES, PAIRS, cannot
from inject.target_operation import TargetOperation
from results.errors import TargetFailedError
from suites.selftest.fakes import FakeSubject
from targets.daemon import Daemon, Signalled
from targets.machine import Completed

DAEMON = Daemon("targetd", "/run/targetd.pid")


class StagedMachine:
    """A machine with a daemon that SIGKILL ends. ``deaf``: no signal ends it."""

    lost: str | None = None

    def __init__(self, deaf: bool = False) -> None:
        self.deaf = deaf
        self.alive = True
        self.sent: list[str] = []

    def read(self, path: str) -> str:
        """Return the content of the pid file."""
        assert path == DAEMON.pid_file
        return "7\n"

    def exists(self, path: str) -> bool:
        """Return whether the pid file or the process exists."""
        return path == DAEMON.pid_file or (path == "/proc/7" and self.alive)

    def run(self, argv: Sequence[str], *, check: bool = True) -> Completed:
        """Record a signal."""
        self.sent.append(" ".join(argv))
        self.alive = self.deaf or argv[1] != "-KILL"
        return Completed(tuple(argv), 0, "", "")


def test_a_kill_has_to_end_it() -> None:
    machine: Any = StagedMachine()
    killed = Signalled(machine, DAEMON, "KILL", ends=True)
    assert killed.done and machine.sent == ["kill -KILL 7"]
    killed.finish(0.1)


def test_a_kill_that_waits() -> None:
    machine: Any = StagedMachine(deaf=True)
    killed = Signalled(machine, DAEMON, "KILL", ends=True)
    assert killed.waits() and not killed.done
    with pytest.raises(TargetFailedError, match=r"targetd has not gone after 0\.1 s"):
        killed.finish(0.1)


@pytest.mark.parametrize("responds", [True, False])
def test_who_has_to_respond_after_a_signal(responds: bool) -> None:
    machine: Any = StagedMachine()
    termed = Signalled(machine, DAEMON, "TERM", responds=lambda _: responds)
    if responds:
        termed.finish(0.1)
    else:
        with pytest.raises(TargetFailedError, match="does not respond after SIGTERM"):
            termed.finish(0.1)


def test_what_is_left_without_a_daemon_is_said_of_each() -> None:
    assert set(WITHOUT) == {fault.name for fault in DAEMONS}


def test_a_daemon_of_one_target_is_not_paired_with_a_teardown_of_another() -> None:
    stop = next(each for each in DISTURBANCES if each.name == "scstd-stop")
    paired = {pair.teardown.name for pair in PAIRS if pair.disturbance is stop}
    assert {"lun-delete", "backend-kill", "lun-clear"} <= paired
    assert "target-delete-force" not in paired  # a fault of tgt
    for pair in PAIRS:
        assert isinstance(pair.disturbance, TargetOperation)
        assert cannot(pair.disturbance, pair.teardown, pair.order) is None
        assert pair.needs is not None  # one target supports both


def test_what_is_held_waits_for_the_teardown() -> None:
    """A disturbance that releases held commands on its own does not do so in a combination."""
    pair = next(each for each in PAIRS if each.name == "scstd-stop+lun-delete")
    assert isinstance(pair.disturbance, TargetOperation)
    assert pair.disturbance.held is Held.ANSWERED
    subject = FakeSubject()
    pair.fire(subject, 1.0)
    assert subject.done == [
        "daemon-stop begins", "ends", "lun-delete begins", "release", "ends"]
    assert subject.fired.is_set()
