# SPDX-License-Identifier: GPL-2.0-or-later
"""The transport suite's steps: expectations of wrong digests; whether a reproducer was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fixtures.context import ScenarioContext
from fixtures.initiator.raw.pdu import Op, Pdu
from fixtures.program import Program
from inject.traits import TargetTraits
from suites.transport.digests import ALLOWED, CLAUSE, CRC_ERROR, REJECTED
from suites.transport.reproducers import TARGET_NAME, Step
from suites.transport.sending import Sender
from suites.transport.test_digests import expect_digest
from targets.catalogue import traits_of
from targets.target import Address, Transport

ADDRESS = Address(Transport.ISCSI, 1, "VENDOR", "serial", "127.0.0.1:3260", "iqn.t")


@dataclass
class FakeContext:
    """Records expectations and notes."""

    traits: TargetTraits = field(default_factory=lambda: traits_of("scst"))
    unmet: list[str] = field(default_factory=list)
    clauses: set[str] = field(default_factory=set)
    notes: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def expect(self, what: str, met: bool, seen: str = "", clause: str = "") -> bool:
        self.clauses.add(clause)
        if not met:
            self.unmet.append(what)
        return met

    def note(self, kind: str, **data: object) -> None:
        self.notes.append((kind, data))


@pytest.mark.parametrize(("answers", "unmet", "notes"), [
    ((CRC_ERROR,), 0, 0),  # the known behaviour
    ((REJECTED,), 0, 1),   # better than before: noted, not a failure
    (("nop in",), 1, 1),   # not in the standard
])
def test_a_target_may_do_better(answers: tuple[str, ...], unmet: int, notes: int) -> None:
    ctx, case = FakeContext(), "data-immediate-data"
    expect_digest(cast(ScenarioContext, ctx), case, ALLOWED[case],
                  {"agreed": True, "answers": list(answers), "kept": True})
    assert (len(ctx.unmet), len(ctx.notes)) == (unmet, notes)
    assert ctx.clauses == {CLAUSE}


class FakeProgram:
    """A raw initiator that answers ``lives`` requests before the target drops the connection."""

    def __init__(self, lives: int) -> None:
        self.lives = lives
        self.events: list[dict[str, Any]] = [{"kind": "ready"}]
        self.orders: list[dict[str, Any]] = []
        self.killed = False
        self.process = SimpleNamespace(signal=self._kill, wait=lambda bound: 0)

    def _kill(self, _number: int) -> None:
        if self.events_of("lost"):
            raise ProcessLookupError
        self.killed = True

    def order(self, **what: Any) -> None:
        self.orders.append(what)
        answer = {"put": "put", "receive": "received"}[what["do"]]
        self.events.append({"kind": answer if len(self.orders) <= self.lives else "lost"})

    def events_of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["kind"] == kind]

    def wait(self, reached: Callable[[], bool], deadline: float) -> bool:
        return reached()


@pytest.mark.parametrize(("lives", "sent"), [(9, 2), (3, 2), (2, 1), (1, 1), (0, 0)])
def test_what_was_sent_is_counted(lives: int, sent: int) -> None:
    """One request and reply per PDU, and one more request where the target's answer is awaited."""
    program = FakeProgram(lives)
    sender = Sender(cast(Program, program), ADDRESS, 0.1)
    steps = (Step(Pdu(Op.SCSI_COMMAND), Op.R2T), Step(Pdu(Op.LOGIN, data=TARGET_NAME)))
    assert sender.wait_ready()
    assert all(sender.put(step) for step in steps) == (lives >= 3)
    assert sender.sent == sent
    sender.hang_up(0.1)
    assert program.killed == (lives >= 3)  # after the target's drop the program ends by itself
    puts = [order for order in program.orders if order["do"] == "put"]
    assert puts[0]["fields"] == {"LUN": 1 << 48}
    assert all(order["data"] == b"iqn.t".hex() for order in puts[1:])


@pytest.mark.parametrize(("lines", "words"), [
    ([], ""),
    (["tc: no such qdisc", "gave up"], "tc: no such qdisc / gave up"),
    (["Traceback (most recent call last):", '  File "x.py", line 1', "TimeoutError: timed out"],
     "TimeoutError: timed out"),
])
def test_a_programs_last_words(lines: list[str], words: str) -> None:
    events: list[Any] = []
    machine = SimpleNamespace(spawn=lambda *_, on_message, **more: [
        on_message({"kind": "text", "text": line}) for line in lines])
    program = Program(cast(Any, machine), "raw initiator", "module", [], on_event=events.append)
    assert program.last_words == words
