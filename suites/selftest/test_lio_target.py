# SPDX-License-Identifier: GPL-2.0-or-later
"""LIO's deployment on a machine modelled as a set of paths; any one step may fail or hang."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from results.errors import TargetFailedError, WrongUsageError
from results.history import Recorder
from results.ladder import Ladder
from targets.lio.configfs import HBA, TARGET
from targets.lio.target import Lio, LioDeployment
from targets.target import Device, Transport

LADDER = Ladder()


class FakeProcess:
    """A backend that is ready at once and answers every request."""

    pid = 1

    def __init__(self, emit: Callable[[Mapping[str, Any]], None] | None,
                 ended: Callable[[int], None] | None) -> None:
        self.status: int | None = None
        self._emit = emit or (lambda _: None)
        self._ended = ended or (lambda _: None)

    def send(self, message: Mapping[str, Any]) -> None:
        self._emit({"t": 0, "kind": "reply", "id": message["id"], "ok": True, "result": True})

    def signal(self, number: int) -> None:
        self.status = -number
        self._ended(-number)

    def wait(self, deadline: float) -> int:
        assert self.status is not None
        return self.status


class FakePending:
    """A call that has ended, or never ends."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome
        self.done = not isinstance(outcome, TimeoutError)

    def result(self, deadline: float) -> Any:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class FakeMachine:
    """Records the created paths. ``trouble``: index of the failing call, from 0, and its error."""

    lost: str | None = None

    release = "6.1.0-fake"
    address, interface = "127.0.0.1", "lo"

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.calls: list[str] = []
        self.spawned: list[FakeProcess] = []
        self.argv: list[list[str]] = []
        self.trouble: tuple[int, Exception] | None = None

    def now(self) -> float:
        return 0.0

    def exists(self, path: str) -> bool:
        return path in self.paths

    def spawn(self, name: str, *, module: str | None = None, argv: Any = (), on_message: Any = None,
              on_exit: Any = None) -> FakeProcess:
        process = FakeProcess(on_message, on_exit)
        self.spawned.append(process)
        self.argv.append(list(argv))
        if on_message is not None:
            on_message({"t": 0, "kind": "ready", "size": 1})
        return process

    def begin(self, verb: str, *args: str) -> FakePending:
        self.calls.append(" ".join([verb, *args]))
        if self.trouble is not None and len(self.calls) - 1 == self.trouble[0]:
            return FakePending(self.trouble[1])
        try:
            return FakePending(getattr(self, f"_{verb}")(*args))
        except OSError as error:
            return FakePending(error)

    def _mkdir(self, path: str) -> None:
        self.paths.add(path)

    def _symlink(self, _source: str, path: str) -> None:
        self.paths.add(path)

    def _rmdir(self, path: str) -> None:
        if any(other.startswith(f"{path}/") for other in self.paths):
            raise OSError(39, "Directory not empty")
        self._unlink(path)

    def _unlink(self, path: str) -> None:
        if path not in self.paths:
            raise FileNotFoundError(2, "No such file or directory")
        self.paths.remove(path)

    def _read(self, _path: str) -> str:
        return "3:0:1\n"

    def _write(self, path: str, _text: str) -> None:
        if not any(path.startswith(f"{known}/") for known in self.paths):
            raise FileNotFoundError(2, "No such file or directory")


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """Provide a recorder."""
    with Recorder(tmp_path / "history.jsonl") as made:
        yield made


def deploy(machine: Any, transport: Transport, recorder: Recorder) -> LioDeployment:
    """Deploy the default device."""
    made = Lio().deploy(machine, Device(), transport, LADDER, recorder)
    assert isinstance(made, LioDeployment)
    return made


@pytest.mark.parametrize("transport", list(Transport))
def test_what_is_deployed_is_removed(transport: Transport, recorder: Recorder) -> None:
    machine = FakeMachine()
    deployment = deploy(machine, transport, recorder)
    address = deployment.address
    assert (address.scsi_host == 3) == (transport is Transport.LOOPBACK)
    assert (address.iqn is None) == (transport is Transport.LOOPBACK)
    assert machine.argv[0][machine.argv[0].index("--serial") + 1] == address.serial
    deployment.remove()
    assert not machine.paths
    assert machine.spawned[0].status == -signal.SIGKILL
    assert len(machine.spawned) == 1


@pytest.mark.parametrize("transport", list(Transport))
def test_whatever_fails_nothing_stays(transport: Transport, recorder: Recorder) -> None:
    steps = FakeMachine()
    deploy(steps, transport, recorder)
    for number, call in enumerate(steps.calls):
        machine = FakeMachine()
        machine.trouble = number, OSError(22, "Invalid argument")
        with pytest.raises(TargetFailedError, match="Invalid argument") as caught:
            deploy(machine, transport, recorder)
        assert str(caught.value).startswith(call)
        assert not machine.paths, call
        assert all(process.status is not None for process in machine.spawned)


def test_a_late_step_is_named_and_the_rest_refused(recorder: Recorder) -> None:
    machine = FakeMachine()
    deployment = deploy(machine, Transport.ISCSI, recorder)
    machine.trouble = len(machine.calls), TimeoutError()
    with pytest.raises(TargetFailedError, match=r"^unlink .*lun_0/backstore: not ended"):
        deployment.take_device_away()
    assert deployment.export.link in machine.paths
    deployment.remove()  # the next attempt starts from the beginning
    assert not machine.paths


def test_removal_after_the_backend_has_gone_finds_a_substitute(recorder: Recorder) -> None:
    machine = FakeMachine()
    deployment = deploy(machine, Transport.LOOPBACK, recorder)
    deployment.backend.kill()
    deployment.remove()
    assert not machine.paths
    substitute = machine.argv[1]
    assert substitute[substitute.index("--reset-ring") + 1] == "2"
    assert machine.spawned[1].status == -signal.SIGKILL


def test_a_device_taken_away_can_be_removed_and_deployed_again(recorder: Recorder) -> None:
    machine = FakeMachine()
    deployment = deploy(machine, Transport.ISCSI, recorder)
    deployment.backend.kill()
    deployment.take_device_away()
    assert not machine.exists(f"{HBA}/stf0")
    deployment.remove()
    assert len(machine.spawned) == 1
    deploy(machine, Transport.ISCSI, recorder).remove()
    assert not machine.paths


def test_an_earlier_deployment_is_not_touched(recorder: Recorder) -> None:
    machine = FakeMachine()
    deploy(machine, Transport.ISCSI, recorder)
    before = set(machine.paths)
    with pytest.raises(TargetFailedError, match="there already"):
        deploy(machine, Transport.LOOPBACK, recorder)
    assert machine.paths == before
    assert all(path.startswith(TARGET) for path in before)


@pytest.mark.parametrize("options", [{"on_free_cmd_type": 1}, {"cmd_time_out": "soon"},
                                     {"cmd_time_out": -1}])
def test_options_that_cannot_be(options: dict[str, Any], recorder: Recorder) -> None:
    machine: Any = FakeMachine()
    with pytest.raises(WrongUsageError, match="cmd_time_out"):
        Lio().deploy(machine, Device(options=options), Transport.ISCSI, LADDER, recorder)
    with pytest.raises(WrongUsageError, match="the sessions that it has by default"):
        Lio().deploy(machine, Device(session={"HeaderDigest": "None"}), Transport.ISCSI, LADDER,
                     recorder)
    assert not machine.calls
