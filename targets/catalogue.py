"""The targets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from results.errors import WrongUsageError
from targets.lio.target import Lio
from targets.scst.prefix import Prefix
from targets.scst.target import Scst
from targets.target import Target, Transport
from targets.tgt.target import Tgt


def _lio(_prefix: str | None) -> Target:
    return Lio()


def _scst(prefix: str | None) -> Target:
    if not prefix:
        raise WrongUsageError("--target scst needs --scst PREFIX (or SCST_PREFIX): the tree that "
                              "SCST's make install with DESTDIR=PREFIX left")
    return Scst(Prefix(Path(prefix)))


def _tgt(_prefix: str | None) -> Target:
    return Tgt()


TARGETS: Mapping[str, Callable[[str | None], Target]] = {"lio": _lio, "scst": _scst, "tgt": _tgt}
"""How each is made, from the prefix that ``--scst`` names."""

BACKENDS = {"lio": "tcmu", "scst": "scst_user", "tgt": "nbd"}
"""By target: the name of the protocol between kernel and backend."""

STORAGE_BACKENDS = {"lio": "iblock", "scst": "vdisk_blockio", "tgt": "block"}
"""By target: the handler of a device that is a block device (targets.storage)."""

NO_LOOPBACK = frozenset({"tgt"})
"""Targets that a machine reaches over iSCSI only."""


def transports(name: str) -> tuple[Transport, ...]:
    """Return how a target is reached, by its name."""
    return tuple(each for each in Transport
                 if each is not Transport.LOOPBACK or name not in NO_LOOPBACK)


def target_by_name(name: str, prefix: str | None) -> Target:
    """Return a target. Raises WrongUsageError when it cannot be had."""
    return TARGETS[name](prefix)
