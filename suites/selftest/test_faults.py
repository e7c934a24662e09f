"""Faults against a subject that keeps what is done to it: what, in which order, how long."""

from __future__ import annotations

import threading
import time

import pytest

from inject.catalogue import FAULTS, fault_by_name
from inject.lun_remove import LOOK_EVERY, LunRemove
from results.errors import TargetFailedError, WrongUsageError
from suites.selftest.fakes import FakeSubject

DEADLINE = 5.0


@pytest.mark.parametrize(("name", "broken", "healed"), [
    ("release", ["release"], []),
    ("backend-close", ["close"], ["take_device_away"]),
    ("backend-kill", ["kill"], ["take_device_away"]),
    ("lun-remove", ["remove_lun begins", "release", "remove_lun ends"], ["take_device_away"]),
])
def test_what_each_fault_does_and_undoes(
    name: str, broken: list[str], healed: list[str],
) -> None:
    fault = fault_by_name(name)
    subject = FakeSubject(removal=wait_for)
    fault.fire(subject, DEADLINE)
    assert subject.done == broken
    fault.undo(subject, DEADLINE)
    assert subject.done == broken + healed


def test_the_control_alone_breaks_nothing() -> None:
    assert [name for name, fault in FAULTS.items() if not fault.breaks] == ["release"]
    assert all(name == fault.name for name, fault in FAULTS.items())


def test_an_unknown_fault() -> None:
    with pytest.raises(WrongUsageError, match="unknown fault 'earthquake': there are release, "):
        fault_by_name("earthquake")


def wait_for(released: threading.Event) -> None:
    """Wait as a removal does for the commands that the backend has."""
    if not released.wait(DEADLINE):
        raise TargetFailedError("the LUN does not go")


def test_commands_are_released_only_once_the_removal_waits() -> None:
    subject = FakeSubject(waits_after=5, removal=wait_for)
    LunRemove().fire(subject, DEADLINE)
    assert subject.looks == 6
    assert subject.done == ["remove_lun begins", "release", "remove_lun ends"]


def test_a_removal_that_never_waits_is_given_its_commands_at_the_deadline() -> None:
    subject = FakeSubject(waits_after=None, removal=wait_for)
    began = time.monotonic()
    LunRemove().fire(subject, 0.1)
    assert 0.1 <= time.monotonic() - began < DEADLINE
    assert subject.looks > 1
    assert subject.done == ["remove_lun begins", "release", "remove_lun ends"]


def test_a_removal_that_ends_at_once_is_not_waited_for() -> None:
    subject = FakeSubject(waits_after=None)
    began = time.monotonic()
    LunRemove().fire(subject, DEADLINE)
    assert time.monotonic() - began < DEADLINE - LOOK_EVERY
    assert subject.done == ["remove_lun begins", "remove_lun ends", "release"]


def test_a_removal_that_fails_is_the_targets_failure() -> None:
    def fails(released: threading.Event) -> None:
        wait_for(released)
        raise TargetFailedError("rmdir: Device or resource busy")

    subject = FakeSubject(removal=fails)
    with pytest.raises(TargetFailedError, match="resource busy"):
        LunRemove().fire(subject, DEADLINE)
    assert subject.done == ["remove_lun begins", "release"]
