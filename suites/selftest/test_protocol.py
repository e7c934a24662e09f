# SPDX-License-Identifier: GPL-2.0-or-later
"""The checker of the kernel's interface with the backend: what comes twice, is refused, or breaks a
rule."""

from __future__ import annotations

import pytest

from results.judge import judge
from results.verdict import Signature, Verdict
from suites.selftest.stories import FIRED, Story, healthy


def step(story: Story, time: float, handle: int, action: str = "received", **other: object) -> None:
    """Add a step of a command in EXEC."""
    data = {"device": "stf0", "point": "EXEC", "opcode": 0x2A, "direction": "write", "lba": 0,
            "bytes": 4096, "pbuf": 0, **other}
    story.at(time, "backend", "step", action=action, handle=handle, **data)


def served() -> Story:
    """Return a healthy history with the steps of 60 commands, one each 0.1 s from 11.5 s on."""
    story = healthy()
    for handle in range(60):
        step(story, 11.5 + handle * 0.1, handle)
        step(story, 11.55 + handle * 0.1, handle, "answered", status=0)
    return story


def refused(story: Story, time: float, handle: int, error: str = "ESRCH") -> Story:
    """Add a refused answer."""
    return story.at(time, "backend", "refused", device="stf0", handle=handle, error=error)


def test_every_command_once() -> None:
    check = served().check("protocol")
    assert check.verdict is Verdict.PASS
    assert check.reason.startswith("60 commands came once each")
    assert not [each for each in judge(healthy().history()).checks if each.name == "protocol"]


def test_a_command_that_comes_twice() -> None:
    story = served()
    step(story, FIRED, 20)
    check = story.check("protocol")
    assert check.verdict is Verdict.FAIL
    assert check.reason.startswith(
        "handle 20 came to the backend twice in EXEC, allowed: once (scst_user_spec")
    assert check.signatures == [Signature("twice", ("EXEC",))]


@pytest.mark.parametrize("other", [
    {"point": "PARSE"}, {"device": "stf1"}])
def test_another_point_or_device_is_another_command(other: dict[str, str]) -> None:
    story = served()
    step(story, FIRED, 20, "received", **other)
    assert story.verdict("protocol") is Verdict.PASS


@pytest.mark.parametrize("kind", ["ready", "registered"])
def test_a_device_that_is_registered_again_counts_anew(kind: str) -> None:
    story = served().at(18.3, "backend", kind, device="stf0")
    step(story, 19.0, 20)
    assert story.verdict("protocol") is Verdict.PASS


@pytest.mark.parametrize("error", ["ESRCH", "EINVAL"])
def test_a_correct_answer_that_is_refused(error: str) -> None:
    check = refused(served(), 13.01, 15, error).check("protocol")
    assert check.verdict is Verdict.FAIL
    assert check.reason.startswith(
        f"the kernel refused a correct answer to handle 15 with {error}, allowed: accepted")
    assert check.signatures == [Signature("refused", (error,))]


def test_a_falsified_answer_may_be_refused() -> None:
    story = served().at(13.0, "backend", "misanswered", device="stf0", point="EXEC", handle=15,
                        as_handle=16, fields={}, errors=["ESRCH"])
    assert refused(refused(story, 13.01, 15), 13.02, 16).verdict("protocol") is Verdict.PASS


@pytest.mark.parametrize(("until", "verdict"), [(13.2, Verdict.FAIL), (14.2, Verdict.PASS)])
def test_a_stopped_backend_repeats_its_answers(until: float, verdict: Verdict) -> None:
    story = served()
    story.events = [event for event in story.events
                    if event.source != "backend" or not 12.9 < event.time < until]
    assert refused(story, until, 13).verdict("protocol") is verdict


def test_the_end_of_the_descriptor_is_no_refusal() -> None:
    assert refused(served(), 15.0, -1, "ENODEV").verdict("protocol") is Verdict.PASS


def test_a_remap_comes_once_for_each_segment() -> None:
    story = served()
    step(story, 13.0, 20, point="EXT_COPY_REMAP")
    step(story, 13.1, 20, point="EXT_COPY_REMAP")
    assert story.verdict("protocol") is Verdict.PASS


@pytest.mark.parametrize(("error", "count", "verdict"), [
    ("ENOMEM", 3, Verdict.PASS), ("ENOMEM", 0, Verdict.FAIL), ("EINVAL", 3, Verdict.FAIL)])
def test_an_answer_may_be_refused_for_want_of_memory(
    error: str, count: int, verdict: Verdict,
) -> None:
    story = refused(served(), 13.01, 15, error).at(
        18.0, "fault", "injected", operation="slab", count=count)
    assert story.verdict("protocol") is verdict


# a backend that compares messages


