"""What a target is to a scenario: something to deploy, to take apart, and to look at."""

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
    """The device a target exports.

    ``size`` and ``block_size`` in bytes. ``options``: the target's own, by the names that its
    documentation uses (``cmd_time_out`` for TCMU; ``on_free_cmd_type`` and
    ``memory_reuse_type`` for scst_user; ``bstype``, and our own ``backing``, for tgt); an unknown
    one raises WrongUsageError.

    ``handler``: SCST's device handler, by its name in sysfs; of LIO "iblock", a block device, or
    what is said by default, TCMU; tgt has one only.
    ``disk``: what a block device below such a handler is on (targets.storage.BELOW).
    ``threads``: of the backend, in the kernel's ioctl. ``multi``: whether it fetches several
    commands at a time. ``siblings``: devices of the same backend process, each exported as the
    next LUN of the same target. ``targets``: how many targets export it, each with the same
    LUNs. ``luns``: further LUNs of the device under test itself. ``group``: the initiator group
    that has the LUNs, "" for those that every initiator sees. ``session``: what
    those targets negotiate with an initiator, by RFC 7143's keys, and how many seconds they wait
    for it, by the names of iSCSI-SCST's README; what a target has none of is refused.
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
    """Return the device that a trait chooses."""
    handler = Device.handler if choice.handler is None else choice.handler
    return Device(handler=handler, options=choice.options)


DIGESTS = ("HeaderDigest", "DataDigest")
"""Keys of a session (RFC 7143 13.1)."""


@dataclass(frozen=True)
class Address:
    """Where an initiator finds the disk.

    Over iSCSI: ``portal`` ("127.0.0.1:3260") and ``iqn``. By loopback: ``scsi_host``, the number
    of the host that appeared. ``lun``. ``vendor``, ``serial``: INQUIRY's vendor
    identification and the Unit Serial Number page (SPC-4 7.8.15), by which the disk is told
    from others; ``serial`` None when the target sets none.
    """

    transport: Transport
    lun: int
    vendor: str
    serial: str | None
    portal: str | None = None
    iqn: str | None = None
    scsi_host: int | None = None


ISCSI_PORT = 3260
"""The well-known port (RFC 7143 14)."""


def portal_of(machine: Machine) -> str:
    """Return where targets on a machine listen, "address:port"."""
    return f"{machine.address}:{ISCSI_PORT}"


class Deployment(DeployedDevice, Protocol):
    """One deployed device with its backend; ``remove`` undoes all of it."""

    @property
    def machine(self) -> Machine:
        """The machine it is deployed on."""

    @property
    def address(self) -> Address:
        """Where the initiator finds the device under test."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it finds all that was deployed: every LUN of every target, ``address`` first."""

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of what ``begin`` can begin."""

    @property
    def kernel_threads(self) -> tuple[str, ...]:
        """Names of the target's kernel threads, as prefixes of their comm (15 characters)."""

    def views(self) -> Mapping[str, str | Sequence[str]]:
        """What the target shows of itself, for the evidence of a stall: by name, a text, or the
        files on the machine that hold it, as glob patterns. What may block has a name of its own.
        """

    def unfetched(self) -> int:
        """How many commands wait for the backend to fetch them for the first time."""

    def remove(self) -> None:
        """Undo the deployment, whatever state a fault left it in; the initiator has logged out.

        The end of the deployment's own kernel objects is waited for. Raises TargetFailedError.
        """


class Target(Protocol):
    """A SCSI target that can be deployed on a machine."""

    @property
    def name(self) -> str:
        """Its name in run.json and known issues."""

    @property
    def traits(self) -> TargetTraits:
        """What differs between it and other targets."""

    def describe(self) -> Mapping[str, Any]:
        """Return what run.json says of it: version, where it came from."""

    @property
    def tree(self) -> Path | None:
        """A directory that the guest must see at /scst, or None."""

    @property
    def slabs(self) -> tuple[str, ...]:
        """Names of its slab caches: how many objects it holds. Those a kernel does not have
        do no harm."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of its kernel modules, as /sys/module has them."""

    def check(self, release: str) -> None:
        """Raise WrongUsageError when it cannot be had on a kernel release."""

    def load(self, machine: Machine) -> None:
        """Load the kernel modules and start the daemons (part of the snapshot)."""

    def deploy(
        self, machine: Machine, device: Device, transport: Transport, ladder: Ladder,
        recorder: Recorder,
    ) -> Deployment:
        """Deploy a device with its backend. Raises TargetFailedError, and then leaves nothing."""

    def unload(self, machine: Machine, ladder: Ladder) -> None:
        """Stop the daemons and unload the modules. Raises TargetFailedError when one stays."""
