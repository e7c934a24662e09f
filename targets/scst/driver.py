"""SCST's target drivers: how a device is shown to an initiator, iSCSI-SCST and scst_local.

Both make a target of their own for the deployment, so that nothing of it outlives it: with
scst_local's target the SCSI host and the disk on it go.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from results.errors import TargetFailedError
from targets.machine import Machine
from targets.scst.sysfs import TARGETS, is_busy, wait_until, write
from targets.target import Transport

PORTAL = "127.0.0.1:3260"
IQN = "iqn.2026-01.org.scsi-target-faults:scst"
LUN = 0
"""SCST wants every target to have LUN 0 (README, "Target drivers")."""


@dataclass(frozen=True)
class Export:
    """An exported LUN: the directory of its target, and where an initiator finds it."""

    target: str
    portal: str | None = None
    iqn: str | None = None
    scsi_host: int | None = None

    @property
    def luns(self) -> str:
        """The directory of the LUNs that every initiator sees."""
        return f"{self.target}/luns"


class Driver(Protocol):
    """Exports a device as LUN 0 of a new target; puts its undoing on ``undo``."""

    def __call__(
        self, machine: Machine, device: str, undo: ExitStack, deadline: float
    ) -> Export:
        """Export. Raises TargetFailedError; each step may take ``deadline`` seconds."""


def iscsi(machine: Machine, device: str, undo: ExitStack, deadline: float) -> Export:
    """Export over iSCSI-SCST."""
    iqn = f"{IQN}.{device}"
    target = _target(machine, "iscsi", iqn, undo, deadline)
    write(machine, f"{target}/luns/mgmt", f"add {device} {LUN}", deadline)
    write(machine, f"{target}/enabled", "1", deadline)
    undo.callback(_disable, machine, target, deadline)
    return Export(target, portal=PORTAL, iqn=iqn)


def scst_local(machine: Machine, device: str, undo: ExitStack, deadline: float) -> Export:
    """Export by scst_local; its session is a SCSI host, which scans for LUNs once made."""
    name, session = f"scst_local_{device}", f"stf_{device}"
    target = _target(machine, "scst_local", name, undo, deadline)
    write(machine, f"{target}/luns/mgmt", f"add {device} {LUN}", deadline)
    write(machine, f"{TARGETS}/scst_local/mgmt", f"add_session {name} {session}", deadline)
    host = machine.read(f"{target}/sessions/{session}/host_no", deadline=deadline)
    return Export(target, scsi_host=int(host))


def _target(
    machine: Machine, driver: str, name: str, undo: ExitStack, deadline: float
) -> str:
    target = f"{TARGETS}/{driver}/{name}"
    if machine.exists(target):
        raise TargetFailedError(
            f"{target} is there already: an earlier deployment was not removed")
    write(machine, f"{TARGETS}/{driver}/mgmt", f"add_target {name}", deadline)
    undo.callback(_delete_target, machine, driver, name, deadline)
    return target


def _disable(machine: Machine, target: str, deadline: float) -> None:
    if machine.exists(target):
        write(machine, f"{target}/enabled", "0", deadline)


def _delete_target(machine: Machine, driver: str, name: str, deadline: float) -> None:
    """Delete a target; sessions that have not ended after half of the time are closed."""
    target = f"{TARGETS}/{driver}/{name}"
    if not machine.exists(target):
        return
    delete = partial(_try_to_delete, machine, driver, name, deadline)
    if not wait_until(delete, deadline / 2):
        _close_sessions(machine, target)
        if not wait_until(delete, deadline / 2):
            sessions = machine.listdir(f"{target}/sessions")
            raise TargetFailedError(
                f"{target}: in use for {deadline:g} s by sessions of {', '.join(sessions)}")
    if not wait_until(lambda: not machine.exists(target), deadline):
        raise TargetFailedError(f"{target}: still there {deadline:g} s after it was deleted")


def _try_to_delete(machine: Machine, driver: str, name: str, deadline: float) -> bool:
    """Tell whether it was possible; the end of a session follows its initiator's logout."""
    try:
        write(machine, f"{TARGETS}/{driver}/mgmt", f"del_target {name}", deadline)
    except TargetFailedError as error:
        if not is_busy(error):
            raise
        return False
    return True


def _close_sessions(machine: Machine, target: str) -> None:
    for session in machine.listdir(f"{target}/sessions"):
        with suppress(OSError):  # it has ended meanwhile
            machine.write(f"{target}/sessions/{session}/force_close", "1")


DRIVERS: dict[Transport, Driver] = {
    Transport.ISCSI: iscsi,
    Transport.LOOPBACK: scst_local,
}
