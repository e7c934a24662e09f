# SPDX-License-Identifier: GPL-2.0-or-later
"""LIO, the kernel's own SCSI target, with a TCMU backstore or a block device.

It is set up directly through configfs.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inject.contract import Backend
from results.errors import MachineLostError, TargetFailedError, WrongUsageError
from results.history import Recorder
from results.ladder import Ladder
from targets import storage, system
from targets.backend.absent import NoBackend
from targets.backend.client import BackendProcess
from targets.backend.disk import MAX_TRANSFER
from targets.lio import operations
from targets.lio.configfs import BLOCK_HBA, CONFIGFS, HBA, TARGET, Configfs
from targets.lio.fabric import FABRICS, Export
from targets.lio.operations import OperationContext
from targets.lio.traits import TRAITS
from targets.machine import Machine, Process
from targets.operation import Begun, Operations
from targets.target import Address, Deployment, Device, Transport

VENDOR = "STF"
PRODUCT = "TCMU RAM disk"
BACKEND = "targets.lio.tcmu_guest"
DEV_CONFIG = "stf"
"""The last part of the uio device's name, after the backstore's."""

DATA_AREA_MB = 32
"""Room for 32 commands of MAX_TRANSFER; TCMU's default is 1 GiB (DATA_AREA_PAGES_DEF)."""

CMD_RING_MB = 1
"""Room for thousands of commands; TCMU's default is 8 MiB of kernel memory, which enlarges
snapshots."""

CMD_TIME_OUT = 2
"""Seconds after which TCMU itself ends a command that its backend does not answer. TCMU's default,
30 (TCMU_TIME_OUT), is longer than any bound of the ladder."""

OPTIONS = ("cmd_time_out",)

IBLOCK = "iblock"
"""The handler of a device on a block device, without a backend of ours."""

KERNEL_THREADS = (
    "iscsi_np", "iscsi_ttx", "iscsi_trx",
    # The work queues' rescuers; Linux 6.8 and later have another prefix.
    "target_completi", "target_submissi", "xcopy_wq", "kworker/R-targe", "kworker/R-xcopy")

MODULES = (*(fabric.module for fabric in FABRICS.values()), "target_core_user",
           "target_core_iblock")
"""In unload order."""

SLABS = (
    "se_sess_cache", "se_ua_cache", "t10_pr_reg_cache", "t10_alua_lu_gp_cache",
    "t10_alua_lu_gp_mem_cache", "t10_alua_tg_pt_gp_cache", "t10_alua_lba_map_cache",
    "t10_alua_lba_map_mem_cache",  # init_se_kmem_caches(), target_core_transport.c
    "lio_qr_cache", "lio_dr_cache", "lio_ooo_cache", "lio_r2t_cache",  # iscsi_target.c
    "tcmu_cmd_cache",  # target_core_user.c
    "tcm_loop_cmd_cache",  # tcm_loop.c
)

SHARED = (*(fabric.directory for fabric in FABRICS.values()), HBA, BLOCK_HBA)
"""The directories in configfs in which every deployment makes its own."""


def cmd_time_out(device: Device) -> int:
    """Return the only option. Raises WrongUsageError for other options and invalid values."""
    unknown = sorted(set(device.options) - set(OPTIONS))
    if unknown:
        raise WrongUsageError(
            f"LIO has no device option {', '.join(unknown)}; it has: {', '.join(OPTIONS)}")
    value = device.options.get("cmd_time_out", CMD_TIME_OUT)
    if not str(value).isdecimal():
        raise WrongUsageError(f"cmd_time_out is a number of seconds, 0 for none, not {value!r}")
    return int(value)


def check(device: Device) -> None:
    """Raise WrongUsageError for an unknown handler or option, and for more than one LUN."""
    if device.handler == IBLOCK:
        if device.options:
            raise WrongUsageError(f"{IBLOCK} has no option {', '.join(sorted(device.options))}")
    elif device.handler != Device.handler:
        raise WrongUsageError(f"LIO has no handler {device.handler!r}; there is {IBLOCK}, and "
                              "TCMU by default")
    cmd_time_out(device)
    if device.session:
        raise WrongUsageError("LIO is deployed with the sessions that it has by default only")
    if device.siblings or device.luns or device.group or device.targets != 1:
        raise WrongUsageError("LIO is deployed with one device, one LUN and one target only")


def serial(device: Device) -> str:
    """Return a device's Unit Serial Number, the same for every deployment."""
    return f"stf-{device.name}"


def medium(device: Device) -> str:
    """Return the path of the file with a device's data; it outlives the deployment."""
    return f"/dev/shm/stf-{device.name}"


def backend_argv(device: Device) -> list[str]:
    """Return the arguments that start a device's backend."""
    return [
        "--name", f"tcm-user/0/{device.name}/{DEV_CONFIG}", "--medium", medium(device),
        "--size", str(device.size), "--block-size", str(device.block_size),
        "--vendor", VENDOR, "--product", PRODUCT, "--serial", serial(device),
        "--time-out", str(cmd_time_out(device)),
    ]


