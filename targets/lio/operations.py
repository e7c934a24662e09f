"""Operations on a deployed LIO, by name: what an administrator may do under I/O.

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
class Site:
    """What operations are done to: one export of a backstore on a machine."""

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
    """One change. ``arguments``: of the verb; ``undo``: what heals, or None."""

    name: str
    verb: str
    arguments: Callable[[Site], tuple[str, ...]]
    undo: Callable[[Site], None] | None = None
    refused: int | None = None
    iscsi_only: bool = False
    ends_device: bool = False

    def begin(self, site: Site) -> Begun:
        """Begin it."""
        arguments = self.arguments(site)
        step = Step(site.machine, site.machine.begin(self.verb, *arguments), self.verb,
                    " ".join((self.verb, *arguments)), self.refused)
        undo = None if self.undo is None else partial(self._heal, site)
        return Begun(self.name, site.machine, site.recorder, step, undo)

    def _heal(self, site: Site, deadline: float) -> None:
        assert self.undo is not None
        site.config.allow(deadline)
        self.undo(site)


OPERATIONS: Mapping[str, Operation] = {each.name: each for each in (
    Operation("lun-delete", "unlink", lambda site: (site.export.link,),
              lambda site: site.config.symlink(site.backstore, site.export.link),
              ends_device=True),
    Operation("target-disable", "write", lambda site: (f"{site.group}/enable", "0"),
              lambda site: site.config.write(f"{site.group}/enable", "1"), iscsi_only=True),
    Operation("backstore-delete", "rmdir", lambda site: (site.backstore,), refused=errno.EBUSY),
    Operation("device-block", "write", lambda site: (f"{site.backstore}/action/block_dev", "1"),
              lambda site: site.config.write(f"{site.backstore}/action/block_dev", "0")),
)}


def table(site: Site) -> Mapping[str, Callable[[], Begun]]:
    """Return what begins each operation that a site has, by name."""
    over_iscsi = site.export.iqn is not None
    return {name: partial(each.begin, site) for name, each in OPERATIONS.items()
            if over_iscsi or not each.iscsi_only}
