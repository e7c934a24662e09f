# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on a deployed SCST, by name: an administrator's actions under I/O.

Most are one write to SCST's tree, given here as a template of its path and its text. If one changes
the target, a second write undoes it. ``OperationContext.words`` gives the values of the words in
braces.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from results.errors import TargetFailedError
from results.history import Recorder
from results.ladder import Ladder
from targets.daemon import Signalled
from targets.machine import Machine
from targets.operation import Begun, Program
from targets.scst import daemon, sysfs
from targets.scst.daemon import SCSTD
from targets.scst.driver import LUN, Export, iscsi_again
from targets.scst.handlers import SPARE, VDISKS, add_spare, delete_spare
from targets.scst.sysfs import DEVICES, HANDLERS, SCST, TARGETS

FREE_LUN = 200
"""A LUN that no layout uses; below SCST_MAX_LUN, and representable in a single byte."""

MGMT = "{luns}/mgmt"

COPY_MGMT = f"{TARGETS}/copy_manager/copy_manager_tgt/luns/mgmt"
"""LUNs of the devices that EXTENDED COPY may use: vdisk's from the beginning, others by order
(README of SCST)."""

@dataclass(frozen=True)
class OperationContext:
    """The context of operations: one export of a device on a machine."""

    machine: Machine
    export: Export
    device: str
    handler: str
    ladder: Ladder
    recorder: Recorder

    def words(self) -> dict[str, str]:
        """Return the values of the templates' words."""
        export = self.export
        return {
            "scst": SCST, "driver": f"{TARGETS}/{export.driver}", "target": export.target,
            "name": export.name, "group": export.group, "luns": export.luns, "lun": str(LUN),
            "free": str(FREE_LUN), "dev": f"{DEVICES}/{self.device}", "device": self.device,
            "handler": f"{HANDLERS}/{self.handler}", "spare": SPARE,
            "session": export.session or "", "initiator": self.initiator(),
            "second": self.second_lun(), "suspended": str(max(1, int(self.ladder.teardown))),
        }

    def second_lun(self) -> str:
        """Return the device's second LUN, "none" when it has only one."""
        luns = [lun for lun, name in sorted(self.export.layout.luns.items())
                if name == self.device]
        return str(luns[1]) if len(luns) > 1 else "none"

    def initiator(self) -> str:
        """Return the name of the first session's directory, "none" when there is no session."""
        return next(iter(self.machine.listdir(f"{self.export.target}/sessions")), "none")

    def write(self, path: str, text: str, deadline: float) -> None:
        """Write by templates and wait for the end. Raises TargetFailedError."""
        words = self.words()
        sysfs.write(self.machine, path.format_map(words), text.format_map(words), deadline)


Undo = tuple[str, str] | Callable[[OperationContext, float], None] | None


@dataclass(frozen=True)
class Order:
    """One write.

    ``undo``: (path, text) of the write that undoes it, or a function that undoes it, or None.

    ``drivers``: the target drivers that it applies to. ``handlers``: the device handlers; empty:
    all. ``gone``: a path that SCST removes before it begins to wait. ``refused``: the
    errno with which it has to fail, at once; None: it has to succeed. ``spare``: whether it needs a
    second device, which is made first and removed with the undo. ``ends_device``: whether the
    initiator loses the device for good, unless the operation is undone.
    """

    name: str
    path: str
    text: str
    undo: Undo = None
    drivers: tuple[str, ...] = ("iscsi", "scst_local")
    handlers: tuple[str, ...] = ()
    gone: str | None = None
    refused: int | None = None
    spare: bool = False
    ends_device: bool = False

    def applies(self, context: OperationContext) -> bool:
        """Return whether the deployment has the path that the operation writes to."""
        return (context.export.driver in self.drivers
                and (not self.handlers or context.handler in self.handlers))

    def begin(self, context: OperationContext) -> Begun:
        """Begin the write."""
        if self.spare:
            add_spare(context.machine, context.ladder.step)
        words = context.words()
        work = sysfs.start(context.machine, self.path.format_map(words),
                           self.text.format_map(words), self._waiting(context), self.refused)
        return Begun(self.name, context.machine, context.recorder, work,
                     partial(self._heal, context))

    def _waiting(self, context: OperationContext) -> Callable[[], bool] | None:
        if self.gone is None:
            return None
        path = self.gone.format_map(context.words())
        return lambda: not context.machine.exists(path)

    def _heal(self, context: OperationContext, deadline: float) -> None:
        if callable(self.undo):
            self.undo(context, deadline)
        elif self.undo is not None:
            context.write(*self.undo, deadline)
        if self.spare:
            delete_spare(context.machine, deadline)


