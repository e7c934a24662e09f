# SPDX-License-Identifier: GPL-2.0-or-later
"""Combinations of a disturbance and a teardown (suites/system).

The disturbances are resource pressure, failed allocations and a stopped daemon.
"""

from __future__ import annotations

from inject.backend_close import BackendClose, BackendUnregister
from inject.backend_end import KILL, TERMINATE, BackendExit
from inject.backend_fork import BackendFork
from inject.backend_stop import BackendStopKill
from inject.combined import Combined, Order
from inject.daemon import DAEMONS
from inject.fault import Fault, Held
from inject.lun_remove import LunRemove
from inject.system import ALLOCATIONS, SYSTEM
from inject.target_operation import OPERATIONS, TargetOperation

DISTURBANCES: tuple[TargetOperation, ...] = (
    *SYSTEM, *(each for each in OPERATIONS if each.name == "memory-pressure"),
    *(each for each in DAEMONS if each.name == "scstd-stop"), *ALLOCATIONS)
"""tgtd-stop is left out: a stopped tgtd removes no device."""

APART = frozenset({
    "target-delete", "session-delete",  # the initiator's programs must close the disk in between
    "device-delete",  # of a handler in the kernel, which holds no commands
    "lun-replace",  # another medium: the written data are not there
})
"""Faults that end the device, and cannot be combined."""

TEARDOWNS: tuple[Fault, ...] = (
    BackendClose(), KILL, TERMINATE, BackendExit(), BackendUnregister(), BackendFork(),
    BackendStopKill(), LunRemove(),
    *(each for each in OPERATIONS if each.ends_device and each.name not in APART))


def cannot(disturbance: TargetOperation, teardown: Fault, order: Order) -> str | None:
    """Return the reason why two faults cannot be combined in an order; None when they can."""
    starved = disturbance.name == "backend-starved"
    if starved and teardown.held is Held.LOST and order is Order.SECOND:
        return "a backend that has ended cannot be starved"
    if disturbance in ALLOCATIONS and order is Order.SECOND:
        return "a device whose removal has begun allocates too little memory"
    try:
        _ = Combined(disturbance, teardown, order).needs
    except ValueError as error:
        return str(error)
    return None


PAIRS: tuple[Combined, ...] = tuple(
    Combined(disturbance, teardown, order)
    for disturbance in DISTURBANCES for teardown in TEARDOWNS for order in Order
    if cannot(disturbance, teardown, order) is None)
