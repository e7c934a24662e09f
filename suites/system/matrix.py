# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix of pairs: disturbances of machine or daemon x teardowns of the device."""

from __future__ import annotations

from collections.abc import Sequence

from fixtures.matrix import Known, Matrix, Rule
from fixtures.scenario import Arrangement, Plan
from fixtures.workload.stamps import StampJob
from inject.combined import Order
from inject.daemon import DAEMONS
from inject.fault import Fault
from inject.pair import DISTURBANCES, PAIRS, TEARDOWNS
from inject.system import ALLOCATIONS
from inject.traits import TargetTraits

BY_FAULTS = {(pair.disturbance.name, pair.teardown.name, pair.order is Order.FIRST): pair
             for pair in PAIRS}


def possible(faults: Sequence[Fault], traits: TargetTraits) -> list[str]:
    """Return the names of the faults that are possible with the target's usual backend."""
    return [fault.name for fault in faults if any(
        fault.needs.met(traits, traits.backend, transport) for transport in traits.transports)]


def pairable(disturbances: Sequence[Fault], traits: TargetTraits) -> list[str]:
    """Return the names of the disturbances that can be combined with a teardown at the target."""
    return [name for name in possible(disturbances, traits) if any(
        pair.disturbance.name == name and pair.needs.on(traits) for pair in PAIRS)]


def matrix(traits: TargetTraits) -> Matrix:
    """Return the matrix of a target."""
    needs = {fault.name: fault.needs for fault in (*DISTURBANCES, *TEARDOWNS)}
    return Matrix({
        "disturbance": pairable(DISTURBANCES, traits), "teardown": possible(TEARDOWNS, traits),
        "first": [True, False], "transport": list(traits.transports),
    }, [
        *(Rule(f"the {role} does not apply over this transport", (role, "transport"),
               lambda fault, transport: not needs[fault].met(traits, traits.backend, transport))
          for role in ("disturbance", "teardown")),
        Rule("the two faults cannot be combined in this order (inject.pair.cannot)",
             ("disturbance", "teardown", "first"),
             lambda *faults: faults not in BY_FAULTS),
    ], [{"disturbance": pairable(later, traits)} for later in (DAEMONS, ALLOCATIONS)])


def pair_of(cell: Known) -> Plan:
    """Return the plan of a cell, with stamped blocks as the only load."""
    pair = BY_FAULTS[cell["disturbance"], cell["teardown"], cell["first"]]
    return Plan(pair, arrangement=Arrangement.stamped(StampJob(), transport=cell["transport"]))
