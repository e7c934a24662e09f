# SPDX-License-Identifier: GPL-2.0-or-later
"""fileio_tgt, SCST's scst_user backend: the reference of the performance comparison."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from fixtures.initiator.disk import wait_for_disk
from inject.waiting import wait_until
from results.errors import TargetFailedError
from results.ladder import Ladder
from targets.machine import Machine
from targets.scst.driver import Layout, scst_local
from targets.scst.prefix import TREE
from targets.scst.sysfs import DEVICES
from targets.target import Address, Transport

PROGRAM = "usr/local/bin/scst/fileio_tgt"
"""Path of fileio_tgt in the tree that SCST's make install creates."""

VENDOR = "SCST_USR"
"""T10 VENDOR IDENTIFICATION in the INQUIRY data of fileio_tgt (usr/fileio/common.c)."""

BLOCK_SIZE = 512


@contextmanager
def deployed(machine: Machine, name: str, size: int, ladder: Ladder) -> Iterator[str]:
    """Serve a file in memory with fileio_tgt, exported by scst_local; provide the disk's name.

    ``size``: bytes. fileio_tgt runs with its defaults: parse standard, on_free ignore, mem_reuse
    all, and several commands per ioctl (see --help). Raises TargetFailedError.
    """
    medium = f"/dev/shm/stf-{name}"
    machine.run(["truncate", "-s", str(size), medium])
    with ExitStack() as undo:
        process = machine.spawn("fileio_tgt", argv=[
            f"{TREE}/{PROGRAM}", f"--block={BLOCK_SIZE}", name, medium])
        undo.callback(process.wait, ladder.step)
        undo.callback(process.signal, 9)
        if not wait_until(lambda: machine.exists(f"{DEVICES}/{name}"), ladder.step):
            raise TargetFailedError(f"fileio_tgt registered no device in {ladder.step:g} s")
        export = scst_local(machine, name, Layout({0: name}), undo, ladder.step)
        address = Address(Transport.LOOPBACK, 0, VENDOR, None, scsi_host=export.scsi_host)
        yield wait_for_disk(machine, int(export.scsi_host or 0), address, ladder.step).name
