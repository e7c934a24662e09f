"""Operations on a deployed LIO, by name: what an administrator may do under I/O.

Each is one change in configfs, which blocks for as long as LIO waits for commands.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from results.errors import TargetFailedError, WrongUsageError
from results.history import Recorder
from targets.lio.configfs import Configfs
from targets.lio.fabric import Export
from targets.machine import Machine, Pending
from targets.operation import Running


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
class Step:
    """A change in configfs that was begun (a targets.operation.Work).

    ``refused``: the errno with which it has to fail, or None when it has to succeed.
    """

    machine: Machine
    pending: Pending
    verb: str
    what: str
    refused: int | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.pending.done

    def waits(self) -> bool:
        """Whether it waits in the kernel."""
        return self.verb in self.machine.waiting()

    def finish(self, deadline: float) -> None:
        """Wait for its end. Raises TargetFailedError unless it ended as it has to."""
        try:
            self.pending.result(deadline)
        except TimeoutError:
            raise TargetFailedError(f"{self.what}: not ended after {deadline:g} s") from None
        except OSError as error:
            if error.errno != self.refused:
                raise TargetFailedError(f"{self.what}: {error.strerror or error}") from error
        else:
            if self.refused is not None:
                raise TargetFailedError(f"{self.what}: it was not refused")


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

    def begin(self, site: Site) -> Running:
        """Begin it."""
        arguments = self.arguments(site)
        step = Step(site.machine, site.machine.begin(self.verb, *arguments), self.verb,
                    " ".join((self.verb, *arguments)), self.refused)
        undo = None if self.undo is None else partial(self._heal, site)
        return Running(self.name, site.machine, site.recorder, step, undo)

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


def applicable(site: Site) -> tuple[str, ...]:
    """Return the names of the operations that a site has."""
    over_iscsi = site.export.iqn is not None
    return tuple(name for name, each in OPERATIONS.items() if over_iscsi or not each.iscsi_only)


def begin(site: Site, name: str) -> Running:
    """Begin an operation. Raises WrongUsageError when the site has none of that name."""
    if name not in applicable(site):
        raise WrongUsageError(
            f"LIO has no operation {name!r} here: there are {', '.join(applicable(site))}")
    return OPERATIONS[name].begin(site)
