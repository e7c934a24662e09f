# SPDX-License-Identifier: GPL-2.0-or-later
"""The block device below an in-kernel handler, which can hold I/O, and fail.

It consists of a file, a loop device on it, and a stack of three device-mapper devices. In place of
file and loop device it may have a SCSI disk in memory (scsi_debug), which returns sense data of its
own, and is subject to the kernel's error handling. The target opens the *front*, whose counts give
the I/Os in flight; those of dm-delay do not include the I/Os that it holds (observed on 6.1). Below
it the *gate* passes everything, or holds new I/O (dm-delay). The lowest, the *disk*, is healthy
(linear) or has one of the failures in FAILURES, which may be a SCSI disk's. So I/O held at the
gate meets the failure when it is released. A device's map is replaced while the device is open
(Documentation/admin-guide/device-mapper; ``dmsetup`` load, suspend, resume); I/O held by dm-delay
continues when its map is replaced (delay_presuspend, drivers/md/dm-delay.c).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from inject.waiting import wait_until
from results.errors import TargetFailedError, WrongUsageError
from results.history import Recorder
from targets.machine import Machine
from targets.operation import Begun
from targets.target import Device

MODULES = ("loop", "dm_mod", "dm_delay", "dm_flakey")

SECTOR = 512
"""Bytes of device-mapper's unit of length, for any block size of the device."""

FOR_EVER = 600_000
"""Milliseconds for which dm-delay holds: until its map is replaced."""

SLOW = 1000
"""Milliseconds by which a slow disk is late: less than the initiator's shortest timer (2 s)."""

WELL = "linear {below} 0"

HOLDS: Mapping[str | None, str] = {
    "write": f"delay {{below}} 0 0 {{below}} 0 {FOR_EVER}",
    "read": f"delay {{below}} 0 {FOR_EVER} {{below}} 0 0",
    None: f"delay {{below}} 0 {FOR_EVER}",
}
"""Maps of a gate that holds, by the direction of the held I/O: the first delay is that of READs,
the second, if there is one, that of WRITEs."""

SCSI_TIMER = 1
"""Seconds of a SCSI disk's command timer, after which the kernel aborts and retries the command, at
most five times (SD_MAX_RETRIES, drivers/scsi/sd.h), and of its error handling's commands."""

MET = 4
"""Number of I/Os that must have met a failure before its operation counts as done."""


@dataclass(frozen=True)
class Counts:
    """I/Os that have ended, and those in flight (Documentation/ABI/stable/sysfs-block)."""

    reads: int
    writes: int
    reads_in_flight: int
    writes_in_flight: int

    @classmethod
    def of(cls, stat: str, inflight: str) -> Counts:
        """Return the counts of a block device's ``stat`` and ``inflight``."""
        numbers = [int(word) for word in stat.split()]
        reads, writes = map(int, inflight.split())
        return cls(numbers[0], numbers[4], reads, writes)

    def in_flight(self, direction: str | None) -> int:
        """Return the number of READs, WRITEs or both (None) in flight."""
        both = {"read": self.reads_in_flight, "write": self.writes_in_flight}
        return sum(both.values()) if direction is None else both[direction]


@dataclass(frozen=True)
class DiskFailure:
    """A map of the disk that makes it fail; None: the disk is suspended with its old map.

    ``met(before, now)``: the number of I/Os that have met the failure; the arguments are the
    front's counts when it began and at present. ``opts``: value of scsi_debug's ``opts`` for
    failures of a SCSI disk; the map stays as it is.
    """

    map: str | None
    met: Callable[[Counts, Counts], int]
    opts: int = 0


def _reads(before: Counts, now: Counts) -> int:
    return now.reads - before.reads


def _writes(before: Counts, now: Counts) -> int:
    return now.writes - before.writes


def _any(before: Counts, now: Counts) -> int:
    return _reads(before, now) + _writes(before, now)


def _in_flight(_before: Counts, now: Counts) -> int:
    return now.in_flight(None)


DOWN = "0 3600"
"""Intervals of dm-flakey: it fails from the first second on, for an hour."""

