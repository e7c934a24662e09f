# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on a deployed tgt, by name: an administrator's actions under I/O.

Behaviour of tgtd 1.0.85 while four WRITEs are in progress (Debian 12, Linux 6.1 and 6.12):

======================  =========================================================================
operation               result
======================  =========================================================================
lun-delete-in-use       refused, "this logical unit is still active"
lun-delete              executed at the first moment without a command, which under I/O may never
                        come: so sessions are ended first, as tgt-admin does
target-delete-in-use    refused, "this target is still active", as long as there is a session
target-delete-force     refused, "this logical unit is still active", while a command is in
                        progress, with or without sessions; executed at the first moment without
                        one
connection-delete       executed at once; the connection lasts until the commands have ended
target-offline          executed at once; the commands end with GOOD. Commands that come while it is
                        offline are never answered, not even when it is ready again: the
                        initiator's abort ends them (target_cmd_queue, usr/target.c: -EBUSY)
portal-delete           executed at once; existing sessions remain
daemon-term             SIGTERM is ignored (signal_catch, usr/tgtd.c)
daemon-delete           refused, "invalid request", as long as there is a target
daemon-stop             no initiator is notified until it is continued
daemon-kill             it ends when its threads have left the backing store; until then its
                        sockets stay open, and the initiator is not notified
======================  =========================================================================

tgtadm ends with status 22 for every refusal: its message is the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from results.errors import TargetFailedError
from results.history import Recorder
from targets.daemon import Signalled
from targets.machine import Machine
from targets.operation import Begun, Work
from targets.tgt import admin, daemon
from targets.tgt.admin import Given, order
from targets.tgt.export import LUN, TID, Export


@dataclass(frozen=True)
class OperationContext:
    """The context of operations: one export of a daemon."""

    machine: Machine
    export: Export
    recorder: Recorder


@dataclass(frozen=True)
class Operation:
    """One operation.

    ``undo``: heals it within the given seconds, or None. ``ends_device``: whether no LUN is left.
    """

    name: str
    do: Callable[[OperationContext], Work]
    undo: Callable[[OperationContext, float], None] | None = None
    ends_device: bool = False

    def begin(self, context: OperationContext) -> Begun:
        """Begin the operation."""
        work = self.do(context)
        undo = None if self.undo is None else partial(self.undo, context)
        return Begun(self.name, context.machine, context.recorder, work, undo)


def orders(
    op: str, mode: str, refused: str = "", **options: str | int,
) -> Callable[[OperationContext], Work]:
    """Return the function that sends an order."""
    return lambda context: Given(context.machine, order(op, mode, **options), refused)


def signals(
    signal: str, *, ends: bool = False, deaf: bool = False,
) -> Callable[[OperationContext], Work]:
    """Return the function that signals the daemon.

    ``deaf``: whether it need not respond afterwards.
    """
    return lambda context: Signalled(context.machine, daemon.TGTD, signal, ends,
                                     None if deaf else daemon.answers)


def connection_delete(context: OperationContext) -> Work:
    """Delete the first connection. Raises TargetFailedError when there is none."""
    connections = admin.connections(context.machine, daemon.ANSWER, TID)
    if not connections:
        raise TargetFailedError("the target has no connection")
    sid, cid = connections[0]
    return Given(context.machine, order("delete", "conn", tid=TID, sid=sid, cid=cid))


def portal_delete(context: OperationContext) -> Work:
    """Stop listening on the portal of initiators."""
    return Given(context.machine,
                 order("delete", "portal", param=f"portal={context.export.portal}"))


def lun_delete(context: OperationContext) -> Work:
    """Delete the LUN, once sessions are ended and their commands have ended."""
    context.export.shut_out()
    return Given(context.machine, order("delete", "logicalunit", tid=TID, lun=LUN),
                 insists=admin.LUN_ACTIVE)


def lun_add(context: OperationContext, _deadline: float) -> None:
    """Make the LUN again, and allow logins."""
    context.export.add_lun()
    context.export.admit()


def target_delete_force(context: OperationContext) -> Work:
    """Delete the target with its sessions, once it accepts no commands any more."""
    context.export.set_state("offline")
    return Given(context.machine, order("delete", "target", tid=TID, force=""),
                 insists=admin.LUN_ACTIVE)


def respawn(context: OperationContext, deadline: float) -> None:
    """Start a daemon in place of the dead one, with the same target."""
    daemon.start(context.machine, deadline)
    context.export.add()


OPERATIONS: Mapping[str, Operation] = {each.name: each for each in (
    Operation("lun-delete", lun_delete, lun_add, ends_device=True),
    Operation("lun-delete-in-use",
              orders("delete", "logicalunit", refused=admin.LUN_ACTIVE, tid=TID, lun=LUN)),
    Operation("target-delete-in-use",
              orders("delete", "target", refused=admin.TARGET_ACTIVE, tid=TID)),
    Operation("target-delete-force-in-use",
              orders("delete", "target", refused=admin.LUN_ACTIVE, tid=TID, force="")),
    Operation("target-delete-force", target_delete_force, ends_device=True),
    Operation("connection-delete", connection_delete),
    Operation("target-offline",
              orders("update", "target", tid=TID, name="state", value="offline"),
              lambda context, _: context.export.set_state("ready")),
    Operation("portal-delete", portal_delete,
              lambda context, _: context.export.add_portal()),
    Operation("daemon-term", signals("TERM")),
    Operation("daemon-delete", orders("delete", "sys", refused=admin.INVALID)),
    Operation("daemon-stop", signals("STOP", deaf=True),
              lambda context, _: daemon.TGTD.send(context.machine, "CONT")),
    Operation("daemon-kill", signals("KILL", ends=True), respawn),
)}


def table(context: OperationContext) -> Mapping[str, Callable[[], Begun]]:
    """Return the functions that begin each operation, by name."""
    return {name: partial(each.begin, context) for name, each in OPERATIONS.items()}
