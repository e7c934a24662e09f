# SPDX-License-Identifier: GPL-2.0-or-later
"""The accelerator: KVM where it boots a guest, otherwise the reason for TCG."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fixtures.machine import accel
from fixtures.machine.accel import Accelerator, choose
from fixtures.machine.kernel import Kernel
from results.errors import WrongUsageError

FLAGS = "processor\t: 0\nflags\t\t: fpu vme {} sse2\nvmx flags\t: ept\n"


@dataclass
class Host:
    """A host with a /proc/cpuinfo and perhaps a /dev/kvm."""

    top: Path
    messages: list[str] = field(default_factory=list)
    probes: int = 0

    def choose(self, wanted: str = "auto") -> Accelerator:
        kernel = Kernel("x", "6.1", self.top / "bzImage", self.top, "here")
        return choose(wanted, kernel, self.messages.append,
                      cpuinfo=self.top / "cpuinfo", device=self.top / "kvm")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Provide a host that supports KVM; its probe fails the test unless a test replaces it."""
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/cache")
    (tmp_path / "cpuinfo").write_text(FLAGS.format("vmx"))
    (tmp_path / "kvm").touch()
    stage(monkeypatch, lambda kernel: pytest.fail("there is nothing to probe"))
    return Host(tmp_path)


def stage(monkeypatch: pytest.MonkeyPatch, probe: Callable[[Kernel], Any]) -> None:
    monkeypatch.setattr(accel, "probe", probe)


def counted(host: Host, monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    """Install a probe that counts its calls."""
    def probe(_: Kernel) -> str | None:
        host.probes += 1
        return answer

    stage(monkeypatch, probe)


def test_tcg_as_asked_for(host: Host) -> None:
    assert host.choose("tcg") == Accelerator("tcg", "--accel tcg")


def test_a_cpu_without_virtualization(host: Host) -> None:
    (host.top / "cpuinfo").write_text(FLAGS.format("hypervisor"))
    assert host.choose() == Accelerator("tcg", "the CPU shows neither vmx nor svm")


def test_a_cpuinfo_without_flags(host: Host) -> None:
    (host.top / "cpuinfo").write_text("processor : 0\n")
    assert host.choose().name == "tcg"


def test_no_device(host: Host) -> None:
    (host.top / "kvm").unlink()
    assert host.choose() == Accelerator("tcg", f"there is no {host.top}/kvm")


def test_no_access(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[Any] = []

    def access(path: Path, mode: int) -> bool:
        requested.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", access)
    assert host.choose().reason == f"{host.top}/kvm may not be opened by this user (group kvm)"
    assert requested == [(host.top / "kvm", os.R_OK | os.W_OK)]


@pytest.mark.parametrize("flag", ["vmx", "svm"])
def test_kvm_that_works_is_probed_once(
    host: Host, monkeypatch: pytest.MonkeyPatch, flag: str,
) -> None:
    (host.top / "cpuinfo").write_text(FLAGS.format(flag))
    counted(host, monkeypatch, None)
    for wanted in ("auto", "kvm", "auto"):
        assert host.choose(wanted) == Accelerator("kvm", f"a guest boots with {host.top}/kvm")
    assert host.probes == 1
    assert host.messages == ["probing whether KVM boots a guest"]


def test_kvm_that_hangs_is_not_tried_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(host, monkeypatch, "a guest under KVM printed nothing in 20 s")
    for _ in range(2):
        assert host.choose() == Accelerator("tcg", "a guest under KVM printed nothing in 20 s")
    assert host.probes == 1


def test_another_host_is_probed_anew(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(host, monkeypatch, None)
    host.choose()
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    host.choose()
    assert host.probes == 2


@pytest.mark.parametrize("text", ["", "{", "{}"])
def test_an_answer_that_was_cut_short_is_sought_again(
    host: Host, monkeypatch: pytest.MonkeyPatch, text: str,
) -> None:
    counted(host, monkeypatch, None)
    host.choose()
    (memory,) = (host.top / "cache/scsi-target-faults").iterdir()
    memory.write_text(text)
    assert host.choose().name == "kvm"
    assert host.probes == 2


def test_an_answer_that_cannot_be_kept(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.top / "cache").touch()
    counted(host, monkeypatch, None)
    assert host.choose().name == "kvm"


def test_kvm_that_was_asked_for_and_is_not_there(host: Host) -> None:
    (host.top / "kvm").unlink()
    with pytest.raises(WrongUsageError, match=f"^--accel kvm: there is no {host.top}/kvm$"):
        host.choose("kvm")


# --- the probe itself -----------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "seconds", "answer"), [
    ("echo; echo 'Linux version 6.1'; exec sleep 60", 10.0, None),
    ("echo 'Linux version 6.1'", 10.0, None),
    ("echo 'Could not access KVM' >&2; exit 1", 10.0, "QEMU refused KVM: Could not access KVM"),
    ("exec sleep 60", 0.2, "a guest under KVM printed nothing in 0.2 s"),
])
def test_the_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, seconds: float,
    answer: str | None,
) -> None:
    qemu = tmp_path / "qemu"
    qemu.write_text(f"#!/bin/sh\n{script}\n")
    qemu.chmod(0o755)
    monkeypatch.setattr(accel, "tool", lambda name: str(qemu) if "qemu" in name else name)
    monkeypatch.setattr(accel, "PROBE_SECONDS", seconds)
    kernel = Kernel("x", "6.1", tmp_path / "bzImage", tmp_path, "here")
    assert accel.probe(kernel) == answer
