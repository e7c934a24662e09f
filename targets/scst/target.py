# SPDX-License-Identifier: GPL-2.0-or-later
"""SCST with its device handlers, deployed from an installation through sysfs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from inject.contract import Backend
from inject.waiting import wait_until
from results.errors import TargetFailedError, WrongUsageError
from results.history import Recorder
from results.ladder import Ladder
from targets import storage, system
from targets.backend.absent import NoBackend
from targets.backend.client import BackendProcess
from targets.machine import Machine
from targets.operation import Begun, Operations
from targets.scst import daemon, handlers, operations, sysfs
from targets.scst.driver import DRIVERS, LUN, Export, Layout
from targets.scst.handlers import USER, medium
from targets.scst.operations import OperationContext
from targets.scst.prefix import MODULES, OPTIONAL, TREE, Prefix
from targets.scst.sysfs import DEVICES, HANDLERS, TARGETS
from targets.scst.traits import TRAITS
from targets.scst.user_spec import DeviceSpec, argument, check_options
from targets.target import DIGESTS, Address, Deployment, Device, Transport

VENDOR = "STF"
PRODUCT = "scst_user disk"
BACKEND = "targets.scst.user_guest.backend"

STATE_DIRECTORIES = ("/var/lib/scst/pr", "/var/lib/scst/vdev_mode_pages")
"""Registration of a device fails with ENOENT without them."""

CORE = "scst"

DISK_MODULE = "sd_mod"

MODULE_ARGUMENTS = {"scst_local": ["add_default_tgt=0"]}
"""Without scst_local's default target: every deployment makes a target of its own, and the default
one's SCSI host would outlive it."""

REFERENCES = "/sys/module/scst_user/refcnt"
"""Counts registered devices. A device's reference is dropped last, by the thread
scst_usr_released (dev_user_exit_dev, scst_user.c); ``devices/NAME`` is removed long before,
possibly while the kernel still waits for commands."""

KERNEL_THREADS = (
    "scst_usr_cleanu", "scst_usr_releas", "scst_initd", "scsi_tm", "scst_mgmtd", "scst_uid",
    "scst_release_ac", "scst_rel_", "scstd", "iscsird", "iscsiwr", "iscsi_conn_cle",
)

SESSION = (*DIGESTS, "RspTimeout", "NopInInterval", "NopInTimeout")
"""Settable keys of a session; the last three in seconds (README of iSCSI-SCST)."""

SLABS = (
    "scst_user_cmd", "scst_user_dev", "scst_cmd", "scst_mgmt_cmd", "scst_mgmt_cmd_stub",
    "scst_session", "scst_device", "scst_tgt", "scst_tgt_dev", "scst_tgt_dev_UA", "scst_acg_dev",
    "scst_cmd_thread_t", "sgv_pool", "iscsi_cmnd", "iscsi_conn", "iscsi_session",
    "iscsi_thread_pool",
)
"""Slab caches, named by their structures (KMEM_CACHE). The data buffer pools, sgv-*, are left out:
they keep an unspecified number of objects.
"""


def backend_options(device: Device) -> dict[str, int | str]:
    """Return a device's options. Raises WrongUsageError for unknown ones and values."""
    try:
        return check_options(device.options)
    except ValueError as error:
        raise WrongUsageError(str(error)) from error


def serial_of(name: str) -> str:
    """Return a device's Unit Serial Number, the same for every deployment."""
    return f"stf-{name}"


def backend_argv(device: Device, serial: str, version_string: str) -> list[str]:
    """Return the arguments that start the backend of a device and its siblings."""
    serials = {each.name: serial_of(each.name) for each in device.siblings} | {device.name: serial}
    return [argument(version_string, [
        DeviceSpec(each.name, medium(each), each.size, each.block_size, VENDOR, PRODUCT,
                   serials[each.name], backend_options(each), each.threads, each.multi)
        for each in device.family])]


