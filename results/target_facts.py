# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about a target's kernel threads and modules that a report needs to name a cause."""

from __future__ import annotations

from dataclasses import dataclass

from results.history import History


@dataclass(frozen=True)
class TargetFacts:
    """Names by which a report connects a task that spins or waits with a stuck command.

    ``cleaner``: the kernel thread that frees the commands of a closed backend ("" for none); it
    waits for the rows with a ``handle``. ``long_names``: full names of kernel threads that are
    longer than a comm (15 characters). ``command_modules``: a task that sleeps below one of these
    modules waits for a command, or for its cause of delay.
    """

    cleaner: str = ""
    long_names: tuple[str, ...] = ()
    command_modules: tuple[str, ...] = ()


NO_FACTS = TargetFacts()
"""The facts of a target without any."""


def facts_of(history: History) -> TargetFacts:
    """Return the facts in a history's ``scenario`` event, NO_FACTS without any."""
    scenario = history.first("harness", "scenario")
    facts = scenario.data.get("facts") if scenario else None
    if not isinstance(facts, dict):
        return NO_FACTS
    return TargetFacts(str(facts.get("cleaner", "")), tuple(facts.get("long_names", ())),
                       tuple(facts.get("command_modules", ())))