FAILURES: Mapping[str, DiskFailure] = {
    "storage-error": DiskFailure("error", _any),
    "storage-error-writes": DiskFailure(f"flakey {{below}} 0 {DOWN} 1 error_writes", _writes),
    # dm-flakey has error_reads since Linux 6.5; dm-delay can send READs to a device of their own.
    "storage-error-reads": DiskFailure("delay {dead} 0 0 {below} 0 0", _reads),
    "storage-drop-writes": DiskFailure(f"flakey {{below}} 0 {DOWN} 1 drop_writes", _writes),
    "storage-corrupt-writes": DiskFailure(
        f"flakey {{below}} 0 {DOWN} 5 corrupt_bio_byte 1 w 0 0", _writes),
    "storage-slow": DiskFailure(f"delay {{below}} 0 {SLOW}", _any),
    "storage-stall": DiskFailure(f"delay {{below}} 0 {FOR_EVER}", _in_flight),
    "storage-suspend": DiskFailure(None, _in_flight),
    "storage-medium-error": DiskFailure(WELL, _reads, opts=0x2),
    "storage-ignores": DiskFailure(WELL, _in_flight, opts=0x4),
    "storage-recovered-error": DiskFailure(WELL, _any, opts=0x8),
}
"""Failures by the names of the operations that begin them.

Those with ``opts`` are of a SCSI disk: every command meets them (SDEBUG_OPT_MEDIUM_ERR, _TIMEOUT,
_RECOVERED_ERR, drivers/scsi/scsi_debug.c; the first affects READs).
"""

LOOP, SCSI_DEBUG = "loop", "scsi_debug"
"""The storage of the disk's data (Device.disk)."""

DEBUG = "/sys/bus/pseudo/drivers/scsi_debug"


@dataclass(frozen=True)
class Mapped:
    """One device of device-mapper.

    ``node``: the kernel's name for it. ``words``: values of the words in braces in its maps.
    """

    machine: Machine
    name: str
    node: str
    sectors: int
    words: Mapping[str, str]

    @property
    def path(self) -> str:
        """Path of the device node."""
        return f"/dev/{self.node}"

    def change(self, new: str | None, deadline: float) -> None:
        """Replace its map; None: suspend it until it gets another one.

        I/O in flight ends first, by the old map. Raises TargetFailedError.
        """
        suspend = f"dmsetup suspend --nolockfs --noflush {self.name}"
        if new is None:
            run(self.machine, suspend, deadline)
        else:
            run(self.machine,
                f"dmsetup load {self.name} --table {table(self.sectors, new, self.words)}; "
                f"{suspend}; dmsetup resume {NO_UDEV} {self.name}", deadline)

    def counts(self) -> Counts:
        """Return the counts of its I/Os."""
        device = f"/sys/class/block/{self.node}"
        return Counts.of(self.machine.read(f"{device}/stat"),
                         self.machine.read(f"{device}/inflight"))


NO_UDEV = "--noudevrules --noudevsync"
"""The guest has no udev: the kernel makes the nodes, by its own names."""


def run(machine: Machine, script: str, deadline: float) -> str:
    """Run a shell script and return its output. Raises TargetFailedError."""
    return machine.run(["sh", "-ec", script], deadline=deadline).stdout.strip()


def table(sectors: int, new: str, words: Mapping[str, str]) -> str:
    """Return a map in dmsetup's syntax, in quotes."""
    return shlex.quote(f"0 {sectors} {new.format_map(words)}")


@dataclass
class Storage:
    """The storage of a target's handler (a targets.backend.absent.Gate).

    ``scsi``: whether its data are on a SCSI disk.
    """

    front: Mapped
    gate: Mapped
    disk: Mapped
    scsi: bool = False
    holds: str | None = None

    @property
    def path(self) -> str:
        """The path that the target opens."""
        return self.front.path

    def hold(self, direction: str | None, deadline: float) -> None:
        """Hold new I/O: READs, WRITEs, or both (None). Raises TargetFailedError."""
        self.gate.change(HOLDS[direction], deadline)
        self.holds = direction

    def held(self) -> int:
        """Return the number of I/Os in flight in the held direction."""
        return self.front.counts().in_flight(self.holds)

    def release(self, deadline: float) -> None:
        """Release all held I/O to the disk. Raises TargetFailedError."""
        self.gate.change(WELL, deadline)

    def fail(self, name: str, deadline: float) -> Failing:
        """Make the disk fail; I/O in flight ends before the disk gets another map."""
        failure = FAILURES[name]
        before = self.front.counts()
        if failure.opts:
            self.disk.machine.write(f"{DEBUG}/opts", str(failure.opts), deadline=deadline)
        else:
            self.disk.change(failure.map, deadline)
        return Failing(self, failure, before)

    def heal(self, deadline: float) -> None:
        """Heal the disk. Raises TargetFailedError."""
        if self.scsi:
            self.disk.machine.write(f"{DEBUG}/opts", "0", deadline=deadline)
        self.disk.change(WELL, deadline)

    @property
    def failures(self) -> list[str]:
        """The failures that this disk can have."""
        return [name for name, failure in FAILURES.items() if self.scsi or not failure.opts]


