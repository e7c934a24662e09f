"""SCST's device handlers: what is behind a LUN.

``scst_user``: a backend of the project's own, a process whose every step is seen. ``vdisk_fileio``,
``vdisk_blockio`` and ``vdisk_nullio``: in the kernel, over a file, a block device on the same file
(targets.storage), or nothing at all; there is no process that could be killed.
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
"""A device of vdisk_nullio, for operations that want another one."""
SPARE_SIZE = 16 << 20

OPTIONS = (
    "nv_cache", "o_direct", "write_through", "read_only", "removable", "rotational",
    "thin_provisioned", "tst", "async",
)
"""Parameters that the vdisk handlers take when a device is added (README, "Virtual devices")."""


def medium(device: Device) -> str:
    """Return the file that keeps a device's data; it outlives the deployment."""
    return f"/dev/shm/stf-{device.name}"


Below = tuple[str, Storage | None]
"""A vdisk handler's parameters that say what is below it, and that itself, where it is a device."""


def over_file(machine: Machine, device: Device, _undo: ExitStack, _deadline: float) -> Below:
    """Return what vdisk_fileio has: a file of the device's size."""
    machine.run(["truncate", "-s", str(device.size), medium(device)])
    return f"filename={medium(device)}; blocksize={device.block_size}", None


def over_storage(machine: Machine, device: Device, undo: ExitStack, deadline: float) -> Below:
    """Return what vdisk_blockio has: a block device on such a file."""
    storage = make_storage(machine, device, medium(device), undo, deadline)
    return f"filename={storage.path}; blocksize={device.block_size}", storage


def over_nothing(_machine: Machine, device: Device, _undo: ExitStack, _deadline: float) -> Below:
    """Return what vdisk_nullio has: nothing."""
    return f"size={device.size}; blocksize={device.block_size}", None


VDISKS: Mapping[str, Callable[[Machine, Device, ExitStack, float], Below]] = {
    "vdisk_fileio": over_file,
    "vdisk_blockio": over_storage,
    "vdisk_nullio": over_nothing,
}
NAMES = (USER, *VDISKS)


def check(device: Device) -> None:
    """Raise WrongUsageError unless a device's handler and options are such as there are."""
    for each in device.family:
        if each.handler not in NAMES:
            raise WrongUsageError(
                f"SCST has no device handler {each.handler!r}; there are: {', '.join(NAMES)}")
        if (each.handler == USER) != (device.handler == USER):
            raise WrongUsageError("siblings are devices of one backend: all or none scst_user")
        if each.handler != USER:
            vdisk_options(each)


def vdisk_options(device: Device) -> str:
    """Return a vdisk's options as SCST takes them. Raises WrongUsageError for unknown ones."""
    unknown = sorted(set(device.options) - set(OPTIONS))
    if unknown:
        raise WrongUsageError(f"{device.handler} has no option {', '.join(unknown)} here; "
                              f"it has: {', '.join(OPTIONS)}")
    return "".join(f"; {name}={value}" for name, value in device.options.items())


def add_vdisk(
    machine: Machine, device: Device, identity: Mapping[str, str], undo: ExitStack,
    deadline: float,
) -> Storage | None:
    """Add a device of a vdisk handler; put its removal on ``undo``. Return what is below it.

    ``identity``: attributes to set before anybody sees it (t10_vend_id, usn).
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
    """Remove a device, unless it has gone: its LUNs go with it, once their commands have ended."""
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
