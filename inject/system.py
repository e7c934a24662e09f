"""What befalls the machine that target and initiator share: its CPUs, its clock, the backend's
share of it.

No standard lets a target lose a command for any of this: commands take longer, and end well. What
is held stays held meanwhile; the undo gives back what was taken, and lets it go on.
"""

from __future__ import annotations

from inject.fault import ISCSI, PROCESS, Held, Needs
from inject.outcomes import RECOVERY_GRACE
from inject.target_operation import NO_MEMORY, TargetOperation

SECONDS = 1.0
"""Seconds for which it lasts by itself, less than the timers of initiator (4 s) and TCMU (2 s,
targets.lio.target)."""

SLOW_TEARDOWN = 6.0
"""Seconds beyond the ladder's that a teardown may take beside it: an administrator's programs have
a seventh of a CPU each (targets.system.HOGS_PER_CPU); a backend, a twentieth for what it has to
answer. Where memory is taken, that it takes to be used up; and the first allocation to fail is
waited for (targets.system.FIRST_FAILURE): the teardown's clock runs meanwhile."""

SYSTEM: tuple[TargetOperation, ...] = (
    TargetOperation("cpu-hog", "cpu-hog", held=Held.KEPT, seconds=SECONDS,
                    errors=(), teardown_grace=SLOW_TEARDOWN),
    TargetOperation("backend-starved", "backend-starved", held=Held.KEPT, further=PROCESS,
                    seconds=SECONDS, errors=(), teardown_grace=SLOW_TEARDOWN),
    # Not by loopback: a CPU goes once the requests of its hardware queue have ended, held ones too
    # (blk_mq_hctx_notify_offline, block/blk-mq.c); scst_local has a queue for each CPU.
    TargetOperation("cpu-offline", "cpu-offline", held=Held.KEPT, seconds=SECONDS, errors=(),
                    further=ISCSI),
    TargetOperation("clock-step", "clock-step", held=Held.KEPT, seconds=SECONDS,
                    errors=()),
)
"""targets.system has the operations; memory-pressure is with those of targets."""

ALLOCATIONS: tuple[TargetOperation, ...] = tuple(
    TargetOperation(name, name, held=Held.KEPT, further=needs, seconds=SECONDS,
                    clause=NO_MEMORY, grace=RECOVERY_GRACE, teardown_grace=2.0,
                    beside=Needs(in_kernel=True))
    for name, needs in (
        # A target's threads; LIO has some, and tgt a session, over iSCSI only.
        ("failslab", Needs(transports=ISCSI.transports, kernel=frozenset({"failslab"}))),
        ("failslab-caches", Needs(in_kernel=True,
                                  kernel=frozenset({"failslab", "failslab caches"}))),
        # SCST's commands have the pages of a backend, or those that its pools keep. A program in
        # user space, as tgtd is, dies by SIGSEGV where its stack cannot grow: by the kernel's hand.
        ("fail-page-alloc", Needs(
            backends=frozenset({"tcmu", "iblock"}),
            transports=ISCSI.transports, kernel=frozenset({"fail_page_alloc"})))))
"""Beside a teardown they are for targets in the kernel: where a program has no memory, an
administrator's order to it has none either, and is refused. For a kernel that can have allocations
fail (targets.allocation)."""
