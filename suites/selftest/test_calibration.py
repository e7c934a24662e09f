# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's speed, measured by its backend's spins, and command durations in spins."""

from __future__ import annotations

import pytest

from results.calibration import spin_quartile
from results.service import service_figures
from suites.selftest.stories import Story
from targets.backend.calibration_guest import EVERY, Calibration, spin


def spins(*seconds: float | None) -> Story:
    """Return a history with commands and their spins' seconds; None: no spin was measured."""
    story = Story()
    for number, each in enumerate(seconds):
        story.at(float(number), "backend", "step", point="EXEC", action="received", handle=number,
                 **({} if each is None else {"spin": each}))
    return story


def test_calibration_is_the_lower_quartile_of_the_spins() -> None:
    figure = spin_quartile(spins(0.004, None, 0.003, 0.2, None, 0.0031, 0.005).history())
    assert (figure.value, figure.unit) == (0.0031, "s")


def test_a_history_without_spins_has_no_calibration() -> None:
    assert spin_quartile(spins(None, None).history()).value is None


def test_the_work_is_done_beside_some_commands() -> None:
    calibration = Calibration()
    reported = [calibration.sample() for _ in range(2 * EVERY)]
    assert [number for number, each in enumerate(reported) if each] == [0, EVERY]
    assert 0 < reported[0]["spin"] < 1
    assert 0 < spin() < 1


def test_a_command_is_told_in_the_spin_beside_it() -> None:
    story = spins(0.001, 0.002, None, 0.001, 0.001)  # the host is half as fast for this one
    for handle, seconds in enumerate((0.005, 0.010, 0.5, 0.006, 0.007)):
        action = "held" if handle == 4 else "answered"
        story.at(handle + seconds, "backend", "step", point="EXEC", action=action, handle=handle)
    figures = {name: figure.value for name, figure in service_figures(story.history()).items()}
    assert figures["service_count"] == 4  # a held command is not counted: the hold adds time
    assert figures["service_spins"] == pytest.approx(5.0)
    assert figures["service_p25"] == pytest.approx(0.006)
    assert service_figures(spins().history())["service_spins"].value is None