@dataclass(frozen=True)
class Failing:
    """A failure that was begun (a targets.operation.Work).

    It is done when enough I/Os have met it.
    """

    storage: Storage
    failure: DiskFailure
    before: Counts

    @property
    def done(self) -> bool:
        """Whether the required number of I/Os has met the failure."""
        return self.failure.met(self.before, self.storage.front.counts()) >= MET

    def waits(self) -> bool:
        """Return True: the failure waits for I/Os that meet it, also for those held at the gate."""
        return True

    def finish(self, deadline: float) -> None:
        """Wait until the failure is met. Raises TargetFailedError when it is not."""
        if not wait_until(lambda: self.done, deadline):
            raise TargetFailedError(f"no {MET} I/Os met the failure in {deadline:g} s: there were "
                                    f"{self.before}, there are {self.storage.front.counts()}")


PARTS = ("", "-gate", "-disk", "-dead")
"""Suffixes of the devices' names, from the front downwards; the last is a device on which every
I/O fails: an unreadable disk sends READs to it."""

MAKE = f"""
make() {{{{
    dmsetup create {NO_UDEV} "{{name}}$1" --table "0 {{sectors}} $2"
    dmsetup info -c --noheadings -o blkdevname "{{name}}$1"
}}}}
{{below}}
dead=$(make -dead error)
disk=$(make -disk "linear $below 0")
gate=$(make -gate "linear /dev/$disk 0")
front=$(make "" "linear /dev/$gate 0")
echo $below $dead $disk $gate $front
"""

BELOW: Mapping[str, str] = {
    LOOP: """
truncate -s {size} {medium}
below=$(losetup -f --show -b {block_size} {medium})
""",
    # Loaded once: its data must outlive the deployment. ``opts`` applies to every command
    # (every_nth).
    SCSI_DEBUG: f"""
[ -d {DEBUG} ] || modprobe scsi_debug dev_size_mb=$(( ({{size}} + 1048575) >> 20 )) \\
    sector_size={{block_size}} every_nth=1 \\
    medium_error_start=0 medium_error_count=$(( {{size}} / {{block_size}} ))
disk=$(ls -d {DEBUG}/adapter0/host*/target*/*:0:0:0)
for each in $(seq 100); do [ -d $disk/block ] && break; sleep 0.1; done
echo {SCSI_TIMER} > $disk/timeout; echo {SCSI_TIMER} > $disk/eh_timeout
below=/dev/$(ls $disk/block)
""",
}
"""Scripts that make the storage, by Device.disk."""

UNMAKE = f"""
for each in {{names}}; do
    ! dmsetup info $each > /dev/null 2>&1 || dmsetup remove {NO_UDEV} $each
done
for loop in $(losetup -j {{medium}} -n -O NAME); do losetup -d $loop; done
"""


def prepare(machine: Machine, device: Device, deadline: float) -> None:
    """Make the storage that must exist before a deployment and outlive it: scsi_debug's SCSI disk.

    Does nothing for other storage. Raises TargetFailedError.
    """
    if device.disk == SCSI_DEBUG:
        run(machine, _below(device), deadline)


def _below(device: Device, medium: str = "") -> str:
    """Return the script that makes the storage below a device's disk."""
    return BELOW[device.disk].format(
        size=device.size, medium=medium, block_size=device.block_size)


def make_storage(
    machine: Machine, device: Device, medium: str, undo: ExitStack, deadline: float,
) -> Storage:
    """Make a device's storage, over the file ``medium`` or a SCSI disk, which outlive it.

    Its removal is put on ``undo``. Raises TargetFailedError, WrongUsageError.
    """
    if device.disk not in BELOW:
        raise WrongUsageError(f"there is no disk {device.disk!r}, only {', '.join(BELOW)}")
    machine.modprobe(*MODULES)
    name, sectors = f"stf-{device.name}", device.size // SECTOR
    undo.callback(run, machine, UNMAKE.format(
        names=" ".join(f"{name}{part}" for part in PARTS), medium=medium), deadline)
    below, dead, disk, gate, front = run(machine, MAKE.format(
        name=name, sectors=sectors, below=_below(device, medium)), deadline).split()

    def mapped(part: str, node: str, on: str) -> Mapped:
        return Mapped(machine, f"{name}{part}", node, sectors,
                      {"below": on, "dead": f"/dev/{dead}"})

    return Storage(mapped("", front, f"/dev/{gate}"), mapped("-gate", gate, f"/dev/{disk}"),
                   mapped("-disk", disk, below), scsi=device.disk == SCSI_DEBUG)


def operations(
    machine: Machine, recorder: Recorder, storage: Storage, deadline: float,
) -> Mapping[str, Callable[[], Begun]]:
    """Return the functions that begin each failure, by name.

    ``deadline``: seconds that a step may take.
    """
    def begin(name: str) -> Begun:
        return Begun(name, machine, recorder, storage.fail(name, deadline), storage.heal)

    return {name: partial(begin, name) for name in storage.failures}
