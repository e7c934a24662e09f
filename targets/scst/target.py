"""SCST with a scst_user backend, deployed from an installation by hand through sysfs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from enum import IntEnum
from pathlib import Path
from typing import Any

from results.errors import MachineLostError, TargetFailedError, WrongUsageError
from results.history import Recorder
from results.ladder import Ladder
from targets.backend.client import Backend
from targets.machine import Machine, Pending
from targets.scst import abi, sysfs
from targets.scst.driver import DRIVERS, LUN, Export
from targets.scst.prefix import DAEMON, MODULES, Prefix
from targets.scst.sysfs import DEVICES, HANDLERS, TARGETS, wait_until
from targets.target import Address, Deployment, Device, Transport

TREE = "/scst"
"""Where the machine sees the installation."""

VENDOR = "STF"
PRODUCT = "scst_user disk"
BACKEND = "targets.scst.user"

STATE_DIRECTORIES = ("/var/lib/scst/pr", "/var/lib/scst/vdev_mode_pages")
"""Without them registering a device fails with ENOENT."""

CORE = "scst"

DISK_MODULE = "sd_mod"

MODULE_ARGUMENTS = {"scst_local": ["add_default_tgt=0"]}
"""Every deployment makes a target of its own: the default one's host would stay."""

PID_FILE = "/run/iscsi-scstd.pid"

REFERENCES = "/sys/module/scst_user/refcnt"
"""Counts registered devices. A device's reference is put last of all, by the thread
scst_usr_released (dev_user_exit_dev, scst_user.c); ``devices/NAME`` goes long before, while
commands may still be waited for."""

KERNEL_THREADS = (
    "scst_usr_cleanu", "scst_usr_releas", "scst_initd", "scsi_tm", "scst_mgmtd", "scst_uid",
    "scst_release_ac", "scst_rel_", "scstd", "iscsird", "iscsiwr", "iscsi_conn_cle",
)

SLABS = (
    "scst_user_cmd", "scst_user_dev", "scst_cmd", "scst_mgmt_cmd", "scst_mgmt_cmd_stub",
    "scst_session", "scst_device", "scst_tgt", "scst_tgt_dev", "scst_tgt_dev_UA", "scst_acg_dev",
    "scst_cmd_thread_t", "sgv_pool", "iscsi_cmnd", "iscsi_conn", "iscsi_session",
    "iscsi_thread_pool",
)
"""Named by their structures (KMEM_CACHE). The pools of data buffers, sgv-*, keep what they like."""


def backend_options(device: Device) -> dict[str, IntEnum]:
    """Return a device's options. Raises WrongUsageError for unknown ones and values."""
    unknown = sorted(set(device.options) - set(abi.OPTIONS))
    if unknown:
        raise WrongUsageError(
            f"SCST has no device option {', '.join(unknown)}; it has: {', '.join(abi.OPTIONS)}")
    return {name: _value(name, value) for name, value in device.options.items()}


def _value(name: str, value: str | int) -> IntEnum:
    kind = abi.OPTIONS[name]
    for member in kind:
        if str(value).upper() in (member.name, str(member.value)):
            return member
    raise WrongUsageError(
        f"{name} is one of {', '.join(member.name for member in kind)}, not {value!r}")


def medium(device: Device) -> str:
    """Return the file that keeps a device's data; it outlives the deployment."""
    return f"/dev/shm/stf-{device.name}"


def backend_argv(device: Device, serial: str, version_string: str) -> list[str]:
    """Return the arguments that start a device's backend."""
    argv = [
        "--name", device.name, "--medium", medium(device), "--size", str(device.size),
        "--block-size", str(device.block_size), "--vendor", VENDOR, "--product", PRODUCT,
        "--serial", serial, "--version-string", version_string,
    ]
    for name, value in backend_options(device).items():
        argv += [f"--{name.replace('_', '-')}", value.name]
    return argv


class Scst:
    """The SCST that ``prefix`` is an installation of."""

    name = "scst"
    slabs = SLABS
    modules = tuple(name.replace("-", "_") for name in MODULES)

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix

    @property
    def tree(self) -> Path:
        """The installation."""
        return self.prefix.path

    def check(self, release: str) -> None:
        """Raise WrongUsageError unless the installation has modules for a kernel release."""
        self.prefix.check(release)

    def describe(self) -> Mapping[str, Any]:
        """Return its version, the commit it was built from, and where it lies."""
        return {"name": self.name, "backend": "scst_user", **self.prefix.describe()}

    def load(self, machine: Machine) -> None:
        """Load the modules in the order they need, and start the iSCSI daemon."""
        self.prefix.check(machine.release)
        for directory in STATE_DIRECTORIES:
            machine.mkdir(directory)
        machine.modprobe(*self.prefix.dependencies(machine.release), DISK_MODULE)
        for module in MODULES:
            if machine.exists(f"/sys/module/{module.replace('-', '_')}"):
                continue
            file = self.prefix.module(machine.release, module).relative_to(self.prefix.path)
            machine.run(["insmod", f"{TREE}/{file}", *MODULE_ARGUMENTS.get(module, [])])
        machine.run([f"{TREE}/{DAEMON}", "-a", "127.0.0.1"])  # returns once it listens
        machine.write(f"{TARGETS}/iscsi/enabled", "1")

    def deploy(
        self, machine: Machine, device: Device, transport: Transport, ladder: Ladder,
        recorder: Recorder,
    ) -> Deployment:
        """Register a device with its backend, and export it."""
        serial = f"stf-{device.name}"
        argv = backend_argv(device, serial, self.prefix.version_string(machine.release))
        kernel_side = KernelDevice(machine, device.name)
        undo = ExitStack()
        try:
            backend = Backend(machine, f"scst {device.name}", BACKEND, argv, recorder)
            undo.callback(kernel_side.wait_released, ladder.teardown)
            undo.callback(backend.end, ladder.step)
            backend.wait_ready(ladder.step)
            export = DRIVERS[transport](machine, device.name, undo, ladder.step)
        except BaseException as error:
            try:
                undo.close()
            except TargetFailedError as left:
                raise TargetFailedError(f"{error}; and what had been done stays: {left}") \
                    from error
            raise
        address = Address(
            transport, LUN, VENDOR, serial, export.portal, export.iqn, export.scsi_host)
        return ScstDeployment(
            machine, ladder, backend=backend, address=address, kernel_side=kernel_side,
            export=export, undo=undo)

    def unload(self, machine: Machine, ladder: Ladder) -> None:
        """Stop the daemon, then unload every module that a deployment can have left in use.

        scst.ko itself stays: its exit sleeps 3 s whatever happened (scst_sysfs_cleanup,
        scst_sysfs.c), and what holds it are the others.
        """
        stop_daemon(machine, ladder.step)
        loaded = [name for module in reversed(MODULES) if module != CORE
                  if machine.exists(f"/sys/module/{(name := module.replace('-', '_'))}")]
        machine.rmmod(*loaded, deadline=ladder.step)


