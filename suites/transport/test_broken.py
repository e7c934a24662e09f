"""Sessions that break in the middle of a login, of Data-Out, of Data-In; others must not suffer."""

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
"""One that ends the device, and one that takes the LUN from it."""

IN_TEARDOWN = ("broken-data-out-reset", "broken-data-out-silent", "broken-data-in-reset",
               "broken-data-in-silent", "broken-data-in-stuffed")


def alone(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for each moment and way to break."""
    for breaks in BROKEN.values():
        yield Plan(breaks, NOTHING_HELD, Arrangement.stamped(LIGHT),
                   arguments={"breaks": breaks.name})


def around_teardowns(selection: Selection) -> Iterator[Plan]:
    """Yield a plan for some of them around each teardown.

    A target that can give up a silent peer within a teardown's bound is set up for it.
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
    """A session that ends in the middle costs its own commands and nobody else's."""
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
    """Sessions in the middle of a transfer hold no teardown.

    A peer that is silent, or that does not read, is so from before the teardown. One that resets
    its connections does it once the device has begun to go, or once the LUN's removal waits, which
    may be for these sessions' commands.
    """
    lun = ctx.arrange()
    small_socket_buffers(ctx)
    Initiators(ctx, lun).reach(BROKEN[breaks], ctx.ladder.step)
    ctx.hold(lun)
    ctx.break_device(lun)  # the sessions break, and the device goes
    ctx.drain(lun)
    ctx.recover(lun)
