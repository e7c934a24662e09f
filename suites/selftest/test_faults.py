# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults on a subject that records actions: which, in which order, how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import pytest

from inject.backend_orders import BackendOrder
from inject.catalogue import FAULTS, applicable, fault_by_name
from inject.fault import LIO_BACKSTORES, SCST_HANDLERS, Held, Needs
from inject.lun_remove import LunRemove
from inject.point import State
from inject.waiting import POLL
from results.errors import TargetFailedError, WrongUsageError
from suites.selftest.fakes import FakeSubject
from targets.catalogue import traits_of

DEADLINE = 5.0


@pytest.mark.parametrize(("name", "broken", "healed"), [
    ("release", ["release"], []),
    ("backend-close", ["close"], ["take_device_away"]),
    ("backend-kill", ["SIGKILL"], ["take_device_away"]),
    ("backend-term", ["SIGTERM"], ["take_device_away"]),
    ("backend-exit", ["exit", "wait"], ["take_device_away"]),
    ("backend-unregister", ["unregister", "close"], ["take_device_away"]),
    ("lun-remove", ["remove_lun begins", "release", "remove_lun ends"], ["take_device_away"]),
    ("lun-delete-while-device-goes", [
        "device-block begins", "release", "ends", "close", "lun-delete-second begins", "ends",
        "device-block healed"], ["take_device_away"]),
    ("lun-delete", ["lun-delete begins", "release", "ends"], ["take_device_away"]),
    ("lun-delete-add", ["lun-delete begins", "release", "ends"],
     ["lun-delete healed", "release"]),
    ("target-disable", ["target-disable begins", "ends"], ["target-disable healed", "release"]),
    ("cpu-offline+backend-kill", ["cpu-offline begins", "ends", "SIGKILL"],
     ["take_device_away", "cpu-offline healed"]),
    ("backend-kill+cpu-offline", ["SIGKILL", "cpu-offline begins", "ends"],
     ["take_device_away", "cpu-offline healed"]),
])
def test_what_each_fault_does_and_undoes(
    name: str, broken: list[str], healed: list[str],
) -> None:
    fault = fault_by_name(name)
    subject = FakeSubject(removal=wait_for if "release" in broken[:2] else lambda _: None)
    fault.fire(subject, DEADLINE)
    assert subject.done == broken
    fault.undo(subject, DEADLINE)
    assert subject.done == broken + healed


def test_pairs_need_what_both_need() -> None:
    starved = fault_by_name("backend-starved+lun-clear")
    assert starved.needs.met(traits_of("scst"), "scst_user", "iscsi")
    assert not starved.needs.met(traits_of("scst"), "vdisk_fileio", "iscsi")
    assert not starved.needs.met(traits_of("lio"), "tcmu", "iscsi")
    with pytest.raises(ValueError, match="nothing is one of"):
        LIO_BACKSTORES & SCST_HANDLERS
    with pytest.raises(ValueError, match="both in the kernel and in a process"):
        Needs(in_kernel=True) & Needs(in_kernel=False)


def test_what_has_ended_is_not_starved() -> None:
    assert "backend-kill+backend-starved" not in FAULTS
    assert "backend-starved+backend-kill" in FAULTS


def test_pairs_end_as_their_teardown_does() -> None:
    traits = traits_of("scst")
    for name in ("backend-kill", "lun-delete", "backend-close"):
        pair, teardown = fault_by_name(f"cpu-hog+{name}"), fault_by_name(name)
        assert (pair.held, pair.ends_device) == (teardown.held, True)
        mine, theirs = (fault.expected(State.EXEC, traits) for fault in (pair, teardown))
        assert (mine.outcomes, mine.grace) == (theirs.outcomes, theirs.grace)
        assert mine.teardown_grace > theirs.teardown_grace == 0.0


def test_a_stop_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    subject = FakeSubject()
    fault = fault_by_name("backend-stop")
    fault.fire(subject, DEADLINE)
    assert (subject.done, slept) == (["SIGSTOP"], [2.5])
    fault.undo(subject, DEADLINE)
    assert subject.done == ["SIGSTOP", "SIGCONT", "release"]
    killed = FakeSubject()
    fault_by_name("backend-stop-kill").fire(killed, DEADLINE)
    assert killed.done == ["SIGSTOP", "kill"]


