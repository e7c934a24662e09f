# SPDX-License-Identifier: GPL-2.0-or-later
"""The targets by name; a line of ``TARGETS`` registers one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inject.traits import TargetTraits
from results.errors import WrongUsageError
from targets.lio.target import Lio
from targets.lio.traits import TRAITS as LIO
from targets.scst.prefix import Prefix
from targets.scst.target import Scst
from targets.scst.traits import TRAITS as SCST
from targets.target import Target
from targets.tgt.target import Tgt
from targets.tgt.traits import TRAITS as TGT


@dataclass(frozen=True)
class Registration:
    """One target.

    ``name``: in options and scenario ids. ``make``: makes it from the prefix of ``--scst`` (None
    without); raises WrongUsageError when it cannot be made. ``takes_prefix``: whether it is made
    from that prefix.
    """

    name: str
    traits: TargetTraits
    make: Callable[[str | None], Target]
    takes_prefix: bool = False


def _scst(prefix: str | None) -> Target:
    if not prefix:
        raise WrongUsageError("--target scst needs --scst PREFIX (or SCST_PREFIX): the tree that "
                              "SCST's make install with DESTDIR=PREFIX left")
    return Scst(Prefix(Path(prefix)))


TARGETS: dict[str, Registration] = {each.name: each for each in (
    Registration("lio", LIO, lambda _prefix: Lio()),
    Registration("scst", SCST, _scst, takes_prefix=True),
    Registration("tgt", TGT, lambda _prefix: Tgt()),
)}
"""The registrations by name."""

DEFAULT = "lio"
"""The target under test by default."""


def registration_of(name: str) -> Registration:
    """Return a target's registration. Raises WrongUsageError with the known names."""
    if name not in TARGETS:
        raise WrongUsageError(f"unknown target {name!r}: there are {', '.join(TARGETS)}")
    return TARGETS[name]


def traits_of(name: str) -> TargetTraits:
    """Return a target's traits, by its name. Raises WrongUsageError."""
    return registration_of(name).traits


def target_by_name(name: str, prefix: str | None) -> Target:
    """Return a target. Raises WrongUsageError when it cannot be made."""
    return registration_of(name).make(prefix)
