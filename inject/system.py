# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of the machine that target and initiator share: its CPUs, clock and memory.

No standard allows a target to lose a command for any of these: commands take longer, and end with
GOOD. Held commands stay held during the fault; the undo restores the resources and releases the
commands.
"""

from __future__ import annotations

from inject.fault import ISCSI, PROCESS, Held, Needs
from inject.outcomes import RECOVERY_GRACE
from inject.target_operation import NO_MEMORY, TargetOperation

SECONDS = 1.0
"""Duration in seconds outside a combination: less than the timers of the initiator (4 s) and TCMU
(2 s, targets.lio.target)."""

SLOW_TEARDOWN = 6.0
"""Seconds beyond the ladder's that a teardown may take during the fault.

An administrator's programs have a seventh of a CPU each (targets.system.HOGS_PER_CPU); a backend
has a twentieth for its answers. The value includes the time until memory is used up, and the wait
for the first failed allocation (targets.system.FIRST_FAILURE): both count as teardown time.
"""

SYSTEM: tuple[TargetOperation, ...] = (
    TargetOperation("cpu-hog", "cpu-hog", held=Held.KEPT, seconds=SECONDS,
                    errors=(), teardown_grace=SLOW_TEARDOWN),
    TargetOperation("backend-starved", "backend-starved", held=Held.KEPT, further=PROCESS,
                    seconds=SECONDS, errors=(), teardown_grace=SLOW_TEARDOWN),
    # Not over loopback: a CPU goes offline only once the requests of its hardware queue have ended,
    # held ones included (blk_mq_hctx_notify_offline, block/blk-mq.c); scst_local has a queue for
    # each CPU.
    TargetOperation("cpu-offline", "cpu-offline", held=Held.KEPT, seconds=SECONDS, errors=(),
                    further=ISCSI),
    TargetOperation("clock-step", "clock-step", held=Held.KEPT, seconds=SECONDS,
                    errors=()),
)
"""Changes of the machine (targets.system); memory-pressure is in
inject.target_operation.OPERATIONS."""

ALLOCATIONS: tuple[TargetOperation, ...] = tuple(
    TargetOperation(name, name, held=Held.KEPT, further=needs, seconds=SECONDS,
                    clause=NO_MEMORY, grace=RECOVERY_GRACE, teardown_grace=2.0,
                    beside=Needs(in_kernel=True))
    for name, needs in (
        # Allocations of a target's threads. LIO, and tgt for each session, has some over iSCSI
        # only.
        ("failslab", Needs(transports=ISCSI.transports, kernel=frozenset({"failslab"}))),
        ("failslab-caches", Needs(in_kernel=True,
                                  kernel=frozenset({"failslab", "failslab caches"}))),
        # SCST's commands use pages of a backend, or of its own pools. A user-space program such as
        # tgtd dies by SIGSEGV, sent by the kernel, where its stack cannot grow.
        ("fail-page-alloc", Needs(
            backends=frozenset({"tcmu", "iblock"}),
            transports=ISCSI.transports, kernel=frozenset({"fail_page_alloc"})))))
"""Injected allocation failures, for a kernel that supports them (targets.allocation).

During a teardown they apply to in-kernel targets only: a user-space target without memory refuses
the administrator's order.
"""
