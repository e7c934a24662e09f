# SPDX-License-Identifier: GPL-2.0-or-later
"""Partitions: their data, the cut of the network, and the judgement of their histories."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.initiator.openiscsi import Timeouts
from fixtures.machine.link import Link
from fixtures.network import Disciplines, Network
from fixtures.scenario import Selection
from inject.combined import Combined
from inject.contract import How
from inject.partition import OUTLASTING, PARTITIONS, TRIES, Partition
from inject.point import NOTHING_HELD
from results.checkers.kernel_health import INITIATOR, reports
from results.errors import MachineLostError
from results.history import Recorder
from results.ladder import Ladder
from results.verdict import Verdict
from suites.partition.test_partition import (
    WRONG,
    alone,
    around_teardowns,
    timeouts,
    under_load,
)
from suites.selftest.fakes import FakeMachine
from suites.selftest.stories import SCENARIO, Story, io
from targets.catalogue import TARGETS, traits_of

CUT, MENDED = 14.0, 23.0
SOON = 5.0
LOST = "detected conn error (1022)"


# --- data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("partition", PARTITIONS.values(), ids=list(PARTITIONS))
def test_a_partition_reckons_with_the_initiators_timers(partition: Partition) -> None:
    timers = timeouts(partition) or Timeouts()
    notices = timers.noop_interval + timers.noop_timeout
    assert partition.timers == (notices, notices + timers.replacement)
    assert partition.errors is None or TRIES * timers.command > partition.grace


@pytest.mark.parametrize(("timer", "seconds", "reports"), [
    (None, 70.0, 124.0), (60.0, 70.0, 124.0), (90.0, 100.0, 154.0)])
def test_the_longest_partition_outlasts_the_targets_timer(
    timer: float | None, seconds: float, reports: float,
) -> None:
    traits = replace(traits_of("scst"), silent_session_ends=timer)
    found = OUTLASTING.at(traits)
    assert (found.seconds, found.timers, found.reported_after) == (seconds, (4.0, reports), None)
    timers = timeouts(found)
    assert timers is not None and TRIES * timers.command > found.grace
    assert PARTITIONS["partition-silent-late"].at(traits) is PARTITIONS["partition-silent-late"]
    (plan,) = (plan for plan in alone(Selection(traits)) if plan.fault.name == OUTLASTING.name)
    assert plan.fault == found


@pytest.mark.parametrize(("when", "keeps_session", "reported", "errors"), [
    ("blip", True, None, ()), ("replaced", False, None, ()), ("late", False, 6.0, None)])
def test_what_comes_of_a_partition_is_a_matter_of_timers(
    when: str, keeps_session: bool, reported: float | None, errors: tuple[str, ...] | None,
) -> None:
    for how in How:
        partition = PARTITIONS[f"partition-{how}-{when}"]
        assert partition.keeps_session is keeps_session
        assert partition.reported_after == reported
        assert partition.errors == errors
        if reported is not None:  # it ends after the report's deadline
            assert partition.seconds >= reported + Ladder().slack


def test_a_teardown_leaves_the_initiator_to_its_timer() -> None:
    traits = traits_of("lio")
    replaced = PARTITIONS["partition-silent-replaced"]
    alone = under_load(traits, replaced, NOTHING_HELD)
    assert alone.expected(traits).grace == replaced.grace == 14.0
    for plan in around_teardowns(Selection(traits)):
        assert isinstance(plan.fault, Combined)
        if plan.fault.disturbance == replaced:
            expected = plan.expected(traits)
            assert (expected.grace, expected.errors) == (24.0, None)


@pytest.mark.parametrize("target", TARGETS)
def test_a_teardown_has_time_for_the_rest_of_a_write(target: str) -> None:
    traits = traits_of(target)
    for plan in around_teardowns(Selection(traits)):
        assert isinstance(plan.fault, Combined) and isinstance(plan.fault.disturbance, Partition)
        assert plan.expected(traits).teardown_grace == (
            2 * plan.fault.disturbance.seconds if traits.teardown_waits_for_data else 0.0)


def test_a_wrong_prediction_changes_no_timers() -> None:
    assert [timeouts(partition) for partition, _ in WRONG] == [None] * len(WRONG)


# --- the network ----------------------------------------------------------------------------------


def test_what_was_on_its_way_does_not_arrive_after_a_restore() -> None:
    link = Link()
    first, second = (card.end for card in link.cards)
    for frame in (b"one", b"two"):
        first.send(frame)
    second.send(b"three")
    assert link.drain() == 3
    assert link.drain() == 0
    with pytest.raises(BlockingIOError):
        second.recv(10, socket.MSG_DONTWAIT)
    link.close()
    assert {card.address for card in link.cards} == {"192.0.2.1", "192.0.2.2"}


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[FakeMachine]]:
    """Provide the target's machine and the initiator's."""
    with FakeMachine(tmp_path / "one") as one, FakeMachine(tmp_path / "other") as other:
        yield [one, other]


class FakeContext:
    """The part of a scenario's context that a network uses."""

    def __init__(self, machines: list[FakeMachine], recorder: Recorder, fault: object) -> None:
        self.guest, self.client_guest = machines
        self.machine, self.client = (each.machine for each in machines)
        self.recorder, self.fault, self.ladder = recorder, fault, Ladder()
        self.plan = SimpleNamespace(arrangement=SimpleNamespace(apart=True))
        self.sleep = self.guest.connection.sleep
        self.plugs: list[tuple[str, bool]] = []
        for name, each in zip(("target", "initiator"), machines, strict=True):
            each.plug = lambda frames, name=name: self.plugs.append(  # type: ignore[attr-defined]
                (name, frames))


