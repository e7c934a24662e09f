# SPDX-License-Identifier: GPL-2.0-or-later
"""SCST's target drivers, which export devices to an initiator: iSCSI-SCST and scst_local.

Both make targets for each deployment, so that no part of it outlives it: the SCSI host of
scst_local, and its disks, go with scst_local's target.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from inject.waiting import wait_until
from results.errors import TargetFailedError
from targets.machine import Machine
from targets.scst.sysfs import TARGETS, is_busy, write
from targets.target import Transport, portal_of

IQN = "iqn.2026-01.org.scsi-target-faults:scst"
LUN = 0
"""SCST requires LUN 0 in every target (README, "Target drivers")."""

EVERYBODY = "*"
"""Pattern for all initiators in a group: SCST compares names with wildcards (README, "Access
control")."""


@dataclass(frozen=True)
class Layout:
    """The exports of a target: names of devices by LUN, to ``group`` ("": to all initiators).

    ``session``: a target's attributes, by the names of iSCSI-SCST's README.
    """

    luns: Mapping[int, str]
    group: str = ""
    session: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Export:
    """A target that was made: its driver, name, layout, and address for an initiator.

    ``session``: the name of scst_local's session; None over iSCSI, where initiators log in.
    """

    driver: str
    name: str
    layout: Layout
    portal: str | None = None
    iqn: str | None = None
    scsi_host: int | None = None
    session: str | None = None

    @property
    def target(self) -> str:
        """The directory of the target."""
        return f"{TARGETS}/{self.driver}/{self.name}"

    @property
    def group(self) -> str:
        """The directory that holds the LUNs: an initiator group, or the target itself."""
        group = self.layout.group
        return f"{self.target}/ini_groups/{group}" if group else self.target

    @property
    def luns(self) -> str:
        """The directory of the LUNs that the initiator sees."""
        return f"{self.group}/luns"


class Driver(Protocol):
    """Makes a target that exports a layout; puts the undoing on ``undo``."""

    def __call__(
        self, machine: Machine, name: str, layout: Layout, undo: ExitStack, deadline: float
    ) -> Export:
        """Export the layout. Raises TargetFailedError; each step may take ``deadline`` seconds."""


def iscsi(
    machine: Machine, name: str, layout: Layout, undo: ExitStack, deadline: float
) -> Export:
    """Export over iSCSI-SCST."""
    iqn = f"{IQN}.{name}"
    export = Export("iscsi", iqn, layout, portal=portal_of(machine), iqn=iqn)
    _make(machine, export, undo, deadline)
    undo.callback(_disable, machine, export.target, deadline)
    return export


def iscsi_again(machine: Machine, export: Export, deadline: float) -> None:
    """Make a target again that has gone with the daemon.

    The ``undo`` of the first export also removes this one.
    """
    _make(machine, export, ExitStack(), deadline)


def _make(machine: Machine, export: Export, undo: ExitStack, deadline: float) -> None:
    _add_target(machine, export, undo, deadline)
    _add_luns(machine, export, deadline)
    for name, value in export.layout.session.items():
        write(machine, f"{export.target}/{name}", str(value), deadline)
    write(machine, f"{export.target}/enabled", "1", deadline)


def scst_local(
    machine: Machine, name: str, layout: Layout, undo: ExitStack, deadline: float
) -> Export:
    """Export by scst_local; its session is a SCSI host, which scans for LUNs when it is made."""
    target, session = f"scst_local_{name}", f"stf_{name}"
    export = Export("scst_local", target, layout, session=session)
    _add_target(machine, export, undo, deadline)
    _add_luns(machine, export, deadline)
    write(machine, f"{TARGETS}/scst_local/mgmt", f"add_session {target} {session}", deadline)
    host = machine.read(f"{export.target}/sessions/{session}/host_no", deadline=deadline)
    return Export("scst_local", target, layout, scsi_host=int(host), session=session)


def _add_target(machine: Machine, export: Export, undo: ExitStack, deadline: float) -> None:
    if machine.exists(export.target):
        raise TargetFailedError(
            f"{export.target} is there already: an earlier deployment was not removed")
    write(machine, f"{TARGETS}/{export.driver}/mgmt", f"add_target {export.name}", deadline)
    undo.callback(_delete_target, machine, export.driver, export.name, deadline)


def _add_luns(machine: Machine, export: Export, deadline: float) -> None:
    if export.layout.group:
        write(machine, f"{export.target}/ini_groups/mgmt", f"create {export.layout.group}",
              deadline)
        write(machine, f"{export.group}/initiators/mgmt", f"add {EVERYBODY}", deadline)
    for lun, device in sorted(export.layout.luns.items()):
        write(machine, f"{export.luns}/mgmt", f"add {device} {lun}", deadline)


def _disable(machine: Machine, target: str, deadline: float) -> None:
    if machine.exists(target):
        write(machine, f"{target}/enabled", "0", deadline)


def _delete_target(machine: Machine, driver: str, name: str, deadline: float) -> None:
    """Delete a target; close sessions that have not ended after half of the time."""
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
    """Return whether the target could be deleted.

    It cannot while it has sessions, and a session ends some time after its initiator's logout.
    """
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
