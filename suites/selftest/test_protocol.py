# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend as a witness: commands that come twice, and correct answers that are refused."""

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
        "1 of 61 commands came to the backend twice, first: handle 20 in EXEC (scst_user_spec")
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
        f"the kernel refused 1 correct answers, first: handle 15 with {error}")
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
