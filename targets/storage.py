"""The block device below a handler in the kernel, which can be held, and fail.

A file, a loop device on it, and three devices of device-mapper's one upon the other; or, in place
of file and loop device, a SCSI disk in memory (scsi_debug), which answers with sense data of its
own, and is under the kernel's own error handling. The target opens the *front*, whose counts say
what is in flight; dm-delay's own say nothing of what it holds (seen on 6.1). Below it the *gate*
lets everything pass, or holds what comes (dm-delay). The lowest, the *disk*, is well (linear) or
has one of ILLNESSES, which may be the SCSI disk's. So what was held at the gate meets the illness
when it is let go. A device's map is replaced under whoever has it open
(Documentation/admin-guide/device-mapper; ``dmsetup`` load, suspend, resume); what dm-delay holds
goes on when its map is replaced (delay_presuspend, drivers/md/dm-delay.c).
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
"""Bytes of device-mapper's unit of length, whatever the device's blocks are."""

FOR_EVER = 600_000
"""Milliseconds for which dm-delay holds: until its map is replaced."""

SLOW = 1000
"""Milliseconds by which a slow disk is late: less than any timer of the initiator's."""

WELL = "linear {below} 0"

HOLDS: Mapping[str | None, str] = {
    "write": f"delay {{below}} 0 0 {{below}} 0 {FOR_EVER}",
    "read": f"delay {{below}} 0 {FOR_EVER} {{below}} 0 0",
    None: f"delay {{below}} 0 {FOR_EVER}",
}
"""Maps of a gate that holds, by the direction of what it holds: the first delay is that of READs,
the second, if there is one, of WRITEs."""

SCSI_TIMER = 1
"""Seconds that a SCSI disk has for a command before the kernel aborts it and tries again, five
times at most (SD_MAX_RETRIES, drivers/scsi/sd.h), and for what error handling asks of it."""

FELT = 4
"""I/Os that have to have met an illness before it counts as having broken out."""


@dataclass(frozen=True)
class Counts:
    """I/Os that have ended, and those in flight (Documentation/ABI/stable/sysfs-block)."""

    reads: int
    writes: int
    reads_in_flight: int
    writes_in_flight: int

    @classmethod
    def of(cls, stat: str, inflight: str) -> Counts:
        """Read a block device's ``stat`` and ``inflight``."""
        numbers = [int(word) for word in stat.split()]
        reads, writes = map(int, inflight.split())
        return cls(numbers[0], numbers[4], reads, writes)

    def in_flight(self, direction: str | None) -> int:
        """Return how many READs, WRITEs or both (None) are in flight."""
        both = {"read": self.reads_in_flight, "write": self.writes_in_flight}
        return sum(both.values()) if direction is None else both[direction]


@dataclass(frozen=True)
class Illness:
    """A map of the disk, None: it is suspended as it is. ``felt``: how many I/Os have met it,
    from the front's counts at its beginning and now. ``opts``: of a SCSI disk's own, that of
    scsi_debug; its map stays as it is."""

    map: str | None
    felt: Callable[[Counts, Counts], int]
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
"""dm-flakey's intervals: it is down from the first second on, for an hour."""

ILLNESSES: Mapping[str, Illness] = {
    "storage-error": Illness("error", _any),
    "storage-error-writes": Illness(f"flakey {{below}} 0 {DOWN} 1 error_writes", _writes),
    # dm-flakey's error_reads came with Linux 6.5; dm-delay has a device for READs of its own.
    "storage-error-reads": Illness("delay {dead} 0 0 {below} 0 0", _reads),
    "storage-drop-writes": Illness(f"flakey {{below}} 0 {DOWN} 1 drop_writes", _writes),
    "storage-corrupt-writes": Illness(
        f"flakey {{below}} 0 {DOWN} 5 corrupt_bio_byte 1 w 0 0", _writes),
    "storage-slow": Illness(f"delay {{below}} 0 {SLOW}", _any),
    "storage-stall": Illness(f"delay {{below}} 0 {FOR_EVER}", _in_flight),
    "storage-suspend": Illness(None, _in_flight),
    "storage-medium-error": Illness(WELL, _reads, opts=0x2),
    "storage-ignores": Illness(WELL, _in_flight, opts=0x4),
    "storage-recovered-error": Illness(WELL, _any, opts=0x8),
}
"""By the names of the operations that begin them. Those with ``opts`` are a SCSI disk's: every
command meets them (SDEBUG_OPT_MEDIUM_ERR, _TIMEOUT, _RECOVERED_ERR, drivers/scsi/scsi_debug.c; the
first is of READs)."""

LOOP, SCSI_DEBUG = "loop", "scsi_debug"
"""What the disk's data are on (Device.disk)."""

DEBUG = "/sys/bus/pseudo/drivers/scsi_debug"


