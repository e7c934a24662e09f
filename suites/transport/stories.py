"""The stories of this suite: an initiator sends what is wrong while another one's load goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fixtures.initiator.raw import obedient
from fixtures.initiator.raw.session import OF_A_UNIT
from fixtures.program import EXIT, Program
from fixtures.stage import Stage
from fixtures.story import beside_a_load
from fixtures.workload.pdus import LOGIN, QUIET, all_sent, send_pdus
from suites.transport.digests import ALLOWED, DOES, Rule
from suites.transport.traps import TARGET_NAME, TRAPS, Step, Trap
from targets.target import Address, Deployment

DIGESTS = "fixtures.initiator.raw.digests"

PATIENCE = 1.5
"""Seconds for which an answer to a PDU with a wrong digest is waited for."""

SPRUNG = "what the target is known to die of was sent"

CASE = 6.0
"""Seconds that a case of a wrong digest may take, with its logins."""


def malformed(stage: Stage) -> None:
    """Send malformed PDUs; then a login is taken as before."""
    with beside_a_load(stage) as (deployment, disk, _):
        job = stage.plan.pdus
        assert job is not None
        sending = send_pdus(stage.client, job, deployment.address, disk, stage.recorder)
        stage.must(all_sent(sending), f"nothing became of any PDU for {QUIET:g} s")
        answers_login(stage, deployment)


def trap(stage: Stage) -> None:
    """Send the PDUs that a target is known to die of: the plan's variant names them."""
    what = TRAPS[stage.plan.variant]
    with beside_a_load(stage) as (deployment, *_):
        sent = 0
        for _ in range(what.times):
            sent = max(sent, spring(stage, deployment.address, what))
        stage.expect(SPRUNG, sent == len(what.steps), f"{sent} of {len(what.steps)} PDUs were")
        answers_login(stage, deployment, what.later)


def spring(stage: Stage, address: Address, what: Trap) -> int:
    """Send a trap's PDUs once, in a session of their own; return how many were sent. Fewer than
    there are when the target hangs up, or takes no login any more."""
    program = obedient.begin(stage, address, session=what.session, keys=dict(what.keys))
    sender = Sender(program, address, LOGIN + stage.ladder.step)
    if sender.ready() and all(sender.put(step) for step in what.steps):
        sender.hear(None, what.aftermath)
    sender.hang_up(stage.ladder.step)
    return sender.sent


@dataclass(frozen=True)
class Sender:
    """Has a raw initiator send PDUs, one behind the other. ``bound``: seconds for each."""

    program: Program
    address: Address
    bound: float

    @property
    def sent(self) -> int:
        """How many PDUs it has sent."""
        return len(self.program.told("put"))

    @property
    def goes_on(self) -> bool:
        """Whether the target has not hung up."""
        return not (self.program.told("lost") or self.program.told(EXIT))

    def ready(self) -> bool:
        """Wait until it can begin; tell whether it can."""
        return self._told("ready", 1, self.bound)

    def put(self, step: Step) -> bool:
        """Send a step's PDU, and hear what is to come of it; tell whether one can go on."""
        pdu, count = step.pdu, self.sent + 1
        at = {"LUN": self.address.lun << 48} if pdu.op in OF_A_UNIT else {}
        self.program.order(
            do="put", op=int(pdu.op), fields={**at, **pdu.fields}, ahs=pdu.ahs.hex(),
            data=pdu.data.replace(TARGET_NAME, str(self.address.iqn).encode()).hex(),
            times=step.times, hang_up=step.hang_up)
        return self._told("put", count, self.bound) and (
            step.until is None or self.hear(step.until, self.bound))

    def hear(self, op: int | None, seconds: float) -> bool:
        """Take in what comes, until there is a PDU of a kind; tell whether one can go on."""
        count = len(self.program.told("heard")) + 1
        self.program.order(do="hear", seconds=seconds, op=op)
        return self._told("heard", count, self.bound + seconds)

    def hang_up(self, bound: float) -> None:
        """Have it end, unless it does by itself because the target has hung up."""
        if self.goes_on:
            self.program.process.signal(9)
        self.program.process.wait(bound)

    def _told(self, kind: str, count: int, bound: float) -> bool:
        self.program.wait(
            lambda: len(self.program.told(kind)) >= count or not self.goes_on, bound)
        return len(self.program.told(kind)) >= count and self.goes_on


def digests(stage: Stage) -> None:
    """Send PDUs with wrong digests, each in a session of its own."""
    with beside_a_load(stage) as (deployment, *_):
        address = deployment.address
        program = stage.program("raw initiator", DIGESTS, {
            "portal": address.portal, "iqn": address.iqn, "lun": address.lun,
            "patience": PATIENCE})
        bound = CASE * len(ALLOWED)
        program.wait_told("end", bound)
        told = {str(each["case"]): each for each in program.told("digest")}
        for name, rule in ALLOWED.items():
            expect_digest(stage, name, rule, told.get(name))


def expect_digest(stage: Stage, name: str, rule: Rule, told: Mapping[str, Any] | None) -> None:
    """State what must come of a wrong digest, by the standard; note what this target did otherwise
    than before."""
    if told is None:
        stage.expect(f"{name}: the target says something", False, "the program did not get there")
        return
    if not told["agreed"]:
        stage.expect(f"{name}: the target uses digests", False)
        return
    said, kept = tuple(told["answers"]), told["kept"]
    stage.expect(f"{name}: {rule.words}", rule.met(said), str(said))
    if kept is not None:
        stage.expect(f"{name}: the block is not written", bool(kept))
    does = DOES.get(stage.plan.target, {}).get(name)
    if does is not None and said != does:
        stage.note("otherwise", case=name, said=said, did=does)


def answers_login(stage: Stage, deployment: Deployment, seconds: float = 0.0) -> None:
    """See that the target is there, takes a login and keeps the session for some seconds; raises
    TargetFailedError if it does not."""
    stage.must(deployment.reachable(), "the target does not have its LUN any more")
    program = obedient.begin(stage, deployment.address)
    program.wait_ready(LOGIN + stage.ladder.step)
    sender = Sender(program, deployment.address, LOGIN)
    if seconds:
        stage.must(sender.hear(None, seconds), "the target hung up on a session that does nothing")
    sender.hang_up(stage.ladder.step)
