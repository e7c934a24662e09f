# SPDX-License-Identifier: GPL-2.0-or-later
"""tgt's deployment on a machine whose tgtd is modelled as a set; any one request fails."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fixtures.plugin.run_session import KNOWN_ISSUES
from fixtures.scenario import Selection
from results import known_issues
from results.errors import TargetFailedError, WrongUsageError
from results.history import Recorder
from results.kernel_log.titles import normalised
from results.ladder import Ladder
from results.verdict import Signature
from suites.selftest.test_lio_target import FakePending, FakeProcess
from suites.smoke import test_smoke
from targets.catalogue import traits_of
from targets.machine import Completed
from targets.target import Device, Transport
from targets.tgt import admin, daemon
from targets.tgt.target import Tgt, TgtDeployment

PORTAL = "127.0.0.1:3260"

LADDER = Ladder(step=0.3, teardown=0.3)


class Tgtd:
    """A machine with a tgtd.

    ``active``: number of requests that still find a command active (None: all). ``fails``: index of
    the refused request, from 0. ``dies_of``: a request that ends tgtd, with status ``dies_with``.
    ``things``: the created objects.
    """

    release = "6.1.0-fake"
    address, interface = "127.0.0.1", "lo"

    def __init__(self) -> None:
        self.things: set[str] = set()
        self.connected = True
        self.active: int | None = 0
        self.alive = True
        self.deaf = False
        self.fails: int | None = None
        self.orders: list[str] = []
        self.spawned: list[FakeProcess] = []
        self.dies_of, self.dies_with = "", 128 + signal.SIGABRT
        self.clock = 0.0
        self.files: dict[str, str] = {}

    def now(self) -> float:
        self.clock += 0.01
        return self.clock

    def exists(self, path: str) -> bool:
        return (path in (daemon.PID_FILE, *self.files)
                or (path == "/proc/7" and self.alive))

    def read(self, path: str) -> str:
        return self.files.get(path, "7\n")

    def write(self, path: str, text: str) -> None:
        self.files[path] = text

    def spawn(self, name: str, *, module: str | None = None, argv: Any = (), on_message: Any = None,
              on_exit: Any = None) -> FakeProcess:
        if name == "tgtd":
            self.alive, self.deaf, self.things, self.files = True, False, set(), {}
        process = FakeProcess(on_message, on_exit)
        self.spawned.append(process)
        if on_message is not None:
            on_message({"t": 0, "kind": "ready", "size": 1})
        return process

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        words = " ".join(argv)
        status, out = 0, ""
        if argv[0] == "kill":
            self.deaf = argv[1] == "-STOP"
            if argv[1] == "-KILL":
                self.die(9)
        elif argv[0] == "timeout":
            status = 0 if self.alive and not self.deaf else 124
            if "--mode target" in words and "target" in self.things:
                out = "Target 1: iqn\n        LUN: 0\n" + "        LUN: 1\n" * (
                    "logicalunit" in self.things)
            elif "--mode conn" in words and self.connected:
                out = "Session: 3\n    Connection: 0\n"
            elif "--mode portal" in words and "portal" in self.things:
                out = f"Portal: {PORTAL},1\n"
        return Completed(tuple(argv), status, out, "")

    def die(self, signal_number: int) -> None:
        """End the daemon by a signal; write the exit status as its shell does."""
        self.alive = False
        self.files[daemon.EXIT_FILE] = f"{128 + signal_number}\n"

    def begin(self, verb: str, argv: list[str]) -> FakePending:
        assert (verb, argv[:4]) == ("run", ["tgtadm", "--lld", "iscsi", "--op"])
        op, mode = argv[4], argv[6]
        self.orders.append(f"{op} {mode}")
        if self.orders[-1] == self.dies_of:
            self.die(self.dies_with - 128)
        refusal = self._refusal(op, mode, "--force" in argv) if self.alive else \
            "failed to send request hdr to tgt daemon, Connection refused"
        if not refusal and op == "new":
            self.things.add(mode)
        elif not refusal and op == "delete" and mode != "conn":
            self.things -= {"target", "logicalunit"} if mode == "target" else {mode}
        return FakePending({"status": 22 if refusal else 0, "stdout": "",
                            "stderr": refusal and f"tgtadm: {refusal}\n"})

    def _refusal(self, op: str, mode: str, force: bool) -> str:
        if self.fails is not None and len(self.orders) - 1 == self.fails:
            return "out of memory"
        if op != "delete" or mode not in ("logicalunit", "target"):
            return admin.INVALID if (op, mode) == ("delete", "sys") and self.things else ""
        if mode not in self.things:
            return admin.NO_LUN if mode == "logicalunit" else admin.NO_TARGET
        if mode == "target" and self.connected and not force:
            return admin.TARGET_ACTIVE
        if self.active is None or self.active > 0:
            self.active = None if self.active is None else self.active - 1
            return admin.LUN_ACTIVE
        return ""


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """Provide a recorder."""
    with Recorder(tmp_path / "history.jsonl") as made:
        yield made


def deploy(machine: Any, recorder: Recorder, device: Device | None = None) -> TgtDeployment:
    """Deploy a device, by default the default one."""
    made = Tgt().deploy(machine, device or Device(), Transport.ISCSI, LADDER, recorder)
    assert isinstance(made, TgtDeployment)
    return made


def test_what_is_deployed_is_removed(recorder: Recorder) -> None:
    machine = Tgtd()
    deployment = deploy(machine, recorder)
    assert deployment.present() and deployment.reachable()
    assert deployment.address.lun == 1
    assert deployment.address.portal == PORTAL
    deployment.remove()
    assert not machine.things
    assert machine.spawned[0].status == -signal.SIGKILL
    deploy(machine, recorder).remove()


def test_what_is_set_of_a_session(recorder: Recorder) -> None:
    machine = Tgtd()
    deploy(machine, recorder, Device(session={"DataDigest": "CRC32C,None"}))
    assert machine.orders[:2] == ["new target", "update target"]


def test_whatever_fails_nothing_stays(recorder: Recorder) -> None:
    steps = Tgtd()
    deploy(steps, recorder)
    for number, words in enumerate(steps.orders):
        machine = Tgtd()
        machine.fails = number
        with pytest.raises(TargetFailedError, match="out of memory"):
            deploy(machine, recorder)
        assert not machine.things, words
        assert all(process.status is not None for process in machine.spawned)


def test_an_earlier_deployment_is_not_touched(recorder: Recorder) -> None:
    machine = Tgtd()
    deploy(machine, recorder)
    before = set(machine.things)
    with pytest.raises(TargetFailedError, match="a target already"):
        deploy(machine, recorder)
    assert machine.things == before


def test_a_lun_that_is_active_is_asked_for_again(recorder: Recorder) -> None:
    machine = Tgtd()
    deployment = deploy(machine, recorder)
    machine.active = None
    running = deployment.begin("lun-delete")
    assert machine.orders[-3:] == ["unbind target", "delete conn", "delete logicalunit"]
    assert not running.done and deployment.removal_waits()
    with pytest.raises(TargetFailedError, match=r"not ended after 0\.3 s, refused \d+ times"):
        running.finish(0.3)
    machine.active = 3
    deployment.remove_lun()
    assert not deployment.reachable()
    deployment.take_device_away()  # already removed
    deployment.remove()


def test_an_order_that_several_look_at_is_given_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Sequence[str]] = []

    class Slow(FakePending):
        def result(self, deadline: float) -> Any:
            time.sleep(0.05)  # other threads see ``done`` meanwhile
            return super().result(deadline)

    def begin(_verb: str, argv: Sequence[str]) -> FakePending:
        begun.append(argv)
        refused = len(begun) == 1
        return Slow({"status": 22 if refused else 0, "stdout": "",
                     "stderr": admin.LUN_ACTIVE if refused else ""})

    machine: Any = Tgtd()
    monkeypatch.setattr(machine, "begin", begin)
    given = admin.Given(machine, ["tgtadm"], insists=admin.LUN_ACTIVE)
    with ThreadPoolExecutor(4) as lookers:
        list(lookers.map(lambda _: given.waits(), range(4)))
    given.finish(LADDER.step)
    assert (len(begun), given.refusals) == (2, 1)


@pytest.mark.parametrize(("operation", "active", "connected", "wrong"), [
    ("lun-delete-in-use", None, True, None),
    ("lun-delete-in-use", 0, True, "it was not refused"),
    ("target-delete-in-use", 0, True, None),
    ("target-delete-in-use", 0, False, "it was not refused"),
    ("target-delete-in-use", None, False, admin.LUN_ACTIVE),
    ("target-delete-force-in-use", None, True, None),
    ("target-delete-force-in-use", 0, True, "it was not refused"),
    ("daemon-delete", 0, True, None),
    ("connection-delete", None, True, None),
    ("connection-delete", None, False, "the target has no connection"),
])
def test_refusals(
    operation: str, active: int | None, connected: bool, wrong: str | None, recorder: Recorder,
) -> None:
    machine = Tgtd()
    deployment = deploy(machine, recorder)
    machine.active, machine.connected = active, connected
    if wrong is None:
        deployment.begin(operation).finish(0.3)
        deployment.heal(operation, 0.3)
        return
    with pytest.raises(TargetFailedError, match=wrong):
        deployment.begin(operation).finish(0.3)


def test_the_daemon_is_killed_and_comes_back_with_its_target(recorder: Recorder) -> None:
    machine = Tgtd()
    deployment = deploy(machine, recorder)
    made = set(machine.things)
    running = deployment.begin("daemon-kill")
    running.finish(0.3)
    assert not machine.alive
    deployment.heal("daemon-kill", 0.3)
    assert machine.alive and machine.things == made


@pytest.mark.parametrize("state", ["dead", "stopped", "responding"])
def test_removal_whatever_the_daemon_is_doing(state: str, recorder: Recorder) -> None:
    machine = Tgtd()
    deployment = deploy(machine, recorder)
    if state == "dead":
        daemon.TGTD.send(machine, "KILL")  # type: ignore[arg-type]
    machine.deaf = state == "stopped"
    deployment.remove()
    assert machine.alive and not machine.things


def test_a_daemon_that_died_by_itself_is_replaced_and_told_of(recorder: Recorder) -> None:
    machine = Tgtd()
    deployment = deploy(machine, recorder)
    machine.files[daemon.LOG] = "tgtd: this and that\ndouble free or corruption\n"
    machine.die(signal.SIGABRT)
    words = "tgtd died by itself: SIGABRT; the last in its log: double free or corruption"
    with pytest.raises(TargetFailedError, match=words):
        deployment.reachable()
    with pytest.raises(TargetFailedError, match=words):
        deployment.remove()
    assert machine.alive and not machine.things
    deploy(machine, recorder).remove()


@pytest.mark.parametrize("status", [128 + signal.SIGABRT, 255])
def test_a_daemon_that_dies_of_an_order_is_told_of(status: int, recorder: Recorder) -> None:
    """The error starts with the daemon's end: a signature is cut after 120 characters.

    exit(-1) is status 255.
    """
    machine = Tgtd()
    deployment = deploy(machine, recorder)
    machine.dies_of, machine.dies_with = "delete target", status
    machine.files[daemon.LOG] = "tgtd: iscsi_target_destroy(412) bug still have sessions 1\n"
    with pytest.raises(TargetFailedError) as raised:
        deployment.remove()
    signature = normalised(f"TargetFailedError: {raised.value}")
    [issue] = [each for each in known_issues.load(KNOWN_ISSUES)
               if each.id == "tgt-functions-forgotten-exit"]
    assert any(pattern.matches("recovery", Signature.of("redeploy error", signature))
               for pattern in issue.signature)


def test_a_daemon_that_was_killed_did_not_die_by_itself(recorder: Recorder) -> None:
    machine = Tgtd()
    deployment = deploy(machine, recorder)
    deployment.begin("daemon-kill").finish(0.3)
    assert not daemon.died(machine)  # type: ignore[arg-type]
    deployment.remove()
    assert machine.alive and not machine.things


def test_a_file_needs_nobody(recorder: Recorder) -> None:
    machine = Tgtd()
    deployment = deploy(machine, recorder, Device(options={"backing": "file"}))
    assert not machine.spawned
    with pytest.raises(WrongUsageError, match="a file without a server: it cannot hold"):
        deployment.backend.hold("EXEC", 4, deadline=1)
    deployment.remove()
    assert not machine.things


@pytest.mark.parametrize(("device", "transport", "words"), [
    (Device(), Transport.LOOPBACK, "over iSCSI only"),
    (Device(options={"cmd_time_out": 3}), Transport.ISCSI, "no device option cmd_time_out"),
    (Device(options={"bstype": "tape"}), Transport.ISCSI, "bstype is rdwr or aio, not 'tape'"),
    (Device(luns=(3,)), Transport.ISCSI, "one LUN"),
    (Device(session={"RspTimeout": 4}), Transport.ISCSI, "tgt has no RspTimeout to set"),
])
def test_what_cannot_be(
    device: Device, transport: Transport, words: str, recorder: Recorder,
) -> None:
    machine: Any = Tgtd()
    with pytest.raises(WrongUsageError, match=words):
        Tgt().deploy(machine, device, transport, LADDER, recorder)
    assert not machine.orders


def test_transports() -> None:
    assert traits_of("tgt").transports == (Transport.ISCSI,)
    assert traits_of("lio").transports == tuple(Transport)
    plans = test_smoke.plans(Selection(traits_of("tgt")))
    assert {plan.arrangement.transport for plan in plans} == {Transport.ISCSI}