@dataclass(frozen=True)
class Mapped:
    """One device of device-mapper's. ``node``: the kernel's name of it. ``words``: what those in
    braces stand for in its maps."""

    machine: Machine
    name: str
    node: str
    sectors: int
    words: Mapping[str, str]

    @property
    def path(self) -> str:
        """Where it can be opened."""
        return f"/dev/{self.node}"

    def change(self, new: str | None, deadline: float) -> None:
        """Replace its map; None: suspend it, until it is given another one.

        What is in flight ends first, by the old map. Raises TargetFailedError.
        """
        suspend = f"dmsetup suspend --nolockfs --noflush {self.name}"
        if new is None:
            run(self.machine, suspend, deadline)
        else:
            run(self.machine,
                f"dmsetup load {self.name} --table {table(self.sectors, new, self.words)}; "
                f"{suspend}; dmsetup resume {NO_UDEV} {self.name}", deadline)

    def counts(self) -> Counts:
        """Count its I/Os."""
        device = f"/sys/class/block/{self.node}"
        return Counts.of(self.machine.read(f"{device}/stat"),
                         self.machine.read(f"{device}/inflight"))


NO_UDEV = "--noudevrules --noudevsync"
"""There is none on the guest: the kernel makes the nodes, by its own names."""


def run(machine: Machine, script: str, deadline: float) -> str:
    """Run a shell script and return what it prints. Raises TargetFailedError."""
    return machine.run(["sh", "-ec", script], deadline=deadline).stdout.strip()


def table(sectors: int, new: str, words: Mapping[str, str]) -> str:
    """Return a map as dmsetup takes it, in quotes."""
    return shlex.quote(f"0 {sectors} {new.format_map(words)}")


@dataclass
class Storage:
    """What a target's handler has below it (a targets.backend.absent.Gate). ``scsi``: whether its
    data are on a SCSI disk."""

    front: Mapped
    gate: Mapped
    disk: Mapped
    scsi: bool = False
    holds: str | None = None

    @property
    def path(self) -> str:
        """What the target opens."""
        return self.front.path

    def hold(self, direction: str | None, deadline: float) -> None:
        """Hold what comes: READs, WRITEs, or both (None). Raises TargetFailedError."""
        self.gate.change(HOLDS[direction], deadline)
        self.holds = direction

    def held(self) -> int:
        """How many I/Os are in flight of those that are to be held."""
        return self.front.counts().in_flight(self.holds)

    def release(self, deadline: float) -> None:
        """Let all that is held go on to the disk. Raises TargetFailedError."""
        self.gate.change(WELL, deadline)

    def fall_ill(self, name: str, deadline: float) -> Outbreak:
        """Give the disk an illness; before another map, what it has in flight ends."""
        illness = ILLNESSES[name]
        before = self.front.counts()
        if illness.opts:
            self.disk.machine.write(f"{DEBUG}/opts", str(illness.opts), deadline=deadline)
        else:
            self.disk.change(illness.map, deadline)
        return Outbreak(self, illness, before)

    def heal(self, deadline: float) -> None:
        """Have the disk be well. Raises TargetFailedError."""
        if self.scsi:
            self.disk.machine.write(f"{DEBUG}/opts", "0", deadline=deadline)
        self.disk.change(WELL, deadline)

    @property
    def illnesses(self) -> list[str]:
        """What it can have."""
        return [name for name, illness in ILLNESSES.items() if self.scsi or not illness.opts]


@dataclass(frozen=True)
class Outbreak:
    """An illness that has been given (a targets.operation.Work). It ends when it is felt."""

    storage: Storage
    illness: Illness
    before: Counts

    @property
    def done(self) -> bool:
        """Whether as many I/Os as it takes have met it."""
        return self.illness.felt(self.before, self.storage.front.counts()) >= FELT

    def waits(self) -> bool:
        """It waits for I/Os that meet it: those that are held at the gate, too."""
        return True

    def finish(self, deadline: float) -> None:
        """Wait until it is felt. Raises TargetFailedError when it is not."""
        if not wait_until(lambda: self.done, deadline):
            raise TargetFailedError(f"no {FELT} I/Os met it in {deadline:g} s: there were "
                                    f"{self.before}, there are {self.storage.front.counts()}")


PARTS = ("", "-gate", "-disk", "-dead")
"""Of the devices' names, from the front downwards, and what an unreadable disk reads from."""

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
    # Loaded once: its data are to outlive the deployment. What opts says is of every command
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
"""By Device.disk, what makes it."""

UNMAKE = f"""
for each in {{names}}; do
    ! dmsetup info $each > /dev/null 2>&1 || dmsetup remove {NO_UDEV} $each
done
for loop in $(losetup -j {{medium}} -n -O NAME); do losetup -d $loop; done
"""


def prepare(machine: Machine, device: Device, deadline: float) -> None:
    """Have what outlives a deployment be there before it: a SCSI disk, to which SCST attaches.

    Raises TargetFailedError.
    """
    if device.disk == SCSI_DEBUG:
        run(machine, _below(device), deadline)


def _below(device: Device, medium: str = "") -> str:
    """Return the script that makes what a device's disk is on."""
    return BELOW[device.disk].format(
        size=device.size, medium=medium, block_size=device.block_size)


def make_storage(
    machine: Machine, device: Device, medium: str, undo: ExitStack, deadline: float,
) -> Storage:
    """Make what is below a device, over the file ``medium`` or a SCSI disk, which outlive it; put
    its removal on ``undo``. Raises TargetFailedError, WrongUsageError."""
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
    """Return what begins each illness, by name. ``deadline``: seconds that a step may take."""
    def begin(name: str) -> Begun:
        return Begun(name, machine, recorder, storage.fall_ill(name, deadline), storage.heal)

    return {name: partial(begin, name) for name in storage.illnesses}
