# SPDX-License-Identifier: GPL-2.0-or-later
"""Registration of a device with scst_user: SCST_USER_REGISTER_DEVICE, and its errors.

Runs in the guest; stdlib only.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os

from targets.scst import abi
from targets.scst.user_spec import OPT, DeviceSpec


class RegistrationError(Exception):
    """The kernel did not accept the device; the text gives the reason, ``name`` is the errno's."""

    def __init__(self, words: str, name: str | None = None) -> None:
        super().__init__(words)
        self.name = name


REFUSALS = {
    errno.EPERM: "SCST does not take the license {license!r}",
    errno.EINVAL: "SCST refuses the version string {version!r}, the block size, an option or a "
                  "pool that others share with other settings; the kernel log has the reason",
    errno.EEXIST: "SCST has a device of that name already",
    errno.ENOENT: "SCST found a directory missing: /var/lib/scst/pr, /var/lib/scst/vdev_mode_pages",
    errno.ENOMEM: "SCST has no memory for it, or cannot make the pool of its buffers; the kernel "
                  "log has the reason",
    errno.ETXTBSY: "the module scst_user is being unloaded",
    errno.EFAULT: "SCST cannot read the description",
    errno.EINTR: "a signal came",
}
"""Meanings of the errors of SCST_USER_REGISTER_DEVICE (dev_user_register_dev, scst_user.c, and
sgv_pool_create, scst_mem.c)."""


def errno_name(error: OSError) -> str:
    """Return the name of an error's number, or its text."""
    return errno.errorcode.get(error.errno or 0, str(error))


def register(spec: DeviceSpec, version_string: str) -> int:
    """Register a device; return its descriptor. Raises RegistrationError."""
    name = spec.name
    if not 0 < len(name) <= abi.NAME_MAX or set(name) & set("./"):
        raise RegistrationError(
            f"device {name!r}: a name has 1 to {abi.NAME_MAX} characters, none of them . or /")
    version = str(spec.option("version_str")) or version_string
    license_ = str(spec.option("license_str"))
    version_room = ctypes.create_string_buffer(version.encode(), abi.STRING_ROOM)
    license_room = ctypes.create_string_buffer(license_.encode(), abi.STRING_ROOM)
    description = describe(spec)
    description.version_str = ctypes.addressof(version_room)
    description.license_str = ctypes.addressof(license_room)
    try:
        device = os.open(
            abi.DEVICE_NODE, os.O_RDWR | os.O_CLOEXEC | (os.O_NONBLOCK if spec.poll else 0))
    except OSError as error:
        raise RegistrationError(
            f"{abi.DEVICE_NODE}: {error.strerror}; is the module scst_user loaded?",
            errno_name(error)) from error
    try:
        fcntl.ioctl(device, abi.REGISTER_DEVICE, description)
    except OSError as error:
        os.close(device)
        why = REFUSALS.get(error.errno or 0, "{error}").format(
            license=license_, version=version, error=error.strerror)
        raise RegistrationError(
            f"device {name!r}: {why} ({errno_name(error)})", errno_name(error)) from error
    return device


def describe(spec: DeviceSpec) -> abi.DevDesc:
    """Return a device's description, without the version and the license."""
    return abi.DevDesc(
        type=spec.option("type"), sgv_shared=spec.option("sgv_shared"),
        sgv_disable_clustered_pool=spec.option("sgv_disable_clustered_pool"),
        sgv_single_alloc_pages=spec.option("sgv_single_alloc_pages"),
        sgv_purge_interval=spec.option("sgv_purge_interval"),
        opt=abi.Opt(**{name: spec.option(name) for name in OPT}),
        block_size=spec.block_size,
        enable_pr_cmds_notifications=spec.option("enable_pr_cmds_notifications"),
        name=spec.name.encode(), sgv_name=str(spec.option("sgv_name")).encode())
