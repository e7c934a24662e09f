# SPDX-License-Identifier: GPL-2.0-or-later
"""Minimal PDU sequences that are known to crash targets, each in its own scenario.

A campaign of malformed PDUs leaves them out (test_malformed).
"""

from __future__ import annotations

from collections.abc import Iterator

from fixtures.context import ScenarioContext
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from inject.point import NOTHING_HELD
from inject.wire import MALFORMED
from suites.transport.reproducers import REPRODUCERS
from suites.transport.sending import must_accept_login, send
from suites.transport.test_malformed import BESIDE


def plans(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each reproducer of the target; test_malformed covers those of others."""
    for name in REPRODUCERS:
        if name in selection.traits.wire.reproducers:
            yield Plan(MALFORMED, NOTHING_HELD, Arrangement.stamped(BESIDE), variant=name,
                       arguments={"reproducer": name})


@scenarios(plans)
def test_reproducers(ctx: ScenarioContext, reproducer: str) -> None:
    """The target survives the PDU sequence, and accepts the next login."""
    sequence = REPRODUCERS[reproducer]
    lun = ctx.arrange()
    with ctx.broken(lun):
        address = lun.deployment.address
        sent = max(send(ctx, address, sequence) for _ in range(sequence.times))
        ctx.expect("all PDUs of the reproducer were sent", sent == len(sequence.steps),
                   f"{sent} of {len(sequence.steps)}")
        must_accept_login(ctx, lun.deployment, sequence.later)
    ctx.drain(lun)
    ctx.recover(lun)