@dataclass(frozen=True)
class Change:
    """A change of an attribute; the undo restores the attribute's old value.

    ``value``: the new value as a function of the old one. ``handlers``: the device handlers that
    have the attribute; handlers with threads of their own, such as scst_user, do not
    (scst_dev_sysfs_create, scst_sysfs.c).
    """

    name: str
    path: str
    value: Callable[[str], str]
    handlers: tuple[str, ...]
    ends_device: bool = False

    def applies(self, context: OperationContext) -> bool:
        """Return whether the deployment has the attribute."""
        return context.handler in self.handlers

    def begin(self, context: OperationContext) -> Begun:
        """Begin the change."""
        path = self.path.format_map(context.words())
        before = context.machine.read(path).splitlines()[0]
        work = sysfs.start(context.machine, path, self.value(before))
        return Begun(self.name, context.machine, context.recorder, work,
                       lambda deadline: sysfs.write(context.machine, path, before, deadline))


@dataclass(frozen=True)
class Unload:
    """An attempt to unload a module in use; it must be refused at once.

    delete_module(2) fails with EWOULDBLOCK while a module is in use. ``module``: a function that
    returns the module's name for a deployment.
    """

    name: str
    module: Callable[[OperationContext], str]
    ends_device: bool = False

    def applies(self, context: OperationContext) -> bool:
        """Return True: every deployment has these modules."""
        return True

    def begin(self, context: OperationContext) -> Begun:
        """Begin to unload the module."""
        module = self.module(context)
        work = Program(context.machine, context.machine.begin("run", ["rmmod", module]),
                       partial(must_be_refused, module))
        return Begun(self.name, context.machine, context.recorder, work)


@dataclass(frozen=True)
class ToDaemon:
    """A signal to the iSCSI daemon. ``ends``: whether the signal ends the daemon."""

    name: str
    signal: str
    undo: Callable[[OperationContext, float], None]
    ends: bool = False
    ends_device: bool = False

    def applies(self, context: OperationContext) -> bool:
        """Return whether the deployment's target driver has the daemon."""
        return context.export.driver == "iscsi"

    def begin(self, context: OperationContext) -> Begun:
        """Send the signal."""
        work = Signalled(context.machine, SCSTD, self.signal, self.ends)
        return Begun(self.name, context.machine, context.recorder, work,
                     partial(self.undo, context))


def go_on(context: OperationContext, _deadline: float) -> None:
    """Continue a stopped daemon."""
    SCSTD.send(context.machine, "CONT")


def respawn(context: OperationContext, deadline: float) -> None:
    """Start a daemon in place of the dead one, with the same target."""
    daemon.start(context.machine)
    iscsi_again(context.machine, context.export, deadline)
    daemon.enable(context.machine)


def must_be_refused(module: str, answer: Mapping[str, object]) -> None:
    """Raise TargetFailedError unless rmmod reports that the module is in use."""
    words = f"{answer['stdout']}{answer['stderr']}".strip()
    if answer["status"] == 0:
        raise TargetFailedError(f"rmmod {module}: it was unloaded while in use")
    if "in use" not in words:
        raise TargetFailedError(f"rmmod {module}: refused, but not for being in use: {words}")


