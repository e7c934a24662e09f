# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps of the scenarios that combine task management functions with a fault."""

from __future__ import annotations

from dataclasses import replace

from fixtures.context import Lun, ScenarioContext
from fixtures.initiators import Functions
from fixtures.workload.sessions import Sessions
from inject import task_management
from inject.point import ANSWERED

SEEN = 1.0
"""Seconds to wait for a function to reach the backend, or its response to reach the initiator."""


def expect_functions(ctx: ScenarioContext, requested: tuple[str, ...]) -> dict[str, object]:
    """Add the outcomes of functions that are requested during the fault to ``ctx.expected``.

    I/O of another initiator may fail if the functions abort its commands more often than the
    initiator retries them. Return the expectations for the functions, as keyword arguments of
    ``ctx.arrange`` and ``ctx.armed``.
    """
    found = task_management.expected(requested, ctx.traits, ctx.fault, ctx.plan.point.state)
    ctx.expected = replace(ctx.expected, outcomes=found.outcomes, clause=found.clause,
                           grace=max(ctx.expected.grace, found.grace),
                           errors=None if found.wears_others_out else ctx.expected.errors)
    return {"functions": found.responses, "function_clause": found.function_clause,
            "wears_others_out": found.wears_others_out}


def functions_and_fault(
    ctx: ScenarioContext, lun: Lun, functions: Functions, order: str,
) -> None:
    """Request functions for held commands, and break the device.

    ``order``: "second": the fault fires first, and the functions are requested before its undo;
    any other: the functions are requested first.
    """
    if order == "second":
        with ctx.broken(lun):
            functions.begin()
        return
    functions.begin()
    wait_seen(ctx, functions.initiators.sessions)
    if ctx.plan.point.state not in ANSWERED:
        functions.expect_none_complete()
    ctx.break_device(lun)


def wait_seen(ctx: ScenarioContext, sessions: Sessions) -> None:
    """Wait for a response at the initiator or the function at the backend, up to ``SEEN`` seconds.
    """
    history = ctx.recorder.history
    ctx.wait_until(lambda: bool(sessions.responses or history().last("backend", "tmr")), SEEN)
