# SPDX-License-Identifier: GPL-2.0-or-later
"""SCST's device handlers, which serve a LUN.

``scst_user``: a backend of the project's own, a process that emits an event for every step.
``vdisk_fileio``, ``vdisk_blockio`` and ``vdisk_nullio``: handlers in the kernel, over a file, a
block device on the same file (targets.storage), or no storage at all; none has a process that could
be killed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

from results.errors import WrongUsageError
from targets.machine import Machine
from targets.scst.sysfs import DEVICES, HANDLERS, write
from targets.storage import Storage, make_storage
from targets.target import Device

USER = "scst_user"
MODULE = "scst_vdisk"

SPARE = "stf-spare"
"""A device of vdisk_nullio, for operations that need a second device."""
SPARE_SIZE = 16 << 20

OPTIONS = (
    "nv_cache", "o_direct", "write_through", "read_only", "removable", "rotational",
    "thin_provisioned", "tst", "async",
)
"""Parameters that the vdisk handlers accept when a device is added (README, "Virtual devices")."""


def medium(device: Device) -> str:
    """Return the path of the file with a device's data; it outlives the deployment."""
    return f"/dev/shm/stf-{device.name}"


Below = tuple[str, Storage | None]
"""A vdisk handler's parameters for its storage, and the storage itself where it is a block device.
"""


def over_file(machine: Machine, device: Device, _undo: ExitStack, _deadline: float) -> Below:
    """Make a file of the device's size for vdisk_fileio; return its parameters."""
    machine.run(["truncate", "-s", str(device.size), medium(device)])
    return f"filename={medium(device)}; blocksize={device.block_size}", None


def over_storage(machine: Machine, device: Device, undo: ExitStack, deadline: float) -> Below:
    """Make a block device on such a file for vdisk_blockio; return both parts."""
    storage = make_storage(machine, device, medium(device), undo, deadline)
    return f"filename={storage.path}; blocksize={device.block_size}", storage


def over_nothing(_machine: Machine, device: Device, _undo: ExitStack, _deadline: float) -> Below:
    """Return the parameters for vdisk_nullio, which has no storage."""
    return f"size={device.size}; blocksize={device.block_size}", None


VDISKS: Mapping[str, Callable[[Machine, Device, ExitStack, float], Below]] = {
    "vdisk_fileio": over_file,
    "vdisk_blockio": over_storage,
    "vdisk_nullio": over_nothing,
}
NAMES = (USER, *VDISKS)


def check(device: Device) -> None:
    """Raise WrongUsageError unless a device's handler and options exist."""
    for each in device.family:
        if each.handler not in NAMES:
            raise WrongUsageError(
                f"SCST has no device handler {each.handler!r}; there are: {', '.join(NAMES)}")
        if (each.handler == USER) != (device.handler == USER):
            raise WrongUsageError("siblings are devices of one backend: all or none scst_user")
        if each.handler != USER:
            vdisk_options(each)


def vdisk_options(device: Device) -> str:
    """Return a vdisk's options in SCST's syntax. Raises WrongUsageError for unknown ones."""
    unknown = sorted(set(device.options) - set(OPTIONS))
    if unknown:
        raise WrongUsageError(f"{device.handler} has no option {', '.join(unknown)} here; "
                              f"it has: {', '.join(OPTIONS)}")
    return "".join(f"; {name}={value}" for name, value in device.options.items())


def add_vdisk(
    machine: Machine, device: Device, identity: Mapping[str, str], undo: ExitStack,
    deadline: float,
) -> Storage | None:
    """Add a device of a vdisk handler; put its removal on ``undo``. Return its storage, if any.

    ``identity``: attributes to set before the device is exported (t10_vend_id, usn).
    """
    parameters, storage = VDISKS[device.handler](machine, device, undo, deadline)
    manage = f"{HANDLERS}/{device.handler}/mgmt"
    write(machine, manage, f"add_device {device.name} {parameters}{vdisk_options(device)}",
          deadline)
    undo.callback(delete_vdisk, machine, device, deadline)
    for name, value in identity.items():
        write(machine, f"{DEVICES}/{device.name}/{name}", value, deadline)
    return storage


def delete_vdisk(machine: Machine, device: Device, deadline: float) -> None:
    """Remove a device if it is there: its LUNs go with it, once their commands have ended."""
    if machine.exists(f"{DEVICES}/{device.name}"):
        write(machine, f"{HANDLERS}/{device.handler}/mgmt", f"del_device {device.name}", deadline)


def add_spare(machine: Machine, deadline: float) -> None:
    """Add the spare device, unless it is there."""
    if not machine.exists(f"{DEVICES}/{SPARE}"):
        write(machine, f"{HANDLERS}/vdisk_nullio/mgmt",
              f"add_device {SPARE} size={SPARE_SIZE}", deadline)


def delete_spare(machine: Machine, deadline: float) -> None:
    """Remove the spare device, if it is there."""
    if machine.exists(f"{DEVICES}/{SPARE}"):
        write(machine, f"{HANDLERS}/vdisk_nullio/mgmt", f"del_device {SPARE}", deadline)
