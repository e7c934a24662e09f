# SPDX-License-Identifier: GPL-2.0-or-later
"""The teardown matrix: every legal pair is in it, every rule excludes a pair, with its reason."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product
from math import prod

import pytest

from fixtures.initiator.openiscsi import Timeouts
from fixtures.matrix import Matrix
from fixtures.workload.commands import KINDS
from inject.catalogue import FAULTS
from inject.fault import Held
from inject.point import COMMANDS, State
from suites.system import matrix as system
from suites.teardown.matrix import LONG, OPCODES, Cell, dimensions, matrix
from targets.catalogue import TARGETS, traits_of
from targets.scst.user_spec import check_options
from targets.target import Transport

SCST = traits_of("scst")
MATRIX = matrix(SCST)


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    """Provide the cells of one seed."""
    return pairwise(7)


def pairwise(seed: int) -> list[Cell]:
    """Return the cells of a seed."""
    return [Cell(**known) for known in MATRIX.pairwise(seed)]


def test_every_legal_pair_is_there(cells: list[Cell]) -> None:
    got = {pair for cell in cells for pair in MATRIX.pairs(vars(cell))}
    wanted = set(MATRIX.legal_pairs(MATRIX.dimensions))
    assert got == wanted
    assert len(wanted) > 1000


def test_a_pair_is_legal_if_and_only_if_some_cell_has_it() -> None:
    """Compared with brute force, on the pairs of one state."""
    chance = random.Random(3)
    wanted = set(MATRIX.legal_pairs(MATRIX.dimensions))
    values = MATRIX.dimensions
    some = chance.sample(list(product(values["point"], values["mechanism"])), 12)
    for point, mechanism in some:
        rest = [values[name] for name in values if name not in {"point", "mechanism"}]
        found = any(MATRIX.legal((point, mechanism, *others)) for others in product(*rest))
        assert ((("point", point), ("mechanism", mechanism)) in wanted) is found


def test_cells_are_legal_and_have_ids_of_their_own(cells: list[Cell]) -> None:
    assert not [cell for cell in cells if MATRIX.forbidding(vars(cell))]
    ids = [cell.plan().on("scst", "6.1").id for cell in cells]
    assert len(set(ids)) == len(ids)
    assert max(map(len, ids)) < 200


def test_the_seed_decides(cells: list[Cell]) -> None:
    assert pairwise(7) == cells
    assert pairwise(8) != cells


def test_values_that_came_later_leave_the_cells_there_were(
    cells: list[Cell],
) -> None:
    old = {name: [value for value in values
                  if not any(value in each.get(name, ()) for each in MATRIX.later)]
           for name, values in MATRIX.dimensions.items()}
    before = [Cell(**known) for known in Matrix(old, MATRIX.rules).pairwise(7)]
    assert cells[:len(before)] == before
    assert len(cells) > len(before)


def test_the_matrix_has_commands_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(OPCODES) <= set(KINDS)
    monkeypatch.setitem(KINDS, "unmap", (0x42, "UNMAP", "write", 24))
    assert dimensions(SCST)["opcode"] == MATRIX.dimensions["opcode"]


@pytest.mark.parametrize("target", TARGETS)
def test_what_came_later_still_leaves_those_before(target: str) -> None:
    newest = system.matrix(traits_of(target))
    cells = newest.pairwise(1)
    for stage in range(len(newest.later)):
        later = {value for each in newest.later[stage:] for value in each["disturbance"]}
        values = [each for each in newest.dimensions["disturbance"] if each not in later]
        older = Matrix({**newest.dimensions, "disturbance": values}, newest.rules,
                       newest.later[:stage]).pairwise(1)
        assert cells[:len(older)] == older


def test_what_no_pair_needs_is_drawn_at_random(cells: list[Cell]) -> None:
    sets = Counter((each.on_free, each.reuse, each.parse, each.pool, each.threads, each.multi)
                   for each in cells)
    (_, most), = sets.most_common(1)
    assert most < 0.05 * len(cells)


def test_the_backend_keeps_commands_with_each_mechanism_that_it_outlives(
    cells: list[Cell],
) -> None:
    kept = {each.mechanism for each in cells if each.keep == LONG}
    assert kept == {each.mechanism for each in cells
                    if FAULTS[each.mechanism].held is not Held.LOST}
    plans = [each.plan() for each in cells if each.keep == LONG]
    assert all(0 < plan.keeps < Timeouts().command and "kept" in plan.variant for plan in plans)


def test_every_rule_excludes_something_and_they_are_counted() -> None:
    legal, counts = MATRIX.census()
    assert set(counts) == {rule.why for rule in MATRIX.rules}
    sizes = map(len, MATRIX.dimensions.values())
    assert sum(counts.values()) + legal == prod(sizes)
    assert Cell(**next(MATRIX.full())).plan()


def test_every_crossing_is_in_the_matrix_or_has_a_reason(cells: list[Cell]) -> None:
    there = {(cell.point, cell.mechanism) for cell in cells}
    for point, mechanism, why in MATRIX.crossings("point", "mechanism"):
        assert ((point, mechanism) in there) == (why is None)


def test_plans(cells: list[Cell]) -> None:
    for cell in cells:
        plan = cell.plan()
        arrangement = plan.arrangement
        check_options(arrangement.device.options)
        assert plan.fault.needs.met(SCST, SCST.backend, arrangement.transport)
        assert (plan.commands is not None) == (cell.state in COMMANDS)
        assert bool(arrangement.device.siblings) == (cell.pool == "shared")
        if arrangement.transport is Transport.ISCSI and cell.state in {
                State.PARSE, State.ALLOC_MEM}:
            assert plan.point.count == 1
