# SPDX-License-Identifier: GPL-2.0-or-later
"""The generator of malformed PDUs: the same seed gives the same bytes, and every kind occurs."""

from __future__ import annotations

import re
import socket
from collections import Counter
from functools import cache

import pytest

from fixtures.initiator.raw import generate
from fixtures.initiator.raw.generate import AVOIDABLE, AVOIDED, Item, Stream, fingerprint
from fixtures.initiator.raw.logins import LOGINS
from fixtures.initiator.raw.malform import MALFORMATIONS, Sending
from fixtures.initiator.raw.pdu import Digests, Op, Pdu, wire
from fixtures.initiator.raw.session import Connection
from fixtures.initiator.raw.valid import REQUESTS, WRITTEN
from fixtures.scenario import Selection
from fixtures.workload.pdus import PduJob
from inject.catalogue import fault_by_name
from results.checkers import pdus
from results.errors import WrongUsageError
from results.history import Event, History
from results.verdict import Verdict
from suites.transport import test_reproducers
from suites.transport.reproducers import REPRODUCERS
from suites.transport.test_malformed import PART, chosen, jobs, plan
from targets.catalogue import TARGETS, traits_of

IQN = "iqn.2026-01.org.scsi-target-faults:t"
STREAMS, PDUS = 60, 300


def stream(number: int, seed: str = "1/1") -> Stream:
    return Stream.of(seed, number, IQN)


@cache
def items() -> list[Item]:
    return [stream(number).item(item) for number in range(STREAMS) for item in range(PDUS)]


def sent(item: Item) -> bytes:
    """Return an item's bytes on a new connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(ours)
        return b"".join(wire(connection.complete(pdu), Digests(True, True), item.sending.flaw)
                        for pdu in item.sending.pdus)


def test_the_same_seed_gives_the_same_bytes() -> None:
    """An item depends on seed, stream and number alone, not on the items drawn before it."""
    forwards = [sent(stream(number).item(item)) for number in range(8) for item in range(50)]
    backwards = [sent(stream(number).item(item))
                 for number in reversed(range(8)) for item in reversed(range(50))]
    assert forwards == backwards[::-1]
    assert [sent(stream(number, "2/1").item(item))
            for number in range(8) for item in range(50)] != forwards


def test_every_request_and_every_way_occurs() -> None:
    requests = Counter(item.request for item in items() if not item.login)
    ways = Counter(item.malformed for item in items())
    assert set(requests) == set(REQUESTS)
    assert set(ways) == {"", *MALFORMATIONS, *LOGINS}
    assert 0.2 < ways[""] / (STREAMS * PDUS) < 0.6


def test_streams_differ_in_what_they_negotiate() -> None:
    streams = [stream(number) for number in range(STREAMS)]
    for key in ("HeaderDigest", "ImmediateData", "InitialR2T", "ErrorRecoveryLevel"):
        assert len({each.keys[key] for each in streams}) > 1
    assert 0 < sum(each.logins for each in streams) < STREAMS / 2
    assert len({each.isid for each in streams}) == STREAMS


def test_writes_stay_below_what_is_another_s() -> None:
    """WRITE(10) and READ(10); no other CDB writes."""
    for item in items():
        for pdu in item.sending.pdus:
            if pdu.op == Op.SCSI_COMMAND and not item.login and pdu["CDB"] >> 120 == 0x2A:
                cdb = pdu["CDB"].to_bytes(16, "big")
                end = int.from_bytes(cdb[2:6], "big") + int.from_bytes(cdb[7:9], "big")
                assert end * 512 <= WRITTEN


def test_what_is_left_out_leaves_the_others_as_they_are() -> None:
    """Each avoidable item is replaced, and only these; all others stay the same."""
    left_out = Counter[str]()
    for number in range(40):
        drawn = stream(number)
        for item in map(drawn.item, range(50)):
            caught = [name for name, catches in AVOIDABLE.items() if catches(item.sending)]
            left_out.update(caught)
            again = Stream.of("1/1", number, IQN, tuple(AVOIDABLE)).item(item.number)
            assert (again.malformed == AVOIDED) == bool(caught)
            assert caught or again == item
    assert set(left_out) == set(AVOIDABLE)


@pytest.mark.parametrize(("name", "target"), [
    (name, target) for target in TARGETS for name in sorted(traits_of(target).wire.reproducers)])
def test_a_campaign_leaves_out_what_is_sent_by_itself(name: str, target: str) -> None:
    assert any(AVOIDABLE[each](Sending((step.pdu,)))
               for each in traits_of(target).wire.avoided_pdus for step in REPRODUCERS[name].steps)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_left_out_but_what_is_sent_by_itself(target: str) -> None:
    wire = traits_of(target).wire
    mine = [Sending((step.pdu,)) for name in wire.reproducers for step in REPRODUCERS[name].steps]
    assert all(any(map(AVOIDABLE[name], mine)) for name in wire.avoided_pdus)


@pytest.mark.parametrize("target", TARGETS)
def test_each_reproducer_of_a_target_is_a_scenario(target: str) -> None:
    traits = traits_of(target)
    assert [each.variant for each in test_reproducers.plans(Selection(traits))] == [
        name for name in REPRODUCERS if name in traits.wire.reproducers]
    assert traits.wire.reproducers <= set(REPRODUCERS)


def test_another_generator_has_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = fingerprint()
    assert fingerprint.__wrapped__() == drawn
    monkeypatch.setattr(generate, "VALID", generate.VALID + 0.001)
    assert fingerprint.__wrapped__() != drawn


def test_numbers_are_filled_in() -> None:
    """Fields that a PDU leaves out are filled in; explicit numbers and offsets do not count."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(ours, cmd_sn=0xFFFFFFFF, exp_stat_sn=9)
        first = connection.complete(Pdu(Op.SCSI_COMMAND))
        assert (first["CmdSN"], first["ExpStatSN"], connection.cmd_sn) == (0xFFFFFFFF, 9, 0)
        assert connection.complete(Pdu(Op.NOP_OUT, {"I": 1}))["CmdSN"] == 0
        assert connection.complete(Pdu(Op.TEXT, {"+CmdSN": -1}))["CmdSN"] == 0xFFFFFFFF
        assert connection.complete(Pdu(Op.TEXT, {"CmdSN": 77}))["CmdSN"] == 77
        assert connection.cmd_sn == 0
        r2t = Pdu(Op.R2T, {"InitiatorTaskTag": 5, "TargetTransferTag": 6, "BufferOffset": 512,
                           "DesiredDataTransferLength": 1024})
        connection.r2ts.append(r2t)
        data = connection.complete(Pdu(Op.DATA_OUT, {"F": 1}))
        assert (data["InitiatorTaskTag"], data["TargetTransferTag"], data["BufferOffset"],
                len(data.data)) == (5, 6, 512, 1024)


