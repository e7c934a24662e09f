# SPDX-License-Identifier: GPL-2.0-or-later
"""Orders to tgtd that export a device, and that remove it: one target with one LUN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from targets.machine import Machine
from targets.target import portal_of
from targets.tgt import admin
from targets.tgt.admin import order

TID = 1
LUN = 1
"""LUN 0 is tgtd's own controller, and cannot be deleted (tgt_device_destroy, usr/target.c)."""

IQN = "iqn.2026-01.org.scsi-target-faults:tgt"

VENDOR = "STF"
PRODUCT = "tgt disk"


@dataclass(frozen=True)
class Export:
    """One device's target.

    ``path``: its backing store. ``options``: of the backing store, by tgtadm's names. ``deadline``:
    seconds for each order. ``session``: keys that the target negotiates (RFC 7143).
    """

    machine: Machine
    name: str
    serial: str
    path: str
    block_size: int
    options: tuple[tuple[str, str], ...]
    deadline: float
    session: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def iqn(self) -> str:
        """The target's name."""
        return f"{IQN}.{self.name}"

    @property
    def portal(self) -> str:
        """The target's portal, "address:port"."""
        return portal_of(self.machine)

    def add(self) -> None:
        """Make target, LUN and portal. Raises TargetFailedError."""
        self._give("new", "target", tid=TID, targetname=self.iqn)
        for name, value in self.session.items():
            self._give("update", "target", tid=TID, name=name, value=value)
        self.add_lun()
        self.admit()
        self.add_portal()

    def admit(self) -> None:
        """Allow any initiator to log in."""
        self._give("bind", "target", tid=TID, initiator_address="ALL")

    def shut_out(self) -> None:
        """Forbid logins, and end the existing connections, as ``tgt-admin --force`` does.

        A connection lasts until its commands have ended. Without this, under I/O there might never
        be a moment without an active command, and tgtd deletes a LUN only then.
        """
        self._take("unbind", "target", initiator_address="ALL")
        for sid, cid in admin.connections(self.machine, self.deadline, TID):
            self._take("delete", "conn", sid=sid, cid=cid)

    def add_lun(self) -> None:
        """Make the LUN, with the identity that the initiator expects."""
        self._give("new", "logicalunit", tid=TID, lun=LUN, backing_store=self.path,
                   blocksize=self.block_size, **dict(self.options))
        self._give("update", "logicalunit", tid=TID, lun=LUN, params=",".join((
            f"vendor_id={VENDOR}", f"product_id={PRODUCT}", f"scsi_sn={self.serial}")))

    def set_state(self, state: str) -> None:
        """Make the target accept commands ("ready"), or leave them unanswered ("offline")."""
        self._give("update", "target", tid=TID, name="state", value=state)

    def add_portal(self) -> None:
        """Listen on the portal of initiators."""
        self._give("new", "portal", param=f"portal={self.portal}")

    def delete_portal(self) -> None:
        """Stop listening on the portal of initiators; do nothing if it does not exist."""
        if self.portal in (admin.show(self.machine, self.deadline, "portal") or ""):
            self._give("delete", "portal", param=f"portal={self.portal}")

    def delete_lun(self, deadline: float) -> None:
        """End connections, forbid logins and delete the LUN; do nothing if there is none."""
        self.shut_out()
        admin.give(self.machine, deadline, order("delete", "logicalunit", tid=TID, lun=LUN),
                   insists=admin.LUN_ACTIVE, unless=admin.GONE)

    def delete(self, deadline: float) -> None:
        """Delete portal and target, with its sessions; do nothing if they do not exist."""
        self.delete_portal()
        self.shut_out()
        admin.give(self.machine, deadline, order("delete", "target", tid=TID, force=""),
                   insists=admin.LUN_ACTIVE, unless=admin.GONE)

    def _take(self, op: str, mode: str, **options: str | int) -> None:
        admin.give(self.machine, self.deadline, order(op, mode, tid=TID, **options),
                   unless=admin.GONE)

    def _give(self, op: str, mode: str, **options: str | int) -> None:
        admin.give(self.machine, self.deadline, order(op, mode, **options))
