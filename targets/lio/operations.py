# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on a deployed LIO, by name: an administrator's actions under I/O.

Each is one change in configfs, which blocks for as long as LIO waits for commands.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from results.history import Recorder
from targets.lio.configfs import Configfs
from targets.lio.fabric import Export
from targets.machine import Machine
from targets.operation import Begun, Step


@dataclass(frozen=True)
class OperationContext:
    """The context of operations: one export of a backstore on a machine."""

    machine: Machine
    config: Configfs
    export: Export
    backstore: str
    recorder: Recorder

    @property
    def group(self) -> str:
        """The directory of the target portal group."""
        return self.export.lun.rpartition("/lun/")[0]


@dataclass(frozen=True)
class Operation:
    """One change in configfs: a verb of the machine with its ``arguments``.

    ``undo``: a function that reverts it; None: it need not be reverted.
    """

    name: str
    verb: str
    arguments: Callable[[OperationContext], tuple[str, ...]]
    undo: Callable[[OperationContext], None] | None = None
    refused: int | None = None
    iscsi_only: bool = False
    ends_device: bool = False

    def begin(self, context: OperationContext) -> Begun:
        """Begin the change."""
        arguments = self.arguments(context)
        step = Step(context.machine, context.machine.begin(self.verb, *arguments), self.verb,
                    " ".join((self.verb, *arguments)), self.refused)
        undo = None if self.undo is None else partial(self._heal, context)
        return Begun(self.name, context.machine, context.recorder, step, undo)

    def _heal(self, context: OperationContext, deadline: float) -> None:
        assert self.undo is not None
        context.config.allow(deadline)
        self.undo(context)


OPERATIONS: Mapping[str, Operation] = {each.name: each for each in (
    Operation("lun-delete", "unlink", lambda context: (context.export.link,),
              lambda context: context.config.symlink(context.backstore, context.export.link),
              ends_device=True),
    Operation("target-disable", "write", lambda context: (f"{context.group}/enable", "0"),
              lambda context: context.config.write(f"{context.group}/enable", "1"),
              iscsi_only=True),
    Operation("backstore-delete", "rmdir", lambda context: (context.backstore,),
              refused=errno.EBUSY),
    Operation("device-block", "write",
              lambda context: (f"{context.backstore}/action/block_dev", "1"),
              lambda context: context.config.write(f"{context.backstore}/action/block_dev", "0")),
)}


def table(context: OperationContext) -> Mapping[str, Callable[[], Begun]]:
    """Return the functions that begin a deployment's operations, by the operations' names."""
    over_iscsi = context.export.iqn is not None
    return {name: partial(each.begin, context) for name, each in OPERATIONS.items()
            if over_iscsi or not each.iscsi_only}