class Scst:
    """The SCST of the installation ``prefix``."""

    name = "scst"
    traits = TRAITS
    slabs = SLABS
    modules = tuple(name.replace("-", "_") for name in (*MODULES, *OPTIONAL))
    programs: tuple[str, ...] = ()

    def __init__(
        self, prefix: Prefix, parameters: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Take an installation, and module parameters in addition to the usual ones.

        ``parameters``: by the modules' file names, "name=value" each.

        ``scst``: scst_max_cmd_mem and scst_max_dev_cmd_mem (MB), scst_threads, async_lun_replace,
        forcibly_close_sessions (scst_main.c).
        """
        self.prefix = prefix
        self.parameters = dict(parameters or {})

    @property
    def tree(self) -> Path:
        """The installation's directory."""
        return self.prefix.path

    def check(self, release: str) -> None:
        """Raise WrongUsageError unless the installation has modules for a kernel release."""
        self.prefix.check(release)

    def describe(self) -> Mapping[str, Any]:
        """Return the version, the source commit, and the path of the installation."""
        return {"name": self.name, "backend": "scst_user", **self.prefix.describe()}

    def load(self, machine: Machine) -> None:
        """Load the modules in order, and start the iSCSI daemon."""
        self.prefix.check(machine.release)
        for directory in STATE_DIRECTORIES:
            machine.mkdir(directory)
        machine.modprobe(*self.prefix.dependencies(machine.release), DISK_MODULE)
        for module in self.prefix.modules(machine.release):
            if machine.exists(f"/sys/module/{module.replace('-', '_')}"):
                continue
            file = self.prefix.module(machine.release, module).relative_to(self.prefix.path)
            machine.run(["insmod", f"{TREE}/{file}", *MODULE_ARGUMENTS.get(module, []),
                         *self.parameters.get(module, [])])
        daemon.start(machine)
        daemon.enable(machine)

    def deploy(
        self, machine: Machine, device: Device, transport: Transport, ladder: Ladder,
        recorder: Recorder,
    ) -> Deployment:
        """Make the device with its siblings, and export them by the requested number of targets."""
        handlers.check(device)
        settable = SESSION if transport is Transport.ISCSI else ()
        if unknown := sorted(set(device.session) - set(settable)):
            raise WrongUsageError(f"SCST has no {unknown[0]} to set over {transport}")
        layout = Layout(device.layout(), device.group, device.session)
        undo = ExitStack()
        backend: Backend
        below: storage.Storage | None = None
        try:
            devices = [KernelDevice(machine, each.name) for each in device.family]
            undo.callback(handlers.delete_spare, machine, ladder.step)
            if device.handler == USER:
                for each in devices:
                    undo.callback(each.wait_released, ladder.teardown)
                backend = self._start_backend(machine, device, recorder)
                undo.callback(backend.end, ladder.step)
                backend.wait_ready(ladder.step)
            else:
                below = add_vdisks(machine, device, undo, ladder.teardown)
                backend = NoBackend(f"{device.handler} is in the kernel", below)
            exports = [DRIVERS[transport](machine, name, layout, undo, ladder.step)
                       for name in target_names(device)]
        except BaseException as error:
            try:
                undo.close()
            except TargetFailedError as left:
                raise TargetFailedError(f"{error}; and these steps are not undone: {left}") \
                    from error
            raise
        return ScstDeployment(
            machine, ladder, recorder, device=device, backend=backend, devices=devices,
            exports=exports, transport=transport, undo=undo, below=below)

    def _start_backend(
        self, machine: Machine, device: Device, recorder: Recorder,
    ) -> BackendProcess:
        version = self.prefix.version_string(machine.release)
        argv = backend_argv(device, serial_of(device.name), version)
        return BackendProcess(machine, f"scst {device.name}", BACKEND, argv, recorder)

    def unload(self, machine: Machine, ladder: Ladder) -> None:
        """Stop the daemon, then unload every module that a deployment can have left in use.

        scst.ko itself stays loaded: its exit always sleeps 3 s (scst_sysfs_cleanup, scst_sysfs.c),
        and only the other modules hold references to it.
        """
        daemon.stop(machine, ladder.step)
        loaded = [name for module in reversed((*MODULES, *OPTIONAL)) if module != CORE
                  if machine.exists(f"/sys/module/{(name := module.replace('-', '_'))}")]
        machine.rmmod(*loaded, deadline=ladder.step)


def add_vdisks(
    machine: Machine, device: Device, undo: ExitStack, deadline: float,
) -> storage.Storage | None:
    """Add a device of an in-kernel handler, and its siblings; return the storage of the first."""
    below = [
        handlers.add_vdisk(machine, each, {"t10_vend_id": VENDOR, "usn": serial_of(each.name)},
                           undo, deadline)
        for each in device.family]
    return below[0]


def target_names(device: Device) -> list[str]:
    """Return the names from which the targets' names are made: the first is the device's name."""
    return [device.name, *(f"{device.name}-{number}" for number in range(2, device.targets + 1))]


class KernelDevice:
    """The kernel's side of a device, from its registration to the end of its release."""

    def __init__(self, machine: Machine, name: str) -> None:
        """Record the module's reference count.

        Raises TargetFailedError if the device is listed already.
        """
        self._machine = machine
        self._name = name
        self._others = int(machine.read(REFERENCES))
        if self._listed():
            raise TargetFailedError(
                f"{DEVICES}/{name} is there already: an earlier deployment was not removed")

    @property
    def directory(self) -> str:
        """The device's directory in sysfs, removed before the kernel has released the device."""
        return f"{DEVICES}/{self._name}"

    def _listed(self) -> bool:
        return self._machine.exists(f"{DEVICES}/{self._name}")

    def _released(self) -> bool:
        return not self._listed() and int(self._machine.read(REFERENCES)) <= self._others

    def died(self) -> str:
        """Return "": an established session needs no daemon (targets.scst.daemon)."""
        return ""

    def unfetched(self) -> int:
        """Return the number of commands that the backend has not fetched yet (seen_by_user)."""
        lines = self._machine.read(f"{self.directory}/commands").splitlines()
        return sum("seen_by_user 0" in line and "(null)" not in line for line in lines)

    def wait_released(self, deadline: float) -> None:
        """Wait until the kernel has released the device.

        Raises TargetFailedError with its remains.
        """
        if not wait_until(self._released, deadline):
            raise TargetFailedError(
                f"the kernel has not let go of device {self._name} after {deadline:g} s: "
                + self.what_is_left())

    def what_is_left(self) -> str:
        """Return a description of the device's remains in the kernel."""
        words = []
        if self._machine.exists(f"{HANDLERS}/{self._name}"):
            words.append(f"handler {self._name} is listed")
        if self._listed():
            words.append(f"device {self._name} is listed")
            with suppress(OSError):
                commands = self._machine.read(f"{DEVICES}/{self._name}/commands").splitlines()
                words.append(f"{len(commands)} commands: {'; '.join(commands[:4])}")
        else:
            words.append("the device is no longer listed, but its release has not ended")
        with suppress(TargetFailedError):
            threads = self._machine.run(["ps", "-eo", "stat=,comm=,wchan:32="]).stdout
            words += [" ".join(line.split()) for line in threads.splitlines()
                      if "scst_usr_" in line]
        return ", ".join(words)


class ScstDeployment:
    """Devices of one handler, exported by one target driver, by one target or several."""

    kernel_threads = KERNEL_THREADS

    def __init__(
        self, machine: Machine, ladder: Ladder, recorder: Recorder, *, device: Device,
        backend: Backend, devices: Sequence[KernelDevice], exports: Sequence[Export],
        transport: Transport, undo: ExitStack, below: storage.Storage | None = None,
    ) -> None:
        self.machine = machine
        self.device = device
        self.backend = backend
        self.addresses = tuple(_addresses(exports, transport, device.family))
        self._ladder = ladder
        self._devices = devices
        self._export = exports[0]
        self._context = OperationContext(
            machine, exports[0], device.name, device.handler, ladder, recorder)
        self._undo = undo
        machine_context = system.OperationContext(machine, recorder, ladder.step, backend,
                                                  KERNEL_THREADS, SLABS)
        self._operations = Operations({
            **operations.table(self._context), **system.table(machine_context),
            **(storage.operations(machine, recorder, below, ladder.step) if below else {})})

    @property
    def address(self) -> Address:
        """The address of the device under test for the initiator."""
        return self.addresses[0]

    def views(self) -> Mapping[str, str | Sequence[str]]:
        """Return the files of SCST's sysfs tree.

        They show devices with their commands, sessions, buffer pools, and the rest.
        """
        directories = [device.directory for device in self._devices]
        return {
            "scst-commands": [f"{directory}/commands" for directory in directories],
            "scst-device": [f"{directory}/*" for directory in directories],
            "scst-sessions": [f"{TARGETS}/*/*/sessions/*/{name}" for name in (
                "*", "lun*/*", "latency/*")],
            "scst-sgv": [f"{sysfs.SCST}/sgv/*", f"{sysfs.SCST}/sgv/*/*"],
            "scst": [f"{sysfs.SCST}/*"],
        }

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

    def present(self) -> bool:
        """Return whether SCST lists the device under test."""
        return self.machine.exists(self._devices[0].directory)

    def died(self) -> str:
        """Return "": an established session needs no daemon (targets.scst.daemon)."""
        return ""

    def unfetched(self) -> int:
        """Return the number of commands that wait for the backend's first fetch."""
        return self._devices[0].unfetched()

    def reachable(self) -> bool:
        """Return whether the target has LUN 0."""
        return self.machine.exists(f"{self._export.luns}/{LUN}")

    def end_process(self, pid: int) -> None:
        """Send SIGKILL to a process other than the backend's own."""
        self.machine.run(["kill", "-9", str(pid)], check=False)

    def remove_lun(self) -> None:
        """Delete the LUN; SCST waits for its commands, including those that the backend holds."""
        try:
            self.begin("lun-delete").finish(self._ladder.teardown)
        except TargetFailedError as error:
            raise TargetFailedError(f"{error}: {self._devices[0].what_is_left()}") from error

    def removal_waits(self) -> bool:
        """Return whether the LUN is out of reach while its removal has not ended.

        SCST removes the LUN from its target first, then waits (scst_acg_del_lun, scst_lib.c).
        """
        running = self._operations.running.get("lun-delete")
        return running is not None and running.waits()

    def take_device_away(self) -> None:
        """Close the devices if they are open, and wait for the kernel's release."""
        if self.device.handler != USER:
            for each in self.device.family:
                handlers.delete_vdisk(self.machine, each, self._ladder.teardown)
        elif self.backend.serving(self._ladder.step):
            self.backend.close(self._ladder.step)
        for kernel_side in self._devices:
            kernel_side.wait_released(self._ladder.teardown)

    def remove(self) -> None:
        """Release the commands that the backend holds, then undo the deployment."""
        if self.backend.serving(self._ladder.step):
            self.backend.release(self._ladder.step)
        else:
            self.backend.end(self._ladder.step)
        self._undo.close()


def _addresses(
    exports: Sequence[Export], transport: Transport, family: Sequence[Device],
) -> Iterator[Address]:
    """Yield the initiator's address of every LUN of every target."""
    devices = {device.name: device for device in family}
    for export in exports:
        for lun, name in sorted(export.layout.luns.items()):
            device = devices[name]
            yield Address(transport, lun, VENDOR, serial_of(name), export.portal, export.iqn,
                          export.scsi_host, device.size, device.block_size)
