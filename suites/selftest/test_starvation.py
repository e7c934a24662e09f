# SPDX-License-Identifier: GPL-2.0-or-later
"""Lateness on a host without CPU time for the guest is not a failure; all else still is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from results.judge import Judgement, judge
from results.known_issues import KnownIssue
from results.starvation import SHARE_MAX, doubted, share
from results.verdict import Check, Outcome, Signature, Verdict
from suites.selftest.stories import END, Story, healthy


def on_a_host(story: Story, waited: float, machine: str = "target") -> Story:
    """Record that a guest ran for 10 s and waited for ``waited`` seconds."""
    return story.at(10.0, "harness", "host_cpu", machine=machine, ran=100.0, waited=70.0).at(
        END, "harness", "host_cpu", machine=machine, ran=110.0, waited=70.0 + waited)


def failed(*signatures: Signature, name: str = "deadline") -> Judgement:
    """Return a judgement with one failed check."""
    return Judgement("it", (Check("machine", Verdict.PASS, "it was there"),
                            Check(name, Verdict.FAIL, "too late", signatures=signatures)))


STARVED = on_a_host(Story(), 30.0).history()
QUIET = on_a_host(Story(), 2.0).history()
LATE = Signature("late", ("write",))


def test_the_share_is_of_what_was_between_the_first_and_the_last_look() -> None:
    assert share(STARVED) == pytest.approx(0.75)
    assert share(QUIET) == pytest.approx(2 / 12)
    assert share(Story().history()) is None
    once = Story().at(1.0, "harness", "host_cpu", machine="target", ran=1.0, waited=9.0)
    assert share(once.history()) is None
    pair = on_a_host(on_a_host(Story(), 2.0), 40.0, "initiator")
    assert share(pair.history()) == pytest.approx(0.8)


def looked(story: Story, at: str, time: float, ran: float, waited: float) -> Story:
    """Record a guest's CPU times at one point of the scenario."""
    return story.at(time, "harness", "host_cpu", machine="target", at=at, ran=ran, waited=waited)


def test_who_starved_from_the_fault_on_did_so() -> None:
    story = looked(looked(Story(), "begin", 10.0, 100.0, 0.0), "fault", END - 2, 130.0, 0.0)
    assert share(story.history()) is None  # the times at the end are not known
    assert share(story.history(), "fault") is None
    looked(story, "end", END, 140.0, 30.0)
    assert share(story.history()) == pytest.approx(30 / 70)
    assert share(story.history(), "fault") == pytest.approx(0.75)
    found = doubted(failed(LATE), story.history())
    assert found.outcome is Outcome.UNKNOWN
    assert found.figures["host_cpu_wait"].value == pytest.approx(30 / 70)


def test_a_fault_that_fires_often_counts_from_the_first_time() -> None:
    story = looked(looked(Story(), "begin", 10.0, 0.0, 0.0), "fault", 12.0, 10.0, 1.0)
    looked(looked(story, "fault", 20.0, 90.0, 12.0), "end", END, 92.0, 15.0)
    assert share(story.history(), "fault") == pytest.approx(14 / 96)


def test_a_moment_tells_nothing() -> None:
    story = looked(looked(Story(), "begin", 10.0, 0.0, 0.0), "end", END, 0.2, 0.7)
    assert share(story.history()) is None
    fewer = looked(looked(Story(), "begin", 10.0, 50.0, 3.0), "end", END, 40.0, 9.0)
    assert share(fewer.history()) is None  # a thread of QEMU's has ended


@pytest.mark.parametrize(("anchors", "outcome"), [
    (("teardown",), Outcome.UNKNOWN), (("teardown", "scst_acg_del_lun"), Outcome.FAIL)])
def test_a_teardown_without_an_end_is_lateness_unless_somebody_waits_in_the_kernel(
    anchors: tuple[str, ...], outcome: Outcome,
) -> None:
    assert doubted(failed(Signature("endless", anchors)), STARVED).outcome is outcome


@pytest.mark.parametrize("signature", [
    LATE, Signature("stuck", ("fio", "submit_bio_wait")), Signature("hung task", ("f",)),
    Signature("error", ("raw initiator did not come up in N s: lost",)),
    Signature("error", ("after the recovery the reading back does not end",))])
def test_lateness_on_a_starved_host_is_unknown(signature: Signature) -> None:
    found = doubted(failed(signature), STARVED)
    assert (found.verdict, found.outcome) == (Verdict.UNKNOWN, Outcome.UNKNOWN)
    assert found.reason == ("deadline: the guest waited for the host's CPUs for 75% of its time: "
                            "too late")
    assert found.figures["host_cpu_wait"].value == pytest.approx(0.75)
    assert doubted(failed(signature), QUIET).outcome is Outcome.FAIL
    assert doubted(failed(signature), Story().history()).outcome is Outcome.FAIL


@pytest.mark.parametrize("signature", [
    Signature("spinning", ("scst_usr_cleanu",)), Signature("foreign"),
    Signature("NULL pointer dereference", ("f",)), Signature("unmet", ("it is kept",)),
    Signature("error", ("rmdir *: EBUSY",))])
def test_anything_but_lateness_is_the_targets_on_any_host(signature: Signature) -> None:
    assert doubted(failed(signature), STARVED).outcome is Outcome.FAIL
    assert doubted(failed(LATE, signature), STARVED).outcome is Outcome.FAIL


def test_a_fail_without_a_signature_stays() -> None:
    assert doubted(failed(), STARVED).outcome is Outcome.FAIL


def test_a_known_issue_stays_known_and_a_pass_a_pass() -> None:
    known = replace(failed(LATE), known=KnownIssue("hangs", "link"))
    assert doubted(known, STARVED).outcome is Outcome.KNOWN
    assert doubted(Judgement("it", (Check("machine", Verdict.PASS, ""),)),
                   STARVED).outcome is Outcome.PASS


def test_a_command_that_does_not_come_back_is_told_by_its_story() -> None:
    open_one = healthy().without("block", "complete", io=20).without("scsi", "done", tag=20)
    quiet, starved = (on_a_host(replace(open_one, events=list(open_one.events)), waited).history()
                      for waited in (1.0, 99.0))
    assert doubted(judge(quiet), quiet).outcome is Outcome.FAIL
    assert doubted(judge(starved), starved).outcome is Outcome.UNKNOWN


def test_half_is_too_much() -> None:
    assert doubted(failed(LATE), on_a_host(Story(), 10.0).history()).outcome is Outcome.UNKNOWN
    assert SHARE_MAX == 0.5


SESSION_LOST = Signature("session lost")
BY_HOST = Signature("outcome", ("WRITE(16)", "host TRANSPORT_DISRUPTED"))
EIO = Signature("unexpected error", ("read", "EIO"))


@pytest.mark.parametrize(("signatures", "outcome"), [
    ((SESSION_LOST, EIO), Outcome.UNKNOWN), ((BY_HOST, LATE), Outcome.UNKNOWN),
    ((EIO,), Outcome.FAIL),  # nothing shows that the initiator's timers ran out
    ((SESSION_LOST, Signature("foreign")), Outcome.FAIL),
    ((Signature("outcome", ("WRITE(16)", "GOOD")),), Outcome.FAIL)])
def test_what_the_initiators_timers_did_on_a_starved_host_is_unknown(
    signatures: tuple[Signature, ...], outcome: Outcome,
) -> None:
    assert doubted(failed(*signatures), on_a_host(Story(), 9.0).history()).outcome is outcome
    assert doubted(failed(*signatures), on_a_host(Story(), 6.0).history()).outcome is Outcome.FAIL
