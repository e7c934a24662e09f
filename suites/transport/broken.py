"""The stories of sessions that break in the middle of something, or are not read from."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from fixtures.initiator.disk import Disk
from fixtures.program import EXIT, Program
from fixtures.stage import Stage
from fixtures.story import Beside, beside_a_load, tell
from fixtures.workload.pdus import LOGIN
from inject.waiting import until
from inject.wire import BROKEN, Wire
from results.errors import MachineLostError
from suites.regression.raw import SMALL, SOCKET_BUFFERS
from targets.target import Deployment

PROGRAM = "fixtures.initiator.raw.broken"
DROPPING = ("sch_ingress", "cls_u32", "act_gact")
"""Modules that the dropping of one connection's packets is made of."""

SESSIONS = 4
STUFFED = 5.0
"""Seconds for which nothing is read: longer than the initiator's command timer (4 s), less than a
target waits for the answer to a NOP-In (inject.partition)."""

READ_BYTES = 16 * 128 * 512
"""What a session's burst has to come to: fixtures.initiator.raw.broken's READS of READ_BLOCKS."""

WRITES_NOTHING: Mapping[str, bool] = {"lio": True, "scst": True, "tgt": True}
"""By target: whether a WRITE whose data have not all come has written nothing. No standard wants it
(SBC-4 4.7: the blocks of a command that was terminated may be any); all three begin to write when
they have all data."""


def broken(stage: Stage) -> None:
    """Break sessions beside a load, and make them anew."""
    wire = BROKEN[stage.plan.fault]
    stage.machine.write(SOCKET_BUFFERS, SMALL)
    with beside_a_load(stage) as (deployment, *_):
        program = begin(stage, deployment, wire)
        end(stage, program, wire)
        program.order(do="again")
        bound = SESSIONS * (LOGIN + stage.ladder.step)
        program.wait_told("end", bound)
        came_again(stage, program, wire)


def in_teardown(stage: Stage) -> None:
    """Break sessions around a teardown: the device goes while they are in the middle of it."""
    wire = BROKEN[stage.plan.breaks or ""]
    begun: list[Breaking] = []

    def prepare(deployment: Deployment, disk: Disk) -> Beside:
        stage.machine.write(SOCKET_BUFFERS, SMALL)
        begun.append(Breaking(stage, deployment, wire, begin(stage, deployment, wire)))
        return Beside(before=begun[0].before, meanwhile=begun[0].meanwhile,
                      settle=begun[0].settle)

    tell(stage, prepare)


class Breaking:
    """Sessions that end around a teardown.

    A peer that is silent, or stuffed, was so before. One that hangs up does so in between: when the
    device has begun to go, or its LUN's removal waits, which may be for these sessions' commands.
    """

    def __init__(
        self, stage: Stage, deployment: Deployment, wire: Wire, program: Program,
    ) -> None:
        self._stage = stage
        self._deployment = deployment
        self._program = program
        self._early = wire.end in ("silent", "stuffed")
        self._fired = threading.Event()
        self._hanging_up: Future[None] | None = None

    def before(self) -> None:
        """The fault is about to fire."""
        if self._early:
            self._end()
            return
        one = ThreadPoolExecutor(1, "hanging up")
        self._hanging_up = one.submit(self._hang_up)
        one.shutdown(wait=False)

    def _hang_up(self) -> None:
        bound = self._stage.ladder.step + self._stage.ladder.teardown
        if not until(lambda: self._fired.is_set() or self._deployment.removal_waits(), bound):
            raise MachineLostError(f"the device had not begun to go after {bound:g} s")
        self._end()

    def meanwhile(self) -> None:
        """The fault has fired."""
        self._fired.set()
        if self._hanging_up:
            self._hanging_up.result()

    def settle(self) -> None:
        """It is over, however it went. Raises what hanging up raised."""
        self.meanwhile()
        self._program.order(do="no more")
        stage = self._stage
        self._program.wait_told("end", STUFFED + stage.ladder.command + stage.ladder.step)

    def _end(self) -> None:
        self._program.order(do="end")


def begin(stage: Stage, deployment: Deployment, wire: Wire) -> Program:
    """Bring sessions to their moment."""
    address = deployment.address
    stage.client.modprobe(*DROPPING)
    sessions = 1 if wire.moment.startswith("login") else SESSIONS  # LIO takes one login at a time
    program = stage.program("raw initiator", PROGRAM, {
        "portal": address.portal, "iqn": address.iqn, "lun": address.lun, "moment": wire.moment,
        "end": wire.end, "sessions": sessions, "seconds": STUFFED,
        "patience": LOGIN + stage.ladder.step})
    bound = LOGIN + stage.ladder.step
    reached = program.wait(lambda: bool(program.told("there") or program.told(EXIT)), bound)
    if not program.told("there"):
        deployment.reachable()  # one that died is the news
        words = program.last_words
        stage.must(not reached, f"the sessions did not come to {wire.moment}: {words}")
        stage.must(False, f"the sessions did not come to {wire.moment} in {bound:g} s")
    return program


def end(stage: Stage, program: Program, wire: Wire) -> None:
    """End them as is to be."""
    program.order(do="end")
    bound = STUFFED + stage.ladder.command + stage.ladder.step
    stage.must(program.wait(lambda: bool(program.told("ended") or program.told(EXIT)), bound),
               f"the sessions have not ended in {bound:g} s")
    stage.must(bool(program.told("ended")), f"the sessions do not end: {program.last_words}")
    if wire.end != "stuffed":
        return
    if not all(each["bytes"] for each in program.told("jammed")):
        raise MachineLostError("the target's socket could send all: its window was not closed")
    answers = program.told("answers")
    stage.expect("every command of a session that was not read from ends well",
                 len(answers) == SESSIONS
                 and all(set(each["statuses"]) == {"0"} for each in answers), str(answers))
    stage.expect("no byte is missing of what was not read at once",
                 all(each["bytes"] == READ_BYTES for each in answers), str(answers))


def came_again(stage: Stage, program: Program, wire: Wire) -> None:
    """State what must be of sessions that were made anew."""
    told = program.told("again")
    sessions = 1 if wire.moment.startswith("login") else SESSIONS
    stage.expect("every session that broke can be made anew, and used",
                 len(told) == sessions and not any(each["error"] for each in told),
                 json.dumps([dict(each) for each in told]) + program.last_words)
    slow = wire.moment.startswith("login") and wire.end == "silent"
    bound = (LOGIN if slow else 0.0) + stage.ladder.step
    stage.expect("it is in bounded time", all(each["seconds"] <= bound for each in told),
                 f"{[each['seconds'] for each in told]}, allowed are {bound:g} s")
    kept = [each["kept"] for each in told if each["kept"] is not None]
    if kept:
        does = WRITES_NOTHING[stage.plan.target]
        stage.expect("a WRITE whose data did not all come writes nothing" if does else
                     "a WRITE whose data did not all come writes some",
                     all(each is does for each in kept), str(kept))