def test_a_forked_copy_keeps_the_device() -> None:
    subject = FakeSubject(results={"fork": lambda: 77})
    fault_by_name("backend-fork").fire(subject, DEADLINE)
    assert subject.done == ["fork", "close", "end 77"]
    gone = FakeSubject(results={"fork": lambda: 77}, there=False)
    with pytest.raises(TargetFailedError, match="went while a forked copy had it open"):
        fault_by_name("backend-fork").fire(gone, DEADLINE)
    assert gone.done[-1] == "end 77"


def reply(done: bool, error: str | None = None) -> dict[str, object]:
    """Return a backend's result of an ioctl."""
    return {"done": done, "error": error} if done else {"done": done}


@pytest.mark.parametrize(("name", "replies", "wrong"), [
    ("backend-flush-cache", [reply(False), reply(True)], None),
    ("backend-flush-cache", [reply(True)], None),
    ("backend-flush-cache", [reply(False), reply(False)], "it does not end"),
    ("backend-set-options", [reply(False), reply(True, "EINVAL")], "the kernel refuses: EINVAL"),
    ("backend-capacity-changed", [reply(True)], None),
    ("backend-capacity-changed", [reply(False), reply(True)], None),
    ("backend-capacity-changed", [reply(False), reply(False)], "it does not end"),
])
def test_an_order_that_waits_or_does_not(
    name: str, replies: list[dict[str, object]], wrong: str | None
) -> None:
    fault = fault_by_name(name)
    waited = not replies[0]["done"]
    assert isinstance(fault, BackendOrder)
    subject = FakeSubject(results={fault.do: lambda **_: replies.pop(0)})
    if wrong is None:
        fault.fire(subject, DEADLINE)
        assert not replies
        assert ("release" in subject.done) is (fault.waits or waited)
        return
    with pytest.raises(TargetFailedError, match=wrong):
        fault.fire(subject, DEADLINE)


def answering(*errors: str | None) -> FakeSubject:
    """Return a subject whose kernel returns these errors for an answer."""
    return FakeSubject(results={"answer": lambda **_: [{"handle": 1, "errors": list(errors)}]})


def test_a_wrong_answer_is_judged_by_what_the_kernel_says() -> None:
    fault = fault_by_name("answer-exec-reply-type-invalid")
    subject = answering("EINVAL")
    fault.fire(subject, DEADLINE)
    assert "'fields': {'reply_type': 9}" in subject.done[0]
    fault.undo(subject, DEADLINE)
    assert subject.done[1:] == ["release"]
    for errors in ([None], ["EFAULT"], []):
        with pytest.raises(TargetFailedError, match="expected EINVAL"):
            fault.fire(answering(*errors), DEADLINE)


def test_answered_twice() -> None:
    fault = fault_by_name("answer-exec-twice")
    fault.fire(answering(None, "ESRCH"), DEADLINE)
    fault.fire(answering(None, "EINVAL"), DEADLINE)
    with pytest.raises(TargetFailedError, match="said yes, yes, expected yes, EINVAL or ESRCH"):
        fault.fire(answering(None, None), DEADLINE)


def test_answered_for_another() -> None:
    requested: list[tuple[int | None, int]] = []

    def answer(handle: int | None, as_handle: int, **_: object) -> list[dict[str, object]]:
        requested.append((handle, as_handle))
        held = handle or len(requested)
        return [{"handle": held, "errors": [None if handle else "ESRCH"]}]

    fault_by_name("answer-exec-for-another").fire(FakeSubject(results={"answer": answer}), DEADLINE)
    assert requested[2] == (1, 2)