def commands(machine: FakeMachine) -> list[str]:
    """Return the commands that a machine was requested to run."""
    return [" ".join(requested["argv"]) for verb, requested in machine.requested if verb == "run"]


@pytest.mark.parametrize("how", How)
def test_the_network_is_cut_and_joined_again(
    how: How, machines: list[FakeMachine], tmp_path: Path,
) -> None:
    partition = Partition("test", how, 0.01, (4.0, 6.0))
    with Recorder(tmp_path / "history.jsonl") as recorder:
        ctx: Any = FakeContext(machines, recorder, partition)
        network = Network(ctx)
        network.prepare(partition)
        network.cut(partition, SOON)
        network.mend(SOON)
        network.mend(SOON)  # the second call does nothing
        network.restore(SOON)
        network.restore(SOON)  # likewise
        cut = recorder.history().first("fault", "cut")
        mended = list(recorder.history().select("fault", "mended"))
    assert cut is not None and cut.data["keeps_session"] is True
    assert len(mended) == 1 and mended[0].time >= cut.time + partition.seconds
    impaired = {How.UNPLUGGED: 0, How.SILENT: 2, How.ONE_WAY: 1}[how]
    for number, machine in enumerate(machines):
        ran = commands(machine)
        assert ran == [] if number >= impaired else ran == ["modprobe -a sch_netem", *(
            f"tc qdisc replace dev lo root netem loss {loss}" for loss in ("0%", "100%", "0%")),
            "tc qdisc del dev lo root"]
    assert ctx.plugs == ([
        ("target", False), ("initiator", False), ("target", True), ("initiator", True),
    ] if how is How.UNPLUGGED else [])


@pytest.mark.parametrize("apart", [True, False])
def test_the_network_is_impaired_and_restored(
    apart: bool, machines: list[FakeMachine], tmp_path: Path,
) -> None:
    with Recorder(tmp_path / "history.jsonl") as recorder:
        ctx: Any = FakeContext(machines, recorder, SimpleNamespace(name="netem-loss"))
        ctx.plan.arrangement.apart = apart
        network = Network(ctx)
        network.prepare()
        network.impair("loss 3%", SOON)
        network.restore(SOON)
    for machine in machines[:1 + apart]:
        assert [ran.removeprefix("tc qdisc ") for ran in commands(machine)] == [
            "modprobe -a sch_netem", "replace dev lo root netem loss 0%",
            "replace dev lo root netem loss 3%", "del dev lo root"]
    assert apart or not commands(machines[1])


