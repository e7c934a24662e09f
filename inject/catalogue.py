# SPDX-License-Identifier: GPL-2.0-or-later
"""The faults by name."""

from __future__ import annotations

from importlib import import_module

from inject.answers import ANSWERS, FOR_ANOTHER, FREED_IN_BACKGROUND
from inject.backend_close import BackendClose, BackendUnregister
from inject.backend_end import KILL, TERMINATE, BackendExit
from inject.backend_fork import BackendFork
from inject.backend_orders import CAPACITY_CHANGED, FLUSH_CACHE, SET_OPTIONS
from inject.backend_stop import LONG, SHORT, BackendStopKill
from inject.daemon import DAEMONS
from inject.fault import Fault
from inject.interface import CALLS
from inject.lun_race import LunRace
from inject.lun_remove import LunRemove
from inject.misbehaviour import MISBEHAVIOURS
from inject.netem import NETEMS
from inject.pair import PAIRS
from inject.partition import PARTITIONS
from inject.release import Release
from inject.storage import FAULTS as STORAGE
from inject.system import ALLOCATIONS, SYSTEM
from inject.target_operation import OPERATIONS
from inject.traits import TargetTraits
from inject.wire import WIRE
from results.errors import WrongUsageError

BACKEND: tuple[Fault, ...] = (
    BackendClose(), KILL, TERMINATE, BackendExit(), BackendUnregister(), BackendFork(), SHORT,
    LONG, BackendStopKill(), SET_OPTIONS, FLUSH_CACHE, CAPACITY_CHANGED)
"""Faults of a backend's process or of its use of the device."""

NEWER: tuple[str, ...] = (
)
"""Modules of this package, each with a tuple MECHANISMS. Append a module's name to register it.
Append only: the order determines which cells a matrix selects."""

NEWER_MECHANISMS: tuple[Fault, ...] = tuple(
    fault for name in NEWER for fault in import_module(f"inject.{name}").MECHANISMS)

MECHANISMS: tuple[Fault, ...] = (
    *BACKEND, LunRemove(), LunRace(), *OPERATIONS, *NEWER_MECHANISMS)
"""The mechanisms of the teardown matrix, and of a target's teardown scenarios."""

FAULTS: dict[str, Fault] = {
    fault.name: fault for fault in (
        Release(), *MECHANISMS, *SYSTEM, *ALLOCATIONS, *DAEMONS, *PAIRS, *STORAGE, *MISBEHAVIOURS,
        *ANSWERS, FOR_ANOTHER, FREED_IN_BACKGROUND, CALLS, *WIRE, *PARTITIONS.values(),
        *NETEMS.values())
}


def fault_by_name(name: str) -> Fault:
    """Return a fault. Raises WrongUsageError with the known names."""
    if name not in FAULTS:
        raise WrongUsageError(f"unknown fault {name!r}: there are {', '.join(FAULTS)}")
    return FAULTS[name]


def applicable(traits: TargetTraits, backend: str, transport: str) -> list[Fault]:
    """Return the faults that apply to a device.

    ``traits``: of its target. ``backend``: protocol or handler.
    """
    return [fault for fault in FAULTS.values() if fault.needs.met(traits, backend, transport)]
