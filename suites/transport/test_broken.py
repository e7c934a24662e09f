# SPDX-License-Identifier: GPL-2.0-or-later
"""Sessions that break during login, Data-Out or Data-In; other sessions must not be affected."""

from __future__ import annotations

from collections.abc import Iterator

from fixtures.context import ScenarioContext
from fixtures.initiator.raw.broken_sessions import brought_to_moment, small_socket_buffers
from fixtures.initiators import Initiators
from fixtures.scenario import Arrangement, Plan, Selection, scenarios
from fixtures.workload.stamps import LIGHT
from inject.backend_close import BackendClose
from inject.combined import Combined
from inject.lun_remove import LunRemove
from inject.point import NOTHING_HELD
from inject.wire import BROKEN
from targets.target import Device

TEARDOWNS = (BackendClose(), LunRemove())
"""A teardown that ends the device, and one that removes its LUN."""

IN_TEARDOWN = ("broken-data-out-reset", "broken-data-out-silent", "broken-data-in-reset",
               "broken-data-in-silent", "broken-data-in-stuffed")


def alone(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each moment and each way to break."""
    for breaks in BROKEN.values():
        yield Plan(breaks, NOTHING_HELD, Arrangement.stamped(LIGHT),
                   arguments={"breaks": breaks.name})


def around_teardowns(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each of ``IN_TEARDOWN`` with each teardown.

    With a silent peer, use the session keys with which the target closes a silent connection within
    a teardown's bound, if it has such keys (WireTraits.silent_peer_session).
    """
    for name in IN_TEARDOWN:
        silent = BROKEN[name].end_of_session == "silent"
        device = Device(session=selection.traits.wire.silent_peer_session if silent else {})
        for teardown in TEARDOWNS:
            yield Plan(Combined(BROKEN[name], teardown, label=teardown.name), variant=name,
                       arrangement=Arrangement.stamped(LIGHT, device=device),
                       arguments={"breaks": name})


@scenarios(alone)
def test_broken_sessions(ctx: ScenarioContext, breaks: str) -> None:
    """A broken session loses its own commands; other sessions lose none."""
    small_socket_buffers(ctx)
    lun = ctx.arrange()
    with ctx.broken(lun):
        sessions = brought_to_moment(ctx, lun.deployment, BROKEN[breaks])
        sessions.begin()
        sessions.wait_ended()
        if BROKEN[breaks].end_of_session == "stuffed":
            sessions.expect_read_whole()
        sessions.make_anew()
        sessions.expect_anew()
    ctx.drain(lun)
    ctx.recover(lun)


@scenarios(around_teardowns)
def test_device_goes_while_sessions_break(ctx: ScenarioContext, breaks: str) -> None:
    """Sessions that break in the middle of a transfer do not block a teardown.

    A peer that is silent or does not read is in this state before the teardown. A peer that resets
    its connections does so after the device's teardown has begun, or after the LUN's removal has
    begun to wait, possibly for the commands of these sessions.
    """
    lun = ctx.arrange()
    small_socket_buffers(ctx)
    Initiators(ctx, lun).reach(BROKEN[breaks], ctx.ladder.step)
    ctx.hold(lun)
    ctx.break_device(lun)  # the sessions break, and the teardown runs
    ctx.drain(lun)
    ctx.recover(lun)