def test_freed_in_the_background() -> None:
    comes_after = [3]
    error: list[str | None] = [None]

    def answer(handle: int | None, fields: Mapping[str, object], **_: object) -> object:
        if handle is None:
            assert fields == {"reply_type": "BACKGROUND"}
            return [{"handle": 7, "errors": [None]}]
        comes_after[0] -= 1
        if comes_after[0] > 0:
            raise TargetFailedError("ValueError: a reply to EXEC has no field result")
        return [{"handle": 7, "errors": error}]

    fault = fault_by_name("answer-on-free-in-background")
    subject = FakeSubject(results={"answer": answer})
    fault.fire(subject, DEADLINE)
    assert subject.done[0] == "hold ON_FREE_CMD"
    assert comes_after == [0]
    error[0] = "EINVAL"
    with pytest.raises(TargetFailedError, match="the kernel said yes, EINVAL"):
        fault.fire(subject, DEADLINE)
    comes_after[0] = 1000
    with pytest.raises(TargetFailedError, match="no ON_FREE_CMD came in 0"):
        fault.fire(subject, 0.1)


def test_what_faults_need() -> None:
    by_name = {fault.name for fault in applicable(traits_of("lio"), "tcmu", "loopback")}
    assert {"backend-kill", "lun-delete", "backstore-delete", "lie-twice"} <= by_name
    assert not by_name & {"backend-fork", "target-disable", "suspend", "answer-exec-twice"}
    vdisk = {fault.name for fault in applicable(traits_of("scst"), "vdisk_fileio", "iscsi")}
    assert {"device-delete", "suspend", "target-disable", "lun-delete"} <= vdisk
    assert not vdisk & {"backend-kill", "session-delete", "backstore-delete"}
    nbd = {fault.name for fault in applicable(traits_of("tgt"), "nbd", "iscsi")}
    assert {"backend-kill", "lun-delete", "daemon-kill", "lie-skip"} <= nbd
    assert not nbd & {"lie-twice", "target-disable", "backend-exit"}
    user = {fault.name for fault in applicable(traits_of("scst"), "scst_user", "loopback")}
    assert {"session-delete", "answer-parse-lba-negative", "backend-exit"} <= user
    assert not user & {"device-delete", "session-close", "threads"}


def test_every_fault_says_what_becomes_of_device_and_commands() -> None:
    for fault in FAULTS.values():
        assert fault.breaks or not fault.ends_device
        assert fault.held is not Held.LOST or fault.ends_device, fault.name


def test_the_control_alone_breaks_nothing() -> None:
    assert [name for name, fault in FAULTS.items() if not fault.breaks] == ["release"]
    assert all(name == fault.name for name, fault in FAULTS.items())


def test_an_unknown_fault() -> None:
    with pytest.raises(WrongUsageError, match="unknown fault 'earthquake': there are release, "):
        fault_by_name("earthquake")


def wait_for(released: threading.Event) -> None:
    """Wait for the backend's commands, as a removal does."""
    if not released.wait(DEADLINE):
        raise TargetFailedError("the LUN does not go")


def test_commands_are_released_only_once_the_removal_waits() -> None:
    subject = FakeSubject(waits_after=5, removal=wait_for)
    LunRemove().fire(subject, DEADLINE)
    assert subject.looks == 6
    assert subject.observations == [("lun-remove", False)]
    assert subject.done == ["remove_lun begins", "release", "remove_lun ends"]


def test_a_removal_that_never_waits_is_given_its_commands_at_the_deadline() -> None:
    subject = FakeSubject(waits_after=None, removal=wait_for)
    began = time.monotonic()
    LunRemove().fire(subject, 0.1)
    assert 0.1 <= time.monotonic() - began < DEADLINE
    assert subject.looks > 1
    assert subject.done == ["remove_lun begins", "release", "remove_lun ends"]


def test_a_removal_that_ends_at_once_is_not_waited_for() -> None:
    subject = FakeSubject(waits_after=None)
    began = time.monotonic()
    LunRemove().fire(subject, DEADLINE)
    assert time.monotonic() - began < DEADLINE - POLL
    assert subject.done == ["remove_lun begins", "remove_lun ends", "release"]
    assert subject.observations == [("lun-remove", True)]


def test_a_removal_that_fails_is_the_targets_failure() -> None:
    def fails(released: threading.Event) -> None:
        wait_for(released)
        raise TargetFailedError("rmdir: Device or resource busy")

    subject = FakeSubject(removal=fails)
    with pytest.raises(TargetFailedError, match="resource busy"):
        LunRemove().fire(subject, DEADLINE)
    assert subject.done == ["remove_lun begins", "release"]