def test_a_machine_that_is_lost_before_the_network_is_joined(
    machines: list[FakeMachine], tmp_path: Path,
) -> None:
    partition = Partition("test", How.SILENT, 0.05, (4.0, 6.0))
    with Recorder(tmp_path / "history.jsonl") as recorder:
        ctx: Any = FakeContext(machines, recorder, partition)
        network = Network(ctx)
        network.prepare(partition)
        network.cut(partition, SOON)
        machines[0].vanish()
        with pytest.raises(MachineLostError):
            network.restore(SOON)


def test_a_partition_beside_something_else_promises_nothing(
    machines: list[FakeMachine], tmp_path: Path,
) -> None:
    with Recorder(tmp_path / "history.jsonl") as recorder:
        ctx: Any = FakeContext(machines, recorder, SimpleNamespace(name="another fault"))
        network = Network(ctx)
        late = PARTITIONS["partition-silent-late"]
        network.prepare(late)
        network.cut(late, SOON)
        cut = recorder.history().first("fault", "cut")
    assert cut is not None
    assert (cut.data["keeps_session"], cut.data["reported_after"]) == (None, None)


def test_a_discipline_that_is_refused_is_no_partition(machines: list[FakeMachine]) -> None:
    machines[0].verbs["run"] = lambda argv, stdin="": {
        "status": 2, "stdout": "", "stderr": "Error: Specified qdisc kind is unknown.\n"}
    with pytest.raises(MachineLostError, match="qdisc kind is unknown"):
        Disciplines([machines[0].machine], 1.0).set("loss 100%")


def test_a_discipline_that_is_late_is_no_targets_failure(machines: list[FakeMachine]) -> None:
    machines[0].slow("run", 0.5)
    with pytest.raises(MachineLostError, match="has not ended after"):
        Disciplines([machines[0].machine], 0.05).set("loss 100%")


def test_a_disciplines_statistics_are_tcs(machines: list[FakeMachine]) -> None:
    machines[0].verbs["run"] = lambda argv, stdin="": {"status": 0, "stderr": "", "stdout": (
        '[{"kind":"netem","handle":"8001:","root":true,"bytes":900,"packets":12,"drops":3},'
        '{"kind":"clsact","parent":"ffff:fff1","bytes":0,"packets":0,"drops":0}]')}
    seen = Disciplines([machines[0].machine], 1.0).statistics()
    assert seen == [{"packets": 12, "drops": 3}]


def test_one_machine_follows_the_others_clock(machines: list[FakeMachine]) -> None:
    ours, theirs = machines
    theirs.clock_ahead = 1000.0
    theirs.connection.sync(1.0)
    assert theirs.machine.now() - ours.machine.now() == pytest.approx(1000.0, abs=0.2)
    theirs.connection.follow(ours.connection)
    assert theirs.connection.ahead == pytest.approx(-1000.0, abs=0.2)
    assert theirs.machine.now() == pytest.approx(ours.machine.now(), abs=0.2)
    pending = theirs.machine.begin("mkdir", "/x")
    pending.result(1.0)
    assert pending.span[0] == pytest.approx(ours.machine.now(), abs=0.2)
    theirs.connection.sync(1.0)
    assert theirs.connection.ahead == 0.0


# --- judgement ------------------------------------------------------------------------------------


def story(
    *, reported: float | None = 6.0, keeps: bool = False, reports_loss: bool = True,
    fails_at: float | None = 20.5,
) -> Story:
    """Return a history of a cut from 14 s to 23 s under four writes.

    The writes fail at ``fails_at``, or succeed if it is None.
    """
    case = Story()
    case.at(10.0, "harness", "scenario", id=SCENARIO, ladder=asdict(Ladder()), apart=True)
    case.at(10.0, "target", "disk", name="sda", device="8:0", identity="stf0")
    for serial in range(4):
        end, error = (23.5, None) if fails_at is None else (fails_at, "EIO")
        io(case, serial, 13.9, end - 13.9, error=error)
    case.at(CUT, "fault", "cut", how="silent", seconds=9.0, keeps_session=keeps,
            reported_after=reported)
    if reports_loss:
        case.at(18.0, "console", "line", text=LOST, machine=INITIATOR, number=5)
    case.at(MENDED, "fault", "mended", how="silent")
    io(case, 5, 24.0, 0.01)
    case.at(26.0, "harness", "phase", name="end")
    return case


