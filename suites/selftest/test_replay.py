# SPDX-License-Identifier: GPL-2.0-or-later
"""The command that runs a scenario again contains all options that determine it."""

from __future__ import annotations

import pytest

from results.replay import SHAPING, command

OPTIONS = {"target": "scst", "scst": "/opt/scst", "accel": "tcg"}


def test_what_was_not_given_is_not_said() -> None:
    assert command(OPTIONS, "6.1", 7, "it") == command({**OPTIONS, **SHAPING}, "6.1", 7, "it") == (
        "python -m pytest suites --target scst --scst /opt/scst --kernel 6.1 --accel tcg --seed 7 "
        "-k it")


@pytest.mark.parametrize(("option", "value", "words"), [
    ("pdus", 10000, "--pdus=10000"), ("rounds", 20, "--rounds=20"),
    ("memory_checks", "off", "--memory-checks=off"), ("full", True, "--full"),
    ("matrix_seed", 3, "--matrix-seed=3"), ("pdu", "8:7:19@abc", "--pdu=8:7:19@abc"),
    ("append", "slub_debug=FZPU kfence.sample_interval=5",
     "'--append=slub_debug=FZPU kfence.sample_interval=5'")])
def test_what_decides_which_scenarios_there_are_is_said(
    option: str, value: object, words: str,
) -> None:
    """Part 5 of 10000 PDUs is not part of 300: the count is in the command."""
    assert words in command({**OPTIONS, option: value}, "6.1", 7, "it")