# jobs and their parts


@pytest.mark.parametrize(("count", "parts"), [(1, [1]), (300, [12]), (501, [20, 1]),
                                              (10_000, [20] * 20)])
def test_parts(count: int, parts: list[int]) -> None:
    assert [job.streams for job in jobs(count)] == parts
    assert [job.part for job in jobs(count)] == list(range(1, len(parts) + 1))


def test_a_few_again() -> None:
    assert chosen("3:7:2-5").only == (7, 2, 5)
    assert chosen("3:7:2").only == (7, 2, 2)
    assert chosen("3:7") == PduJob(streams=8, part=3, threads=1, only=(7, 0, PART.pdus - 1))
    assert chosen(f"3:7@{fingerprint()}") == chosen("3:7")


@pytest.mark.parametrize(("some", "words"), [
    ("all", "--pdu takes PART:STREAM"), ("0:1", "parts from 1"), ("1:2:5-3", "no PDUs from 5 to 3"),
    ("", "--pdu takes"), ("1:2@0123456789ab", f"this generator is {fingerprint()}")])
def test_some_that_cannot_be(some: str, words: str) -> None:
    with pytest.raises(WrongUsageError, match=re.escape(words)):
        chosen(some)


@pytest.mark.parametrize("count", [0, -1])
def test_none_at_all(count: int) -> None:
    with pytest.raises(WrongUsageError):
        jobs(count)


def test_the_record_has_what_a_replay_needs() -> None:
    traits = traits_of("lio")
    record = plan(traits, PduJob(part=4)).on("lio", "6.1").seeded(99).record()
    assert record["pdus"] == {"streams": 20, "pdus": 25, "part": 4, "threads": 6, "seed": 99,
                              "avoid": traits.wire.avoided_pdus, "only": None,
                              "generator": fingerprint()}


def test_the_fault_needs_iscsi() -> None:
    fault = fault_by_name("malformed-pdus")
    assert fault.needs.met(traits_of("lio"), "tcmu", "iscsi")
    assert not fault.needs.met(traits_of("lio"), "tcmu", "loopback")


# the checker


def history(*outcomes: str, job: str = "pdus") -> History:
    begin = Event(1.0, "workload", "begin", {"job": job, "disk": "sda"})
    return History.of([begin, *(Event(2.0, "workload", "pdu", {"job": job, "outcome": outcome})
                                for outcome in outcomes)])


def test_pdus_were_sent() -> None:
    check = pdus.check(history("answered", "closed", "answered", "unreachable"))
    assert check is not None and check.verdict is Verdict.PASS
    assert check.figures["pdus_answered"].value == 2


@pytest.mark.parametrize("outcomes", [(), ("unreachable", "unreachable", "answered")])
def test_most_were_not(outcomes: tuple[str, ...]) -> None:
    check = pdus.check(history(*outcomes))
    assert check is not None and check.verdict is Verdict.UNKNOWN


def test_nobody_asked() -> None:
    assert pdus.check(history(job="stamps")) is None