def add_luns(context: OperationContext, deadline: float) -> None:
    """Export all LUNs of the layout again."""
    for lun, device in sorted(context.export.layout.luns.items()):
        context.write(MGMT, f"add {device} {lun}", deadline)


def driver_module(context: OperationContext) -> str:
    """Return the name of a deployment's target driver's module."""
    return {"iscsi": "iscsi_scst"}.get(context.export.driver, context.export.driver)


def handler_module(context: OperationContext) -> str:
    """Return the name of a deployment's device handler's module."""
    return "scst_user" if context.handler == "scst_user" else "scst_vdisk"


ADD = (MGMT, "add {device} {lun}")
GONE = "{luns}/{lun}"
VDISK = tuple(VDISKS)

Kind = Order | Change | Unload | ToDaemon

KINDS: tuple[Kind, ...] = (
    Order("lun-delete", MGMT, "del {lun}", ADD, gone=GONE, ends_device=True),
    Order("lun-clear", MGMT, "clear", add_luns, gone=GONE, ends_device=True),
    Order("lun-replace", MGMT, "replace {spare} {lun}", (MGMT, "replace {device} {lun}"),
          spare=True, ends_device=True),
    Order("lun-replace-same", MGMT, "replace {device} {lun}"),
    Order("lun-add", MGMT, "add {device} {free}", (MGMT, "del {free}")),
    Order("copy-admit", COPY_MGMT, "add {device} {free}", (COPY_MGMT, "del {free}")),
    Order("lun-delete-second", MGMT, "del {second}", (MGMT, "add {device} {second}")),
    Order("lun-delete-free", MGMT, "del {free}"),
    Order("target-disable", "{target}/enabled", "0", ("{target}/enabled", "1"),
          drivers=("iscsi",)),
    Order("target-enable", "{target}/enabled", "1", drivers=("iscsi",)),
    Order("target-delete", "{driver}/mgmt", "del_target {name}", drivers=("scst_local",),
          ends_device=True),
    Order("target-delete-in-use", "{driver}/mgmt", "del_target {name}", drivers=("iscsi",),
          refused=errno.EBUSY),
    Order("session-close", "{target}/sessions/{initiator}/force_close", "1"),
    Order("session-delete", "{driver}/mgmt", "del_session {name} {session}",
          drivers=("scst_local",), ends_device=True),
    Order("suspend", "{scst}/suspend", "{suspended}", ("{scst}/suspend", "-1")),
    Order("resume", "{scst}/suspend", "-1"),
    Order("device-block", "{dev}/block", "1", ("{dev}/block", "0")),
    Order("device-unblock", "{dev}/block", "0"),
    Order("device-delete", "{handler}/mgmt", "del_device {device}", handlers=VDISK,
          ends_device=True),
    *(Order(f"black-hole-{kind}", "{group}/black_hole", str(kind), ("{group}/black_hole", "0"))
      for kind in range(1, 5)),
    Change("threads", "{dev}/threads_num", lambda before: str(int(before) + 3), VDISK),
    Change("threads-pool-type", "{dev}/threads_pool_type",
           lambda before: "shared" if before == "per_initiator" else "per_initiator", VDISK),
    ToDaemon("daemon-stop", "STOP", go_on),
    ToDaemon("daemon-kill", "KILL", respawn, ends=True),
    Unload("module-unload-handler", handler_module),
    Unload("module-unload-driver", driver_module),
    Unload("module-unload-core", lambda _: "scst"),
)

OPERATIONS: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}


def table(context: OperationContext) -> Mapping[str, Callable[[], Begun]]:
    """Return the functions that begin a deployment's operations, by the operations' names."""
    return {name: partial(kind.begin, context) for name, kind in OPERATIONS.items()
            if kind.applies(context)}
