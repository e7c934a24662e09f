# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's events that give a guest up: a panic, and an agent's port that stays closed."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fixtures.machine import alarm
from fixtures.machine.alarm import Alarm

SOON = 5.0
GREETING = {"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""},
                    "capabilities": ["oob"]}}


class Qemu:
    """QEMU's end of a monitor (docs/interop/qmp-spec.txt), and the guest that is watched."""

    def __init__(self) -> None:
        self.restores = 0
        self.panicked = threading.Event()
        self.given_up: list[str] = []
        self.changed = threading.Event()
        ours, theirs = socket.socketpair()
        ours.settimeout(SOON)
        self._socket = ours
        self.alarm = Alarm(theirs, self)
        self._write(GREETING)
        assert b"qmp_capabilities" in ours.recv(1 << 12)  # the client ends no message with a line
        self._write({"return": {}})

    def _write(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\r\n")

    def event(self, name: str, **data: object) -> None:
        """Emit an event."""
        self._write({"event": name, "data": data,
                     "timestamp": {"seconds": 1, "microseconds": 0}})

    def port(self, *, opened: bool) -> None:
        """Emit a change of the agent's port."""
        self.event(alarm.PORT_CHANGED, id="agent", open=opened)

    def panics(self) -> None:
        """Note the panic."""
        self.panicked.set()

    def give_up(self, why: str) -> None:
        """Note the reason."""
        self.given_up.append(why)
        self.changed.set()

    def exit(self) -> None:
        """Close the monitor, as QEMU's exit does, and wait for the alarm's end."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self.alarm.join()


@pytest.fixture
def qemu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Qemu]:
    """Provide a monitor whose alarm waits for a fraction of a second only."""
    monkeypatch.setattr(alarm, "REPORT", 0.1)
    monkeypatch.setattr(alarm, "CLOSED", 0.2)
    qemu = Qemu()
    yield qemu
    qemu.exit()


def test_a_panic_gives_the_guest_up(qemu: Qemu) -> None:
    qemu.port(opened=True)
    qemu.event(alarm.PANICKED, action="run")
    assert qemu.panicked.wait(SOON)
    assert qemu.changed.wait(SOON)
    assert qemu.given_up == ["its kernel panicked, pvpanic reports"]


def test_a_port_that_stays_closed_is_a_dead_agent(qemu: Qemu) -> None:
    qemu.port(opened=True)
    qemu.port(opened=False)
    assert qemu.changed.wait(SOON)
    assert qemu.given_up == ["its agent has died: the port was closed"]


def test_a_restore_closes_the_port_and_opens_it_again(qemu: Qemu) -> None:
    """As loadvm does: none of it is the agent's death."""
    qemu.restores = 1
    qemu.port(opened=False)
    time.sleep(0.3)
    qemu.restores = 2
    qemu.port(opened=True)
    qemu.port(opened=False)
    qemu.port(opened=True)
    assert not qemu.changed.wait(0.5)


def test_a_panic_of_before_a_restore_is_over(qemu: Qemu) -> None:
    qemu.event(alarm.PANICKED, action="run")
    assert qemu.panicked.wait(SOON)
    qemu.restores = 2
    assert not qemu.changed.wait(0.5)


def test_events_of_other_kinds_do_nothing(qemu: Qemu) -> None:
    qemu.event("STOP")
    qemu.event("RESUME")
    assert not qemu.changed.wait(0.3)
    assert not qemu.panicked.is_set()