class Lio:
    """LIO in the machine's kernel."""

    name = "lio"
    traits = TRAITS
    tree = None
    slabs = SLABS
    modules = ("target_core_mod", *MODULES)
    programs: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._release: str | None = None

    def check(self, release: str) -> None:
        """Accept every kernel; ``load`` raises when the kernel has no LIO."""

    def describe(self) -> Mapping[str, Any]:
        """Return the version, which is the kernel's, once LIO has been loaded."""
        return {"name": self.name, "version": self._release or "the kernel's",
                "origin": "the kernel's own", "backend": "TCMU"}

    def load(self, machine: Machine) -> None:
        """Load the modules and make the directories that every deployment shares."""
        machine.modprobe("target_core_mod", *MODULES)
        if not machine.exists(TARGET):
            machine.run(["mount", "-t", "configfs", "configfs", CONFIGFS])
        self._release = machine.release
        for directory in SHARED:
            try:
                machine.mkdir(directory)
            except OSError as error:
                raise TargetFailedError(f"mkdir {directory}: {error}") from error

    def deploy(
        self, machine: Machine, device: Device, transport: Transport, ladder: Ladder,
        recorder: Recorder,
    ) -> Deployment:
        """Deploy a TCMU device with its backend, or a block device."""
        check(device)
        config = Configfs(machine, ladder.step)
        undo = ExitStack()
        backend: Backend
        below: storage.Storage | None = None
        try:
            if device.handler == IBLOCK:
                below = storage.make_storage(machine, device, medium(device), undo, ladder.step)
                backstore = make_block_backstore(config, device, below.path, undo)
                backend = NoBackend("iblock is in the kernel", below)
            else:
                backstore = make_backstore(config, device, undo)
                backend = BackendProcess(machine, f"tcmu {device.name}", BACKEND,
                                         backend_argv(device), recorder)
                undo.callback(backend.end, ladder.step)
                backend.wait_ready(ladder.step)
            export = FABRICS[transport].export(config, device.name, backstore, undo)
        except BaseException as error:
            config.allow(ladder.step)
            try:
                undo.close()
            except TargetFailedError as left:
                raise TargetFailedError(f"{error}; these steps are not undone: {left}") from error
            raise
        address = Address(transport, 0, VENDOR, serial(device), export.portal, export.iqn,
                          export.scsi_host, device.size, device.block_size)
        return LioDeployment(
            machine, device, backend, address, ladder, config, backstore, export, undo, recorder,
            below)

    def unload(self, machine: Machine, ladder: Ladder) -> None:
        """Remove the shared directories, then the modules."""
        config = Configfs(machine, ladder.step)
        for directory in SHARED:
            config.remove_directory(directory)
        machine.rmmod(*MODULES, deadline=ladder.step)


def make_block_backstore(config: Configfs, device: Device, below: str, undo: ExitStack) -> str:
    """Make and enable a backstore on a block device; return its directory."""
    path = _backstore_directory(config, f"{BLOCK_HBA}/{device.name}", undo)
    config.write(f"{path}/control", f"udev_path={below}")
    config.write(f"{path}/enable", "1")
    config.write(f"{path}/wwn/vendor_id", VENDOR)
    config.write(f"{path}/wwn/vpd_unit_serial", serial(device))
    return path


def _backstore_directory(config: Configfs, path: str, undo: ExitStack) -> str:
    if config.exists(path):
        raise TargetFailedError(f"{path} is there already: an earlier deployment was not removed")
    config.mkdir(path)
    undo.callback(config.remove_directory, path)
    return path


def make_backstore(config: Configfs, device: Device, undo: ExitStack) -> str:
    """Make and enable a TCMU backstore; return its directory."""
    path = _backstore_directory(config, f"{HBA}/{device.name}", undo)
    config.write(f"{path}/control", ",".join([
        f"dev_config={DEV_CONFIG}", f"dev_size={device.size}",
        f"hw_block_size={device.block_size}",
        f"hw_max_sectors={MAX_TRANSFER // device.block_size}",
        f"max_data_area_mb={DATA_AREA_MB}", f"cmd_ring_size_mb={CMD_RING_MB}",
        "nl_reply_supported=-1",  # no process answers TCMU's netlink events
    ]))
    config.write(f"{path}/attrib/cmd_time_out", str(cmd_time_out(device)))  # EINVAL once exported
    config.write(f"{path}/enable", "1")
    config.write(f"{path}/wwn/vpd_unit_serial", serial(device))
    config.write(f"{path}/attrib/tmr_notification", "1")
    return path


