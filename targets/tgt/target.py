# SPDX-License-Identifier: GPL-2.0-or-later
"""tgt, the SCSI target in user space, from Debian's package; set up by tgtadm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inject.contract import Backend
from results.errors import TargetFailedError, WrongUsageError
from results.history import Recorder
from results.ladder import Ladder
from targets import storage, system
from targets.backend.absent import NoBackend
from targets.backend.client import BackendProcess
from targets.machine import Machine
from targets.operation import Begun, Operations
from targets.target import DIGESTS, Address, Deployment, Device, Transport
from targets.tgt import admin, daemon, operations
from targets.tgt.export import LUN, VENDOR, Export
from targets.tgt.operations import OperationContext
from targets.tgt.traits import TRAITS

BACKEND = "targets.backend.block_guest"

NBD = "nbd"
NBD_DEVICE = "/dev/nbd0"
NBD_QUEUE = "/sys/block/nbd0/queue"
NBD_SETTINGS = {
    "scheduler": "none",
    "nomerges": "2",
    "max_sectors_kb": "1280",  # as in the initiator's disk: one request for a command
}

FILE = "file"
BLOCK = "block"

DIRECT = {"bsoflags": "direct"}
"""Without a cache: tgtd waits for I/O that the storage holds."""

BACKINGS: Mapping[str, Mapping[str, str]] = {NBD: DIRECT, FILE: {}, BLOCK: DIRECT}
"""Storage of the LUN, and the options with which tgtd opens it: a network block device served by
our backend; a file in memory without a server, where no command can be held; or a block device on
such a file (targets.storage)."""

BACKING_STORES = ("rdwr", "aio")
"""tgtd's own I/O methods (usr/bs_rdwr.c: 16 threads; usr/bs_aio.c)."""

OPTIONS: Mapping[str, Sequence[str]] = {"backing": tuple(BACKINGS), "bstype": BACKING_STORES}
"""The values of each option, the default first."""


def check(device: Device, transport: Transport) -> dict[str, str]:
    """Return a device's options with their defaults. Raises WrongUsageError for unknown ones."""
    if transport is not Transport.ISCSI:
        raise WrongUsageError("tgt is reached over iSCSI only: it has no loopback transport")
    if unknown := sorted(set(device.session) - set(DIGESTS)):
        raise WrongUsageError(f"tgt has no {unknown[0]} to set")
    if device.siblings or device.luns or device.group or device.targets != 1:
        raise WrongUsageError("tgt is deployed with one device, one LUN and one target only")
    if unknown := sorted(set(device.options) - set(OPTIONS)):
        raise WrongUsageError(
            f"tgt has no device option {', '.join(unknown)}; it has: {', '.join(OPTIONS)}")
    chosen = {name: str(device.options.get(name, values[0])) for name, values in OPTIONS.items()}
    for name, values in OPTIONS.items():
        if chosen[name] not in values:
            raise WrongUsageError(f"{name} is {' or '.join(values)}, not {chosen[name]!r}")
    return chosen


def serial_of(name: str) -> str:
    """Return a device's Unit Serial Number, the same for every deployment."""
    return f"stf-{name}"


def medium(device: Device) -> str:
    """Return the path of the file with a device's data; it outlives the deployment."""
    return f"/dev/shm/stf-{device.name}"


def backend_argv(device: Device) -> list[str]:
    """Return the arguments that start a device's backend."""
    return ["--device", NBD_DEVICE, "--medium", medium(device), "--size", str(device.size),
            "--block-size", str(device.block_size)]