def test_a_partition_that_is_reported_in_time_passes() -> None:
    check = story().check("partition")
    assert check.verdict is Verdict.PASS, check.reason
    assert check.figures["error_reported_after"].value == pytest.approx(6.5)
    assert check.figures["report_bound"].value == 8.0
    assert check.figures["resumed_after"].value == pytest.approx(1.01)


def test_one_that_heals_in_time_passes_without_a_report() -> None:
    case = story(reported=None, keeps=True, reports_loss=False, fails_at=None)
    assert case.verdict("partition") is Verdict.PASS


def _nobody_reports(case: Story) -> None:
    case.events = story(fails_at=None).events


def _late(case: Story) -> None:
    case.events = story(fails_at=22.5).events


def _one_is_forgotten(case: Story) -> None:
    case.without("block", "complete", io=2)


def _session_is_lost_in_vain(case: Story) -> None:
    case.events = story(reported=None, keeps=True, fails_at=None).events


@pytest.mark.parametrize(("change", "words"), [
    (_nobody_reports, "no I/O was reported as failed"),
    (_late, "the first error was reported after 8.5 s, allowed are 8 s"),
    (_one_is_forgotten, "1 I/Os issued before the cut had not ended 8 s after it"),
    (_session_is_lost_in_vain, "although the partition healed before"),
])
def test_what_a_partition_must_not_come_to(change: Callable[[Story], None], words: str) -> None:
    case = story()
    change(case)
    check = case.check("partition")
    assert check.verdict is Verdict.FAIL, check.reason
    assert words in check.reason
    assert check.signatures


def _not_cut(case: Story) -> None:
    io(case, 6, 15.0, 0.5)


def _nothing_under_way(case: Story) -> None:
    case.without("block", "issue").without("block", "complete")


def _too_short(case: Story) -> None:
    case.without("console", "line")


@pytest.mark.parametrize(("change", "words"), [
    (_not_cut, "succeeded while the network was cut"),
    (_nothing_under_way, "no I/O was in flight"),
    (_too_short, "has not dropped its connection"),
])
def test_what_was_no_partition_is_unknown(change: Callable[[Story], None], words: str) -> None:
    case = story()
    change(case)
    check = case.check("partition")
    assert check.verdict is Verdict.UNKNOWN
    assert words in check.reason


def test_both_consoles_are_read() -> None:
    case = Story()
    case.at(10.0, "harness", "scenario", id=SCENARIO, ladder=asdict(Ladder()), apart=True)
    case.at(10.0, "harness", "clock", machine=INITIATOR, behind=30.0, within=0.002)
    for more in ({}, {"machine": INITIATOR}):
        case.at(10.1, "console", "line", number=1, **more,
                text=f"[   10.100000] stf: scenario {SCENARIO} begins")
        assert case.verdict("kernel_health") is Verdict.UNKNOWN
    for more in ({}, {"machine": INITIATOR}):
        assert case.verdict("kernel_health") is Verdict.UNKNOWN
        case.at(50.1, "console", "line", number=3, **more,
                text=f"[   50.100000] stf: scenario {SCENARIO} ends")
    assert case.verdict("kernel_health") is Verdict.PASS
    case.at(41.0, "console", "line", number=2, machine=INITIATOR,
            text="[   11.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008")
    assert case.verdict("kernel_health") is Verdict.FAIL
    (report,) = reports(case.history())
    assert report.time == 41.0
    case.without("console", "line", number=1, machine=INITIATOR)
    assert case.verdict("kernel_health") is Verdict.UNKNOWN