@dataclass(frozen=True)
class LioDeployment:
    """One device, exported by one fabric.

    ``backstore``: its directory in configfs. ``below``: the storage of a block device.
    """

    machine: Machine
    device: Device
    backend: Backend
    address: Address
    ladder: Ladder
    config: Configfs
    backstore: str
    export: Export
    undo: ExitStack
    recorder: Recorder
    below: storage.Storage | None = None
    kernel_threads: tuple[str, ...] = KERNEL_THREADS

    @cached_property
    def _operations(self) -> Operations:
        machine_context = system.OperationContext(self.machine, self.recorder, self.ladder.step,
                                                  self.backend,
                                                  KERNEL_THREADS, SLABS)
        disk_faults = storage.operations(self.machine, self.recorder, self.below,
                                         self.ladder.step) \
            if self.below else {}
        return Operations({**operations.table(self._context), **system.table(machine_context),
                           **disk_faults})

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The only address."""
        return (self.address,)

    @property
    def _context(self) -> OperationContext:
        return OperationContext(self.machine, self.config, self.export, self.backstore,
                                self.recorder)

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that can be begun on the deployment, by name."""
        return tuple(self._operations.table)

    def begin(self, operation: str) -> Begun:
        """Begin an operation; a second one of the same name replaces the first in the table."""
        return self._operations.begin(operation)

    def heal(self, operation: str, deadline: float) -> None:
        """Undo an operation that was begun; do nothing if it was not."""
        self._operations.heal(operation, deadline)

    def views(self) -> Mapping[str, str | Sequence[str]]:
        """Return configfs' files and TCMU's ring.

        The files are those of backstore, LUN (reads block while it is being unlinked) and TPG.
        """
        group = self.export.lun.rpartition("/lun/")[0]
        return {
            "lio-backstore": [f"{self.backstore}/{name}" for name in (
                "info", "attrib/*", "action/*", "statistics/*/*", "alua/*/members")],
            "lio-lun": [f"{self.export.lun}/{name}" for name in ("alua_*", "statistics/*/*")],
            "lio-tpg": [f"{group}/{name}" for name in (
                "enable", "dynamic_sessions", "acls/*/info", "attrib/*", "param/*",
                "../fabric_statistics/*/*")],
            "lio-ring": self._ring(),
        }

    def _ring(self) -> str:
        if self.below:
            return "a block device has none\n"
        if self.backend.process.status is not None:
            return f"the backend has ended with status {self.backend.process.status}\n"
        try:
            ring: Mapping[str, int] = self.backend.call("ring", deadline=self.ladder.command)
        except (TargetFailedError, MachineLostError) as error:
            return f"the backend does not report it: {error}\n"
        return "".join(f"{name}: {value}\n" for name, value in ring.items())

    def present(self) -> bool:
        """Return whether the backstore exists."""
        return self.config.exists(self.backstore)

    def died(self) -> str:
        """Return "": no daemon of LIO takes part."""
        return ""

    def unfetched(self) -> int:
        """Return 0: TCMU passes all commands on at once, and no waiting one can be observed."""
        return 0

    def reachable(self) -> bool:
        """Return whether the LUN is linked to the backstore."""
        return self.config.exists(self.export.link)

    def end_process(self, pid: int) -> None:
        """Send SIGKILL to a process other than the backend's own."""
        self.machine.run(["kill", "-9", str(pid)], check=False)

    def remove_lun(self) -> None:
        """Unlink the LUN; LIO waits for the commands in flight on it."""
        self.config.allow(self.ladder.teardown)
        self.config.remove_link(self.export.link)

    def removal_waits(self) -> bool:
        """Return whether the LUN's unlinking waits in the kernel."""
        return "unlink" in self.machine.waiting()

    def take_device_away(self) -> None:
        """Remove LUN and backstore, which LIO keeps when the backend goes."""
        self.remove_lun()
        self.config.remove_directory(self.export.lun)
        self.config.remove_directory(self.backstore)

    def remove(self) -> None:
        """Undo the deployment, while a backend answers the remaining commands."""
        self.config.allow(self.ladder.step)
        with self._commands_answered():
            self.undo.close()

    @contextmanager
    def _commands_answered(self) -> Iterator[None]:
        """Ensure that no command waits for a backend, and that a backend answers new commands.

        Without a backend, the commands of error handling would wait, too: for ever with
        cmd_time_out=0.
        """
        if self.backend.serving(self.ladder.step):
            self.backend.release(self.ladder.step)
            yield
            return
        self.backend.end(self.ladder.step)
        if not self.config.exists(self.backstore):
            yield
            return
        self.config.write(f"{self.backstore}/action/block_dev", "0")
        substitute = self._substitute()
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                substitute.signal(signal.SIGKILL)
            substitute.wait(self.ladder.step)

    def _substitute(self) -> Process:
        """Start a backend in place of the dead one.

        It ends that one's unanswered commands with CHECK CONDITION (``--reset-ring 2``).
        """
        ready = threading.Event()
        argv = [*backend_argv(self.device), "--reset-ring", "2", "--backstore", self.backstore]
        process = self.machine.spawn(
            f"tcmu {self.device.name}", module=BACKEND, argv=argv,
            on_message=lambda message: ready.set() if message["kind"] == "ready" else None,
            on_exit=lambda _: ready.set())
        ready.wait(self.ladder.step)
        return process