class Tgt:
    """The tgt of the guest's image."""

    name = "tgt"
    traits = TRAITS
    tree = None
    slabs: tuple[str, ...] = ()
    modules = ("nbd",)
    programs = ("/usr/sbin/tgtd", "/usr/sbin/tgtadm")

    def __init__(self) -> None:
        self._version: str | None = None

    def check(self, release: str) -> None:
        """Accept every kernel: only the network block device is needed, and ``load`` loads that."""

    def describe(self) -> Mapping[str, Any]:
        """Return the version, once tgt has been loaded."""
        return {"name": self.name, "version": self._version or "the guest image's",
                "origin": "Debian's package", "backend": NBD}

    def load(self, machine: Machine) -> None:
        """Load the LUN's storage module, and start the daemon."""
        # No partitions: only tgtd may read the device.
        machine.run(["modprobe", NBD, "nbds_max=1", "max_part=0"])
        for name, value in NBD_SETTINGS.items():
            machine.write(f"{NBD_QUEUE}/{name}", value)
        self._version = machine.run(["tgtadm", "--version"]).stdout.strip()
        daemon.start(machine, Ladder().step)

    def deploy(
        self, machine: Machine, device: Device, transport: Transport, ladder: Ladder,
        recorder: Recorder,
    ) -> Deployment:
        """Deploy a device with its backend in the running daemon."""
        chosen = check(device, transport)
        backing = chosen["backing"]
        if admin.luns(machine, ladder.step):
            raise TargetFailedError("tgtd has a target already: an earlier deployment was not "
                                    "removed")
        options = {"bstype": chosen["bstype"], **BACKINGS[backing]}
        backend: Backend
        below: storage.Storage | None = None
        path = NBD_DEVICE if backing == NBD else medium(device)
        undo = ExitStack()
        with daemon.reporting_death(machine), undo:
            if backing == BLOCK:
                below = storage.make_storage(machine, device, medium(device), undo, ladder.step)
                path = below.path
                backend = NoBackend("the LUN is a block device's", below)
            elif backing == NBD:
                backend = BackendProcess(machine, f"tgt {device.name}", BACKEND,
                                         backend_argv(device), recorder)
                undo.callback(backend.end, ladder.step)
                backend.wait_ready(ladder.step)
            else:
                machine.run(["truncate", "-s", str(device.size), medium(device)])
                backend = NoBackend("the LUN is a file without a server")
            export = Export(machine, device.name, serial_of(device.name), path,
                            device.block_size, tuple(options.items()), ladder.step,
                            device.session)
            undo.callback(export.delete, ladder.step)
            export.add()
            undo = undo.pop_all()
        address = Address(transport, LUN, VENDOR, export.serial, export.portal, export.iqn,
                          size=device.size, block_size=device.block_size)
        return TgtDeployment(machine, backend, address, ladder, export, recorder, below, undo)

    def unload(self, machine: Machine, ladder: Ladder) -> None:
        """End the daemon, then unload the module."""
        daemon.stop(machine, ladder.step)
        machine.rmmod(*self.modules, deadline=ladder.step)


@dataclass(frozen=True)
class TgtDeployment:
    """One device, exported by the running daemon."""

    machine: Machine
    backend: Backend
    address: Address
    ladder: Ladder
    export: Export
    recorder: Recorder
    below: storage.Storage | None
    undo: ExitStack
    kernel_threads: tuple[str, ...] = ()

    @cached_property
    def _operations(self) -> Operations:
        context = OperationContext(self.machine, self.export, self.recorder)
        machine_context = system.OperationContext(self.machine, self.recorder, self.ladder.step,
                                                  self.backend,
                                                  (daemon.TGTD.name,))
        disk_faults = storage.operations(self.machine, self.recorder, self.below,
                                         self.ladder.step) \
            if self.below else {}
        return Operations({**operations.table(context), **system.table(machine_context),
                           **disk_faults})

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that can be begun on the deployment, by name."""
        return tuple(self._operations.table)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The only address."""
        return (self.address,)

    def begin(self, operation: str) -> Begun:
        """Begin an operation; a second one of the same name replaces the first in the table."""
        return self._operations.begin(operation)

    def heal(self, operation: str, deadline: float) -> None:
        """Undo an operation that was begun; do nothing if it was not."""
        self._operations.heal(operation, deadline)

    def views(self) -> Mapping[str, str | Sequence[str]]:
        """Return the daemon's log and state, and the block device's queue."""
        return {
            "tgt-log": [daemon.LOG],
            "tgt-nbd": ["/sys/block/nbd0/inflight", "/sys/block/nbd0/pid"],
            "tgt-target": admin.show(self.machine, daemon.ANSWER, "target")
            or "tgtd does not answer\n",
        }

    def present(self) -> bool:
        """Return whether the daemon has the LUN, which the kernel does not list."""
        return LUN in admin.luns(self.machine, self.ladder.step)

    def unfetched(self) -> int:
        """Return 0: the commands that wait for a thread of the daemon cannot be observed."""
        return 0

    def died(self) -> str:
        """Return a description of tgtd's unrequested end; "" if there was none."""
        return daemon.died(self.machine)

    def reachable(self) -> bool:
        """Return whether the target has the LUN.

        Raises TargetFailedError if the daemon died by itself.
        """
        if self.present():
            return True
        daemon.require_alive(self.machine)
        return False

    def end_process(self, pid: int) -> None:
        """Send SIGKILL to a process other than the backend's own."""
        self.machine.run(["kill", "-9", str(pid)], check=False)

    def remove_lun(self) -> None:
        """Delete the LUN; repeat the order while tgtd refuses it for active commands."""
        self.begin("lun-delete").finish(self.ladder.teardown)

    def removal_waits(self) -> bool:
        """Return whether the LUN's deletion has been refused."""
        running = self._operations.running.get("lun-delete")
        return running is not None and running.waits()

    def take_device_away(self) -> None:
        """Delete the LUN, so that the daemon closes its storage."""
        self.export.delete_lun(self.ladder.teardown)

    def remove(self) -> None:
        """Ensure that the daemon responds and no command is held, then delete the target.

        Raises TargetFailedError at the end if the daemon had died by itself.
        """
        if self.backend.serving(self.ladder.step):
            self.backend.release(self.ladder.step)
        else:
            self.backend.end(self.ladder.step)
        died = daemon.revive(self.machine, self.ladder.step)
        with daemon.reporting_death(self.machine):
            self.undo.close()
        if died:
            raise TargetFailedError(died)
