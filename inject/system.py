"""What befalls the machine that target and initiator share: its CPUs, its clock, the backend's
share of it.

No standard lets a target lose a command for any of this: commands take longer, and end well. What
is held stays held meanwhile; the undo gives back what was taken, and lets it go on.
"""

from __future__ import annotations

from inject.fault import ANYTHING, ISCSI, PROCESS, Held, Needs
from inject.target_operation import TargetOperation

SECONDS = 1.0
"""Seconds for which it lasts by itself, less than the timers of initiator (4 s) and TCMU (2 s,
targets.lio.target)."""

SYSTEM: tuple[TargetOperation, ...] = (
    TargetOperation("cpu-hog", "cpu-hog", held=Held.KEPT, needs=ANYTHING, seconds=SECONDS,
                    errors=()),
    TargetOperation("backend-starved", "backend-starved", held=Held.KEPT, needs=PROCESS,
                    seconds=SECONDS, errors=()),
    # Not by loopback: a CPU goes once the requests of its hardware queue have ended, held ones too
    # (blk_mq_hctx_notify_offline, block/blk-mq.c); scst_local has a queue for each CPU.
    TargetOperation("cpu-offline", "cpu-offline", held=Held.KEPT, seconds=SECONDS, errors=(),
                    needs=ISCSI),
    TargetOperation("clock-step", "clock-step", held=Held.KEPT, needs=ANYTHING, seconds=SECONDS,
                    errors=()),
)
"""targets.system has the operations; memory-pressure is with those of targets."""

KERNELS = frozenset({"scst", "lio"})
"""Targets that allocate in the kernel out of caches of their own."""

ALLOCATIONS: tuple[TargetOperation, ...] = tuple(
    TargetOperation(name, name, held=Held.KEPT, needs=needs, seconds=SECONDS)
    for name, needs in (
        # A target's threads; LIO has some, and tgt a session, over iSCSI only.
        ("failslab", Needs(transports=ISCSI.transports, kernel=frozenset({"failslab"}))),
        ("failslab-caches", Needs(KERNELS, kernel=frozenset({"failslab", "failslab caches"}))),
        # SCST's commands have the pages of a backend, or those that its pools keep. A program in
        # user space, as tgtd is, dies by SIGSEGV where its stack cannot grow: by the kernel's hand.
        ("fail-page-alloc", Needs(
            backends=frozenset({"tcmu", "iblock"}),
            transports=ISCSI.transports, kernel=frozenset({"fail_page_alloc"})))))
"""For a kernel that can have allocations fail (targets.allocation)."""