def stop_daemon(machine: Machine, deadline: float) -> None:
    """End iscsi-scstd, if it runs, and wait until it has gone. Raises TargetFailedError."""
    try:
        pid = machine.read(PID_FILE).strip()
    except FileNotFoundError:
        return
    machine.run(["kill", pid], check=False)
    if not wait_until(lambda: not machine.exists(f"/proc/{pid}"), deadline):
        raise TargetFailedError(f"iscsi-scstd has not ended {deadline:g} s after SIGTERM")
    machine.unlink(PID_FILE)


class KernelDevice:
    """What the kernel holds of a device, from its registration to the end of its release."""

    def __init__(self, machine: Machine, name: str) -> None:
        """Take note of what the kernel holds before. Raises TargetFailedError if it is there."""
        self._machine = machine
        self._name = name
        self._others = int(machine.read(REFERENCES))
        if self._listed():
            raise TargetFailedError(
                f"{DEVICES}/{name} is there already: an earlier deployment was not removed")

    @property
    def directory(self) -> str:
        """Its directory in sysfs, which goes before the kernel has let go of it."""
        return f"{DEVICES}/{self._name}"

    def _listed(self) -> bool:
        return self._machine.exists(f"{DEVICES}/{self._name}")

    def _released(self) -> bool:
        return not self._listed() and int(self._machine.read(REFERENCES)) <= self._others

    def wait_released(self, deadline: float) -> None:
        """Wait until the kernel has let go. Raises TargetFailedError saying what it holds."""
        if not wait_until(self._released, deadline):
            raise TargetFailedError(
                f"the kernel has not let go of device {self._name} after {deadline:g} s: "
                + self.what_is_left())

    def what_is_left(self) -> str:
        """Return in words what the kernel has of it."""
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
    """One scst_user device, exported by one target driver."""

    kernel_threads = KERNEL_THREADS

    def __init__(
        self, machine: Machine, ladder: Ladder, *, backend: Backend, address: Address,
        kernel_side: KernelDevice, export: Export, undo: ExitStack,
    ) -> None:
        self.machine = machine
        self.backend = backend
        self.address = address
        self._ladder = ladder
        self._kernel_side = kernel_side
        self._export = export
        self._undo = undo
        self._removal: Pending | None = None

    def views(self) -> Mapping[str, str | Sequence[str]]:
        """SCST's sysfs tree: the device with its commands, sessions, buffer pools, the rest."""
        device = self._kernel_side.directory
        return {
            "scst-commands": [f"{device}/commands"],
            "scst-device": [f"{device}/*"],
            "scst-sessions": [f"{TARGETS}/*/*/sessions/*/{name}" for name in (
                "*", "lun*/*", "latency/*")],
            "scst-sgv": [f"{sysfs.SCST}/sgv/*", f"{sysfs.SCST}/sgv/*/*"],
            "scst": [f"{sysfs.SCST}/*"],
        }

    def remove_lun(self) -> None:
        """Delete the LUN; SCST waits for its commands, also for those the backend has."""
        self._removal = sysfs.begin(self.machine, f"{self._export.luns}/mgmt", f"del {LUN}")
        try:
            sysfs.finish(
                self.machine, self._removal, f"removal of LUN {LUN}", self._ladder.teardown)
        except TargetFailedError as error:
            raise TargetFailedError(f"{error}: {self._kernel_side.what_is_left()}") from error

    def removal_waits(self) -> bool:
        """Whether the LUN is out of reach while its removal has not ended.

        SCST takes the LUN from its target first, then waits (scst_acg_del_lun, scst_lib.c).
        """
        return (self._removal is not None and not self._removal.done
                and not self.machine.exists(f"{self._export.luns}/{LUN}"))

    def take_device_away(self) -> None:
        """Have the backend close the device if it has not, and wait for the kernel's release."""
        if self._serving():
            self.backend.close(self._ladder.step)
        self._kernel_side.wait_released(self._ladder.teardown)

    def remove(self) -> None:
        """Let no command wait for the backend, then undo the deployment."""
        if self._serving():
            self.backend.release(self._ladder.step)
        else:
            self.backend.end(self._ladder.step)
        self._undo.close()

    def _serving(self) -> bool:
        """Tell whether the backend has the device open, and answers."""
        if self.backend.process.status is not None:
            return False
        try:
            return bool(self.backend.call("serving", deadline=self._ladder.step))
        except (TargetFailedError, MachineLostError):  # stopped, or about to be gone
            return False