def watching() -> Story:
    """Return a healthy history of a backend that compares the kernel's messages."""
    story = served().at(11.0, "backend", "ready", device="stf0", witness=True)
    for time, entries in ((11.1, 1), (11.9, 10), (17.5, 77)):
        story.at(time, "backend", "watched", device="stf0", entries=entries)
    return story


def breach(story: Story, time: float, rule: str = "buffer-in-use", **other: object) -> Story:
    """Add a breach of the kernel's."""
    return story.at(time, "backend", "breach", **{
        "device": "stf0", "rule": rule, "handle": 20, "point": "EXEC",
        "seen": "pbuf 0x7000, the buffer of command 19", "allowed": "a buffer of its own",
        "document": "scst_user_spec, scst_user.h", "provoked": False, **other})


def test_the_messages_that_were_compared() -> None:
    story = watching().at(18.2, "backend", "registered", device="stf0").at(
        18.3, "backend", "watched", device="stf0", entries=10)
    check = story.check("protocol")
    assert (check.verdict, check.figures["messages_compared"].value) == (Verdict.PASS, 87)
    assert check.reason.endswith(
        "; 87 messages of the kernel or more were compared with the interface")


def test_a_breach() -> None:
    check = breach(watching(), FIRED + 1).check("protocol")
    assert check.verdict is Verdict.FAIL
    assert check.reason == (
        "the kernel broke the rule buffer-in-use in EXEC of handle 20: pbuf 0x7000, the buffer of "
        "command 19, allowed: a buffer of its own (scst_user_spec, scst_user.h)")
    assert check.signatures == [Signature("breach", ("buffer-in-use", "EXEC"))]
    assert check.figures["protocol_detected_after"].value == pytest.approx(1.0)


def test_a_breach_of_no_command() -> None:
    check = breach(watching(), FIRED, "ring-head", handle=None, point="mailbox").check("protocol")
    assert check.reason.startswith("the kernel broke the rule ring-head in mailbox: pbuf")
    check = breach(watching(), FIRED, point="").check("protocol")
    assert check.reason.startswith("the kernel broke the rule buffer-in-use in handle 20: pbuf")
    check = breach(watching(), FIRED, handle=None, point="").check("protocol")
    assert check.reason.startswith("the kernel broke the rule buffer-in-use: pbuf")


def test_many_breaches() -> None:
    story = watching()
    for number in range(20):
        breach(story, 13.0 + number / 100, "order" if number else "handle-twice")
    story.at(14.0, "backend", "breaches", device="stf0", rules={"order": 30, "handle-twice": 10})
    check = story.check("protocol")
    assert check.reason.startswith("the kernel broke the rule handle-twice in EXEC")
    assert check.reason.endswith(", 40 breaches among 60 commands")
    assert [each.anchors[0] for each in check.signatures] == ["handle-twice", "order"]
    assert len(check.evidence) == 20


def test_a_command_that_comes_twice_is_counted_once() -> None:
    story = watching()
    step(story, FIRED, 20)
    check = breach(story, FIRED, "handle-twice").check("protocol")
    assert check.signatures == [Signature("breach", ("handle-twice", "EXEC"))]
    assert "breaches among" not in check.reason


def test_a_provoked_breach() -> None:
    assert breach(watching(), 13.0, provoked=True).verdict("protocol") is Verdict.PASS


@pytest.mark.parametrize(("continued", "verdict"), [
    (13.9, Verdict.PASS), (15.1, Verdict.FAIL), (None, Verdict.FAIL)])
def test_a_backend_that_reports_its_continuation(
    continued: float | None, verdict: Verdict,
) -> None:
    """A silence of more than a second is not taken for a stop any more."""
    story = watching()
    story.events = [event for event in story.events
                    if event.source != "backend" or not 12.0 < event.time < 14.0]
    if continued is not None:
        story.at(continued, "backend", "continued", signal="SIGCONT")
    assert refused(story, 14.0, 13).verdict("protocol") is verdict


def test_a_command_whose_answer_was_repeated_may_be_refused_later() -> None:
    story = watching().at(13.0, "backend", "continued", signal="SIGCONT")
    refused(refused(story, 13.1, 15, "EINVAL"), 17.0, 15, "ESRCH")
    assert story.verdict("protocol") is Verdict.PASS
    assert refused(story, 17.0, 16, "ESRCH").verdict("protocol") is Verdict.FAIL


def test_a_witness_that_saw_nothing() -> None:
    story = healthy().at(11.0, "backend", "ready", device="stf0", witness=True)
    check = story.check("protocol")
    assert check.verdict is Verdict.UNKNOWN
    assert check.reason.endswith("I/Os were carried out, and the backend received no command")
    story.without("block", "complete")
    assert not [each for each in judge(story.history()).checks if each.name == "protocol"]
    story.at(11.1, "backend", "watched", device="stf0", entries=1)
    assert story.verdict("protocol") is Verdict.PASS
