# SPDX-License-Identifier: GPL-2.0-or-later
"""The allocators' checks: the suites that have them, their words, the guests, the record."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.guest_pool import GuestPool
from fixtures.machine.memory_checks import ALL, USERS, MemoryChecks, words
from fixtures.scenario import Plan
from inject.release import Release

SUITES = Path(__file__).parents[1]
CHECKED = {"abort": ALL, "teardown": ALL, "session": ALL, "regression": ALL, "leaks": USERS}


def test_the_suites_that_have_them_by_default() -> None:
    """Suites in which commands meet an end of what serves them, and the one that counts objects."""
    packages = [path.parent.name for path in SUITES.glob("*/__init__.py")]
    found = {name: words(MemoryChecks.AUTO, importlib.import_module(f"suites.{name}").__name__)
             for name in packages}
    assert {name: each for name, each in found.items() if each} == CHECKED


@pytest.mark.parametrize(("choice", "package", "expected"), [
    (MemoryChecks.ON, "suites.smoke", ALL), (MemoryChecks.AUTO, "suites.smoke", ()),
    (MemoryChecks.AUTO, "suites.abort", ALL), (MemoryChecks.OFF, "suites.abort", ()),
    (MemoryChecks.AUTO, "not imported", ()), (MemoryChecks.ON, "suites.leaks", USERS)])
def test_the_option_decides(
    choice: MemoryChecks, package: str, expected: tuple[str, ...],
) -> None:
    if package.startswith("suites."):
        importlib.import_module(package)
    assert words(choice, package) == expected


def test_the_record_has_the_words() -> None:
    plan = Plan(Release())
    assert plan.on("lio", "6.1", append=ALL).record()["append"] == " ".join(ALL)
    assert "append" not in plan.on("lio", "6.1").record()
    assert plan.on("lio", "6.1", append=ALL).id == plan.on("lio", "6.1").id


def test_a_guest_is_booted_for_each_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's own words come first, and scenarios with the same words share a guest."""
    booted: list[tuple[str, ...]] = []

    class Booted:
        restorable = True

        def __init__(self) -> None:
            self.uses = 0

        def restore(self, name: str) -> None:
            self.uses += 1

        def pause(self) -> None:
            pass

    def boot(pool: GuestPool, which: Any) -> Any:
        booted.append(pool._spec(which).append)
        return pool._guests.setdefault(which, cast(Any, Booted()))

    monkeypatch.setattr(GuestPool, "_booted", boot)
    anything = cast(Any, None)
    pool = GuestPool({"6.1": anything}, anything, anything, anything, None, Path(),
                     lambda message: None, append=("nosmt",))
    for append in ((), ALL, (), ALL):
        with pool.restored("6.1", append):
            pass
    assert booted == [("nosmt",), ("nosmt", *ALL)]
    assert [cast(Any, guest).uses for guest in pool._guests.values()] == [2, 2]
