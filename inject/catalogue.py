"""The faults by name."""

from __future__ import annotations

from inject.backend_close import BackendClose
from inject.backend_kill import BackendKill
from inject.fault import Fault
from inject.lies import LIES
from inject.lun_remove import LunRemove
from inject.release import Release
from results.errors import WrongUsageError

FAULTS: dict[str, Fault] = {
    fault.name: fault for fault in (Release(), BackendClose(), BackendKill(), LunRemove(), *LIES)
}


def fault_by_name(name: str) -> Fault:
    """Return a fault. Raises WrongUsageError with the names there are."""
    if name not in FAULTS:
        raise WrongUsageError(f"unknown fault {name!r}: there are {', '.join(FAULTS)}")
    return FAULTS[name]
