"""The matrix of pairs: what befalls the machine, and how the device is taken away meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fixtures.matrix import Known, Matrix, Rule
from fixtures.scenario import Plan
from fixtures.workload.stamps import StampJob
from inject.daemon import DAEMONS
from inject.fault import Fault
from inject.pair import DISTURBANCES, PAIRS, TEARDOWNS
from inject.system import ALLOCATIONS
from targets.catalogue import BACKENDS, transports
from targets.target import Device, Transport

BY_FAULTS = {(pair.disturbance.name, pair.teardown.name, pair.first): pair for pair in PAIRS}


def matrix(target: str) -> Matrix:
    """Return the matrix of a target."""
    backend = BACKENDS[target]
    needs = {fault.name: fault.needs for fault in (*DISTURBANCES, *TEARDOWNS)}

    def possible(faults: Sequence[Fault]) -> list[str]:
        return [fault.name for fault in faults if any(
            fault.needs.met(target, backend, transport) for transport in transports(target))]

    def pairable(disturbances: Sequence[Fault]) -> list[str]:
        return [name for name in possible(disturbances) if any(
            pair.disturbance.name == name and pair.needs.on(target) for pair in PAIRS)]

    return Matrix({
        "disturbance": pairable(DISTURBANCES), "teardown": possible(TEARDOWNS),
        "first": [True, False], "transport": list(transports(target)),
    }, [
        *(Rule(f"a {role} of one transport only", (role, "transport"),
               lambda fault, transport: not needs[fault].met(target, backend, transport))
          for role in ("disturbance", "teardown")),
        Rule("these two do not go together in this order (inject.pair.cannot)",
             ("disturbance", "teardown", "first"),
             lambda *faults: faults not in BY_FAULTS),
    ], [{"disturbance": pairable(later)} for later in (DAEMONS, ALLOCATIONS)])


FEW = StampJob(blocks=64)

DAEMON = "suites.system.daemon:story"
PAUSED = "suites.system.paused:story"

PATIENT: Mapping[str, Mapping[str, int]] = {"lio": {"cmd_time_out": 20}, "scst": {}, "tgt": {}}
"""Options by target with which a backend may take seconds for a command, and none is given up."""


def alone(target: str) -> list[Plan]:
    """Return a plan for each disturbance by itself, over each transport."""
    return [replace(plan(target, fault.name, transport), device=Device(options=PATIENT[target]))
            for fault in DISTURBANCES if fault not in DAEMONS for transport in transports(target)
            if fault.needs.met(target, BACKENDS[target], transport)]


def daemons(target: str) -> list[Plan]:
    """Return a plan for each thing that befalls a target's daemon by itself."""
    return [replace(plan(target, fault.name, Transport.ISCSI), story=DAEMON, stamps=FEW)
            for fault in DAEMONS
            if fault.needs.met(target, BACKENDS[target], Transport.ISCSI)]


def paused(target: str) -> list[Plan]:
    """Return a plan for each of what a pause of the machine comes on."""
    return [replace(plan(target, fault, transport), story=PAUSED, stamps=FEW, variant="paused")
            for fault in ("release", "backend-close", "lun-remove")
            for transport in transports(target)]


def paired(target: str, cell: Known) -> Plan:
    """Return a cell's plan."""
    pair = BY_FAULTS[cell["disturbance"], cell["teardown"], cell["first"]]
    return plan(target, pair.name, cell["transport"])


def plan(target: str, fault: str, transport: Transport) -> Plan:
    """Return a plan in which stamped blocks alone drive the disk."""
    return Plan(target, fault, transport, workload=None, stamps=StampJob())
