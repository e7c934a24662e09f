# SPDX-License-Identifier: GPL-2.0-or-later
"""A target as a scenario uses it: deployed, broken, observed, and removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from inject import traits
from inject.contract import DeployedDevice
from inject.traits import DeviceChoice, TargetTraits
from results.errors import WrongUsageError
from results.history import Recorder
from results.ladder import Ladder
from targets.machine import Machine

Transport = traits.Transport


@dataclass(frozen=True)
class Device:
    """The device that a target exports.

    ``size`` and ``block_size`` in bytes. ``options``: the target's own, by the names in its
    documentation (``cmd_time_out`` for TCMU; ``on_free_cmd_type`` and ``memory_reuse_type`` for
    scst_user; ``bstype``, and our own ``backing``, for tgt); an unknown one raises WrongUsageError.

    ``handler``: on SCST a device handler, by its name in sysfs; on LIO "iblock" for a block device;
    tgt ignores it. The default, "scst_user", means the target's own backend on every target.
    ``disk``: the storage of a block device below such a handler (targets.storage.BELOW).
    ``threads``: number of scst_user's threads that fetch commands; ``multi``: whether each fetches
    several at a time. ``siblings``: devices of the same backend process, each exported as the next
    LUN of the same target. ``targets``: number of targets that export it, each with the same LUNs.
    ``luns``: further LUNs of the device under test itself. ``group``: the initiator group that has
    the LUNs, "" for LUNs that every initiator sees. ``session``: keys that those targets negotiate
    with an initiator (RFC 7143), and their timeouts in seconds, by the names of iSCSI-SCST's
    README; a key that the target does not have is refused.
    """

    name: str = "stf0"
    size: int = 16 << 20
    block_size: int = 512
    options: Mapping[str, str | int] = field(default_factory=dict)
    handler: str = "scst_user"
    disk: str = "loop"
    threads: int = 1
    multi: bool = False
    siblings: tuple[Device, ...] = ()
    targets: int = 1
    luns: tuple[int, ...] = ()
    group: str = ""
    session: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def family(self) -> tuple[Device, ...]:
        """The device under test and its siblings: the devices of one backend."""
        return (self, *self.siblings)

    def layout(self) -> Mapping[int, str]:
        """Return the names of the devices by LUN: the one under test is LUN 0."""
        by_lun = {lun: device.name for lun, device in enumerate(self.family)}
        clash = sorted(set(by_lun) & set(self.luns))
        if clash:
            raise WrongUsageError(f"LUN {clash[0]} of {self.name} is {by_lun[clash[0]]} already")
        return {**by_lun, **dict.fromkeys(self.luns, self.name)}


def device_of(choice: DeviceChoice) -> Device:
    """Return the device for a trait's choice."""
    handler = Device.handler if choice.handler is None else choice.handler
    return Device(handler=handler, options=choice.options)


DIGESTS = ("HeaderDigest", "DataDigest")
"""Keys of a session (RFC 7143 13.1)."""


@dataclass(frozen=True)
class Address:
    """The address of a disk for an initiator.

    Over iSCSI: ``portal`` ("127.0.0.1:3260") and ``iqn``. By loopback: ``scsi_host``, the number of
    the SCSI host that appeared. ``lun``: the LUN's number. ``vendor``, ``serial``: INQUIRY's vendor
    identification and the Unit Serial Number page (SPC-4 7.8.18), which identify the disk;
    ``serial`` None when the target sets none. ``size``, ``block_size``: of the deployed device, in
    bytes; None where they are not known.
    """

    transport: Transport
    lun: int
    vendor: str
    serial: str | None
    portal: str | None = None
    iqn: str | None = None
    scsi_host: int | None = None
    size: int | None = None
    block_size: int | None = None


ISCSI_PORT = 3260
"""The well-known port (RFC 7143 15)."""


def portal_of(machine: Machine) -> str:
    """Return the portal of a machine's targets, "address:port"."""
    return f"{machine.address}:{ISCSI_PORT}"


class Deployment(DeployedDevice, Protocol):
    """One deployed device with its backend; ``remove`` undoes the whole deployment."""

    @property
    def machine(self) -> Machine:
        """The machine of the deployment."""

    @property
    def address(self) -> Address:
        """The initiator's address of the device under test."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The initiator's addresses of every LUN of every target, ``address`` first."""

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of the operations that ``begin`` accepts."""

    @property
    def kernel_threads(self) -> tuple[str, ...]:
        """Names of the target's kernel threads, as prefixes of their comm (15 characters)."""

    def views(self) -> Mapping[str, str | Sequence[str]]:
        """Return the target's view of itself, as evidence of a stall.

        By name: a text, or the files on the machine that hold it, as glob patterns. Files
        whose reading may block get a name of their own: those of one name are read in turn.
        """

    def unfetched(self) -> int:
        """Return the number of commands that wait for the backend's first fetch."""

    def died(self) -> str:
        """Return a description of the end of a daemon that nobody ended; "" if there was none."""

    def remove(self) -> None:
        """Undo the deployment, in any state that a fault left it in; the initiator has logged out.

        Waits for the end of the deployment's own kernel objects. Raises TargetFailedError.
        """


class Target(Protocol):
    """A SCSI target that can be deployed on a machine."""

    @property
    def name(self) -> str:
        """The name in run.json and known issues."""

    @property
    def traits(self) -> TargetTraits:
        """The differences between this target and others."""

    def describe(self) -> Mapping[str, Any]:
        """Return the target's record for run.json: version, origin."""

    @property
    def tree(self) -> Path | None:
        """A directory that the guest must see at /scst, or None."""

    @property
    def slabs(self) -> tuple[str, ...]:
        """Names of its slab caches, whose objects are counted.

        Caches missing in a kernel are ignored.
        """

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of its kernel modules, as in /sys/module."""

    @property
    def programs(self) -> tuple[str, ...]:
        """Paths on the machine of its daemons and tools, which identify it with its modules.

        Without those of ``tree``, which are recorded before anything boots.
        """

    def check(self, release: str) -> None:
        """Raise WrongUsageError when the target is not available on a kernel release."""

    def load(self, machine: Machine) -> None:
        """Load the kernel modules and start the daemons (part of the snapshot)."""

    def deploy(
        self, machine: Machine, device: Device, transport: Transport, ladder: Ladder,
        recorder: Recorder,
    ) -> Deployment:
        """Deploy a device with its backend.

        Raises TargetFailedError, and then leaves nothing behind.
        """

    def unload(self, machine: Machine, ladder: Ladder) -> None:
        """Stop the daemons and unload the modules. Raises TargetFailedError when one stays."""
