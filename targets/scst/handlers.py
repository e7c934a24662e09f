"""SCST's device handlers: what is behind a LUN.

``scst_user``: a backend of the project's own, a process whose every step is seen. ``vdisk_fileio``,
``vdisk_blockio`` and ``vdisk_nullio``: in the kernel, over a file, a loop device on the same file,
or nothing at all; there is no process that could hold commands or be killed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

from results.errors import WrongUsageError
from targets.machine import Machine
from targets.scst.sysfs import DEVICES, HANDLERS, write
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


def file_parameters(machine: Machine, device: Device, _undo: ExitStack) -> str:
    """Return vdisk_fileio's parameters for a file of the device's size."""
    machine.run(["truncate", "-s", str(device.size), medium(device)])
    return f"filename={medium(device)}; blocksize={device.block_size}"


def block_parameters(machine: Machine, device: Device, undo: ExitStack) -> str:
    """Return vdisk_blockio's parameters for a loop device on such a file."""
    machine.modprobe("loop")
    machine.run(["truncate", "-s", str(device.size), medium(device)])
    loop = machine.run(["losetup", "-f", "--show", medium(device)]).stdout.strip()
    undo.callback(machine.run, ["losetup", "-d", loop])
    return f"filename={loop}; blocksize={device.block_size}"


def null_parameters(_machine: Machine, device: Device, _undo: ExitStack) -> str:
    """Return vdisk_nullio's parameters: nothing is behind it."""
    return f"size={device.size}; blocksize={device.block_size}"


VDISKS: Mapping[str, Callable[[Machine, Device, ExitStack], str]] = {
    "vdisk_fileio": file_parameters,
    "vdisk_blockio": block_parameters,
    "vdisk_nullio": null_parameters,
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
) -> None:
    """Add a device of a vdisk handler; put its removal on ``undo``.

    ``identity``: attributes to set before anybody sees it (t10_vend_id, usn).
    """
    parameters = VDISKS[device.handler](machine, device, undo) + vdisk_options(device)
    manage = f"{HANDLERS}/{device.handler}/mgmt"
    write(machine, manage, f"add_device {device.name} {parameters}", deadline)
    undo.callback(delete_vdisk, machine, device, deadline)
    for name, value in identity.items():
        write(machine, f"{DEVICES}/{device.name}/{name}", value, deadline)


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
