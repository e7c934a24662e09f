# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest ends after any error of its monitor; a disk is ready when the block layer is done."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fixtures.initiator import disk
from fixtures.machine.guest import Guest
from results.errors import TargetFailedError
from targets.target import Address, Transport


class Ended:
    """A resource of a guest: records its close. ``words``: exception that closing raises."""

    def __init__(self, words: type[Exception] | None = None) -> None:
        self.closed = False
        self._words = words

    def close(self) -> None:
        self.closed = True
        if self._words is not None:
            raise self._words


@pytest.mark.parametrize("words", [None, EOFError, OSError])
def test_a_guest_stops_however_its_monitor_ends(
    words: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed QEMU ends its monitor's output in the middle of a message (EOFError)."""
    guest: Any = Guest.__new__(Guest)
    guest.connection, guest._second_monitor, guest._monitor = Ended(), Ended(), Ended(words)
    guest._alarm = threading.Thread(target=lambda: None)
    guest._alarm.start()
    killed: list[bool] = []
    monkeypatch.setattr(Guest, "_kill", lambda self: killed.append(True))
    guest.stop()
    assert killed and guest.connection.closed and guest._monitor.closed


class Sysfs:
    """A machine with one disk whose sysfs files are partly missing."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing

    def listdir(self, path: str) -> list[str]:
        return {"/sys/class/scsi_disk": ["0:0:1:0"]}.get(path, ["sda"])

    def read(self, path: str) -> str:
        return {"dev": "8:0", "size": "32768", "vendor": "STF", "logical_block_size": "512",
                "vpd_pg80": "\0\x80\0\x04serial"}[path.rpartition("/")[2]]

    def exists(self, path: str) -> bool:
        return path not in self.missing


@pytest.mark.parametrize("missing", ["/dev/sda", "/sys/block/sda/queue/nomerges"])
def test_a_disk_that_is_still_being_set_up_is_none_yet(missing: str) -> None:
    """Between sd's probe and the end of device_add_disk() the disk has a name but no queue."""
    address = Address(Transport.LOOPBACK, 0, "STF", "serial", scsi_host=0)
    ready: Any = Sysfs()
    assert disk.wait_for_disk(ready, 0, address, 0.1).name == "sda"
    early: Any = Sysfs(missing)
    with pytest.raises(TargetFailedError, match="did not become a disk"):
        disk.wait_for_disk(early, 0, address, 0.1)


@pytest.mark.parametrize(("size", "block_size", "reason"), [
    (16 << 20, 512, ""), (None, None, ""),
    ((16 << 20) - 512, 512, "sda has 16777216 bytes by READ CAPACITY, deployed were 16776704"),
    (16 << 20, 4096, "sda has 512 bytes per logical block by READ CAPACITY, deployed were 4096")])
def test_a_disk_of_another_capacity_is_the_targets_failure(
    size: int | None, block_size: int | None, reason: str,
) -> None:
    address = Address(Transport.LOOPBACK, 0, "STF", "serial", scsi_host=0, size=size,
                      block_size=block_size)
    sysfs: Any = Sysfs()
    if not reason:
        assert disk.wait_for_disk(sysfs, 0, address, 0.1).size == 16 << 20
        return
    with pytest.raises(TargetFailedError, match=reason):
        disk.wait_for_disk(sysfs, 0, address, 0.1)
