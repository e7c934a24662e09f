# SPDX-License-Identifier: GPL-2.0-or-later
"""Effects of one initiator's actions on another; the unusual commands of the commands suite."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from inject.catalogue import fault_by_name
from inject.nexus import CHECK_CONDITION, CLEARED, ENDS_OF_NEXUS, Ends, alone, ends
from inject.outcomes import RESET_UA
from inject.point import State
from inject.task_management import FUNCTIONS
from suites.commands.cases import FIXED, HARMFUL, KNOWN, NO_OPCODE, SWEPT, commands, sweep
from targets.catalogue import TARGETS, traits_of

GONE = (("unanswered",), ("GOOD",), ("GOOD",))


def seen(found: Ends) -> tuple[tuple[str, ...], ...]:
    """Return all fields except the clause."""
    return found.own, found.other, found.attention


@pytest.mark.parametrize(("action", "options", "wanted"), [
    ("ABORT_TASK_SET", {}, (("aborted",), ("GOOD",), ("GOOD",))),
    ("CLEAR_TASK_SET", {"tas": 1}, (("aborted",), ("TASK ABORTED",), ("GOOD",))),
    ("CLEAR_TASK_SET", {"tst": 1}, (("aborted",), ("GOOD",), ("GOOD",))),
    ("LUN_RESET", {"tas": 1}, (("aborted",), ("TASK ABORTED",), (RESET_UA,))),
    ("drop", {}, GONE),
    (CHECK_CONDITION, {}, (("GOOD",), ("GOOD",), ("GOOD",))),
    (CHECK_CONDITION, {"qerr": 1, "tas": 1},
     (("unanswered",), ("TASK ABORTED", "GOOD"), ("GOOD",))),
    (CHECK_CONDITION, {"qerr": 3}, GONE),
    (CHECK_CONDITION, {"qerr": 1, "tst": 1}, GONE),
])
def test_options_decide(
    action: str, options: Mapping[str, int], wanted: tuple[tuple[str, ...], ...],
) -> None:
    assert seen(alone(traits_of("scst"), action, options)) == wanted


def test_others_are_told_where_they_have_no_status() -> None:
    found = alone(traits_of("scst"), "CLEAR_TASK_SET", {})
    assert found.attention == (CLEARED,) and "TASK ABORTED" not in found.other
    assert "GOOD" not in alone(traits_of("scst"), "LUN_RESET", {}).attention


def test_what_is_refused_ends_nothing() -> None:
    assert seen(alone(traits_of("lio"), "CLEAR_TASK_SET", {})) == (("GOOD",), ("GOOD",), ("GOOD",))


def test_a_teardown_allows_more_and_asks_for_no_attention() -> None:
    kill = fault_by_name("backend-kill")
    for action in (*ENDS_OF_NEXUS, *FUNCTIONS, CHECK_CONDITION):
        found = ends(traits_of("scst"), action, {}, kill, State.EXEC)
        before = alone(traits_of("scst"), action, {})
        assert set(before.other) < set(found.other) and not found.attention
        assert found.clause


def test_a_sweep_is_its_seeds() -> None:
    drawn = list(sweep(7))
    assert drawn == list(sweep(7)) and drawn != list(sweep(8)) and len(drawn) == SWEPT
    for case in drawn:
        opcode = int(case.command.cdb[:2], 16)
        assert opcode not in HARMFUL and case.command.direction != "write"
        assert not int(case.command.cdb[-2:], 16)
        assert opcode in KNOWN or case.outcomes


def test_every_odd_command_says_how_it_may_end() -> None:
    for registration in TARGETS.values():
        listed = commands(FIXED, registration.traits.commands)
        assert len({each.name for each in listed}) == len(listed)
        assert all(each.allowed and each.clause for each in listed)
    assert all("CHECK CONDITION" in each for each in NO_OPCODE)
