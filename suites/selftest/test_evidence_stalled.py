# SPDX-License-Identifier: GPL-2.0-or-later
"""A stalled guest kept as files: the record, refusals, and QEMU's command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.machine.accel import Accelerator
from fixtures.machine.guest import GuestSpec, Kept
from fixtures.machine.image import Image
from fixtures.machine.kernel import Kernel
from fixtures.machine.link import Link
from fixtures.machine.stalled import DISK, FOLDER, MACHINE, MEMORY, kept_spec, recorded
from fixtures.stf.main import run
from results.store import write_json


@pytest.fixture
def spec(tmp_path: Path) -> GuestSpec:
    """Provide a guest with all its files."""
    modules = tmp_path / "kernel/lib/modules/6.1.0"
    modules.mkdir(parents=True)
    for name in ("bzImage", "root.ext4", "busybox"):
        (tmp_path / name).touch()
    return GuestSpec(
        Kernel("6.1", "6.1.0", tmp_path / "bzImage", modules, "test"),
        Image(tmp_path / "root.ext4", tmp_path / "busybox"), Accelerator("tcg", "test"), tmp_path)


@pytest.fixture
def scenario(tmp_path: Path, spec: GuestSpec) -> Path:
    """Provide the folder of a scenario with a kept guest."""
    folder = tmp_path / "scenario" / FOLDER
    folder.mkdir(parents=True)
    for name in (DISK, MEMORY):
        (folder / name).touch()
    write_json(folder / MACHINE, recorded(spec))
    return folder.parent


def test_what_was_kept_is_found_again(scenario: Path, spec: GuestSpec) -> None:
    kept = Kept(scenario / FOLDER / DISK, scenario / FOLDER / MEMORY)
    assert kept_spec(scenario) == replace(spec, kept=kept)
    assert kept_spec(scenario / FOLDER) == kept_spec(scenario)


def test_a_guest_with_a_card_has_one_again(scenario: Path, spec: GuestSpec) -> None:
    card = Link().cards[1]
    write_json(scenario / FOLDER / MACHINE, recorded(replace(spec, card=card)))
    found = kept_spec(scenario).card
    assert found is not None
    assert (found.number, found.address, found.hardware_address) == (
        2, card.address, card.hardware_address)
    assert found.end.fileno() >= 0


def test_nothing_was_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["shell", str(tmp_path)]) == 4
    assert "--keep-stalled" in capsys.readouterr().err


@pytest.mark.parametrize("gone", ["bzImage", "root.ext4", f"scenario/{FOLDER}/{MEMORY}"])
def test_what_it_stands_on_has_gone(
    tmp_path: Path, scenario: Path, gone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / gone).unlink()
    assert run(["drgn", str(scenario)]) == 4
    assert gone in capsys.readouterr().err
