# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of kernel reports, and the line with which each opens.

Every pattern is anchored at the beginning of the message: the text of a lockup message inside a
command line, a sysctl's name or another program's output is not a kernel report.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of report."""

    SOFT_LOCKUP = "soft lockup"
    HARD_LOCKUP = "hard lockup"
    HUNG_TASK = "hung task"
    RCU_STALL = "RCU stall"
    WORKQUEUE_LOCKUP = "workqueue lockup"
    NULL_DEREFERENCE = "NULL pointer dereference"
    GENERAL_PROTECTION = "general protection fault"
    PAGE_FAULT = "page fault"
    OOPS = "oops"
    KASAN = "KASAN"
    KCSAN = "KCSAN"
    KMSAN = "KMSAN"
    KFENCE = "KFENCE"
    UBSAN = "UBSAN"
    LOCKDEP = "lockdep"
    LIST_CORRUPTION = "list corruption"
    SLAB_CORRUPTION = "slab corruption"
    REFCOUNT = "refcount"
    USERCOPY = "usercopy"
    MEMORY_LEAK = "memory leak"
    BAD_PAGE = "bad page"
    SCHEDULING_WHILE_ATOMIC = "scheduling while atomic"
    SLEEPING_IN_INVALID_CONTEXT = "sleeping in invalid context"
    OUT_OF_MEMORY = "out of memory"
    SCST_CRITICAL = "SCST critical error"
    BUG = "BUG"
    WARNING = "WARNING"
    PANIC = "panic"


@dataclass(frozen=True)
class Opener:
    """A line that opens a report.

    ``pattern`` may have the groups cpu, comm, pid, frame (function that names the report) and what
    (a word for the title). ``title``: the title's beginning, with ``{what}``. ``bare``: the title
    names neither function nor task, because these are arbitrary.
    """

    kind: Kind
    pattern: re.Pattern[str]
    title: str
    bare: bool = False


FUNCTION = r"(?P<frame>[A-Za-z_][\w.]*)(?:\+0x[0-9a-f]+|$)"


def _opener(kind: Kind, pattern: str, title: str, *, bare: bool = False) -> Opener:
    return Opener(kind, re.compile(pattern), title, bare)


OPENERS = (
    # kernel/watchdog.c, watchdog_timer_fn()
    _opener(
        Kind.SOFT_LOCKUP,
        r"(?:NMI )?(?:watchdog: )?BUG: soft lockup - CPU#(?P<cpu>\d+) stuck for \d+s!"
        r"(?: \[(?P<comm>.+):(?P<pid>\d+)\])?",
        "soft lockup",
    ),
    # kernel/watchdog_hld.c (6.1), kernel/watchdog.c (6.5 and later)
    _opener(
        Kind.HARD_LOCKUP,
        r"(?:NMI )?(?:watchdog: )?(?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu ?(?P<cpu>\d+)",
        "hard lockup",
    ),
    # out of tree kernels, in the words of a soft lockup
    _opener(
        Kind.HARD_LOCKUP,
        r"(?:NMI )?(?:watchdog: )?BUG: hard lockup - CPU#(?P<cpu>\d+) stuck for \d+s!"
        rf"(?: \[(?P<comm>.+):(?P<pid>\d+)\])?(?: at {FUNCTION})?",
        "hard lockup",
    ),
    # kernel/hung_task.c, check_hung_task()
    _opener(
        Kind.HUNG_TASK,
        r"INFO: task (?P<comm>.+):(?P<pid>\d+) blocked (?:in I/O wait )?for more than \d+ seconds",
        "task hung",
    ),
    # kernel/rcu/tree_stall.h, tree_exp.h, tasks.h; the "rcu: " came with 4.19
    _opener(
        Kind.RCU_STALL,
        r"(?:rcu: )?INFO: rcu_\w+ (?:self-)?detected (?:expedited )?stalls?\b",
        "RCU stall",
    ),
    _opener(
        Kind.RCU_STALL,
        r"(?:rcu: )?(?:INFO: )?rcu_\w+ kthread (?:starved for \d+ jiffies"
        r"|timer wakeup didn't happen for \d+ jiffies)",
        "RCU stall: grace-period kthread starved", bare=True,
    ),
    # kernel/workqueue.c, wq_watchdog_timer_fn()
    _opener(
        Kind.WORKQUEUE_LOCKUP, r"BUG: workqueue lockup - pool ", "workqueue lockup", bare=True,
    ),
    # arch/x86/mm/fault.c, arch/arm64/mm/fault.c
    _opener(
        Kind.NULL_DEREFERENCE,
        r"(?:BUG: )?(?:kernel NULL pointer dereference|[Uu]nable to handle kernel NULL pointer)\b",
        "NULL pointer dereference",
    ),
    _opener(
        Kind.PAGE_FAULT,
        r"(?:BUG: [Uu]nable to handle (?:kernel )?(?:page fault|paging request)\b"
        r"|Unable to handle kernel \w+)",
        "page fault",
    ),
    # arch/x86/kernel/traps.c, exc_general_protection(); "Oops: " came with 6.10
    _opener(
        Kind.GENERAL_PROTECTION,
        r"(?:Oops: )?general protection (?:fault|maybe)?"
        r"(?:, (?:probably|maybe) for |: [0-9a-f]{4} \[#\d+\])",
        "general protection fault",
    ),
    # lib/bug.c and include/linux/bug.h
    _opener(Kind.BUG, r"kernel BUG at (?:\S+:\d+!|\S*$)", "kernel BUG"),
    _opener(
        Kind.WARNING,
        rf"WARNING: CPU: (?P<cpu>\d+) PID: (?P<pid>\d+) at \S+(?: {FUNCTION})?",
        "WARNING",
    ),
    _opener(
        Kind.WARNING,
        rf"WARNING: \S+:\d+ at {FUNCTION}(?:/0x[0-9a-f]+)?(?: \[\S+\])?, "
        r"CPU#(?P<cpu>\d+): (?P<comm>.+)/(?P<pid>\d+)",
        "WARNING",
    ),
    # mm/kasan/report.c, kernel/kcsan/report.c, mm/kmsan/report.c, mm/kfence/report.c
    _opener(
        Kind.KASAN,
        rf"BUG: KASAN: (?:slab-|vmalloc-)?(?P<what>[\w-]+)(?: in {FUNCTION})?", "KASAN: {what}",
    ),
    _opener(Kind.KCSAN, rf"BUG: KCSAN: (?P<what>[\w-]+)(?: in {FUNCTION})?", "KCSAN: {what}"),
    _opener(Kind.KMSAN, rf"BUG: KMSAN: (?P<what>[\w-]+)(?: in {FUNCTION})?", "KMSAN: {what}"),
    _opener(
        Kind.KFENCE,
        rf"BUG: KFENCE: (?P<what>[\w-]+)(?: (?:read|write))?(?: in {FUNCTION})?", "KFENCE: {what}",
    ),
    # lib/ubsan.c
    _opener(Kind.UBSAN, r"UBSAN: (?P<what>[\w-]+) in ", "UBSAN: {what}"),
    # kernel/locking/lockdep.c
    _opener(
        Kind.LOCKDEP,
        r"WARNING: (?P<what>possible (?:circular|recursive) locking|possible irq lock inversion"
        r"|inconsistent lock state|suspicious RCU usage|bad unlock balance|bad contention"
        r"|held lock freed|lock held when returning to user space"
        r"|[Nn]ested lock was not taken|\S+-safe -> \S+-unsafe lock order)",
        "lockdep: {what}",
    ),
    _opener(
        Kind.LOCKDEP,
        r"\[ ?BUG: (?P<what>Invalid wait context|bad unlock balance|held lock freed"
        r"|.*still has locks held)",
        "lockdep: {what}",
    ),
    _opener(
        Kind.LOCKDEP,
        r"INFO: (?P<what>trying to register non-static key"
        r"|possible (?:circular|recursive) locking)",
        "lockdep: {what}",
    ),
    _opener(Kind.LOCKDEP, r"BUG: (?P<what>MAX_LOCK\w+) too low", "lockdep: {what}", bare=True),
    # lib/list_debug.c
    _opener(
        Kind.LIST_CORRUPTION,
        r"(?P<what>list_(?:add|del)) (?:corruption|double add)", "list corruption: {what}",
    ),
    # mm/slub.c, slab_bug(): "BUG %s (%s): "
    _opener(
        Kind.SLAB_CORRUPTION,
        r"BUG (?P<cache>\S+) \((?:Not tainted|Tainted[^)]*)\): (?P<what>.+)",
        "slab: {what}",
    ),
    _opener(
        Kind.SLAB_CORRUPTION,
        r"(?:slab error in \S+: cache `(?P<cache>[^']+)': )(?P<what>.+)", "slab: {what}",
    ),
    # lib/refcount.c
    _opener(
        Kind.REFCOUNT,
        r"refcount_t: (?P<what>underflow|addition on 0|saturated|decrement hit 0|hit 0)",
        "refcount: {what}",
    ),
    # mm/usercopy.c, usercopy_abort()
    _opener(
        Kind.USERCOPY,
        r"usercopy: [Kk]ernel memory (?P<what>overwrite|exposure) attempt detected ",
        "usercopy: memory {what}",
    ),
    # mm/slab_common.c, kmem_cache_destroy() (6.14 and later) and mm/slub.c, list_slab_objects()
    # are of slab_bug() above. mm/kmemleak.c, print_unreferenced() and kmemleak_scan()
    _opener(
        Kind.MEMORY_LEAK, r"(?:kmemleak: )?unreferenced object 0x[0-9a-f]+ \(", "memory leak",
    ),
    _opener(
        Kind.MEMORY_LEAK, r"kmemleak: \d+ new suspected memory leaks", "memory leak: suspected",
        bare=True,
    ),
    # mm/page_alloc.c, bad_page(); mm/memory.c, print_bad_pte()
    _opener(
        Kind.BAD_PAGE,
        r"BUG: (?P<what>Bad page (?:state|map|cache)|Bad rss-counter state"
        r"|non-zero pgtables_bytes)(?: in process (?P<comm>\S+))?",
        "{what}",
    ),
    # kernel/sched/core.c, __schedule_bug() and __might_resched()
    _opener(
        Kind.SCHEDULING_WHILE_ATOMIC,
        r"BUG: scheduling while atomic: (?:(?P<comm>.+)/(?P<pid>\d+)/0x[0-9a-f]+)?",
        "scheduling while atomic",
    ),
    _opener(
        Kind.SLEEPING_IN_INVALID_CONTEXT,
        r"BUG: sleeping function called from invalid context at ",
        "sleeping in invalid context",
    ),
    # mm/oom_kill.c: the task that allocated is an arbitrary one
    _opener(
        Kind.OUT_OF_MEMORY,
        r"(?P<comm>\S.{0,15}) invoked oom-killer: gfp_mask=", "out of memory", bare=True,
    ),
    _opener(
        Kind.OUT_OF_MEMORY,
        r"(?:Memory cgroup out|Out) of memory: Kill(?:ed)? process (?P<pid>\d+) \((?P<comm>.+?)\)",
        "out of memory", bare=True,
    ),
    # scst/include/scst_debug.h, PRINT_CRIT_ERROR: [pid]: prefix: function:line:
    _opener(
        Kind.SCST_CRITICAL,
        r"(?:\[(?P<pid>\d+)\]: )?(?:[\w-]+: )?(?:(?P<frame>[A-Za-z_]\w*):)?(?:\d+:)?"
        r"\*\*\*CRITICAL ERROR\*\*\*:? ?(?P<what>.*)",
        "SCST critical error: {what}", bare=True,
    ),
    # scst/include/scst_debug.h, EXTRACHECKS_BUG_ON and sBUG_ON: before BUG() itself
    _opener(
        Kind.BUG, r"BUG at (?:\S*/)?(?P<what>[\w.-]+\.[ch]):\d+", "BUG at {what}", bare=True,
    ),
    # kernel/panic.c
    _opener(
        Kind.PANIC, r"Kernel panic - not syncing(?:: (?P<what>.*))?", "kernel panic: {what}",
        bare=True,
    ),
    # arch/*/kernel/traps.c: "Oops: 0000 [#1]", "Oops: invalid opcode: 0000 [#1]" (6.10 and later)
    _opener(
        Kind.OOPS,
        r"(?:Oops: )?(?P<what>divide error|invalid opcode|int3|stack segment|overflow|bounds"
        r"|alignment check|invalid TSS|segment not present|double fault|control protection)"
        r": [0-9a-f]{4} \[#\d+\]",
        "oops: {what}",
    ),
    _opener(Kind.OOPS, r"(?:traps: )?PANIC: (?P<what>double fault)", "oops: {what}"),
    _opener(
        Kind.OOPS, r"(?:Oops: )+[0-9a-f]{4,16} \[#\d+\]|Internal error: .* \[#\d+\]", "oops",
    ),
    # lib/smp_processor_id.c
    _opener(
        Kind.BUG,
        r"BUG: using (?P<what>\S+) in preemptible \[[0-9a-f]+\] code: (?P<comm>.+)/(?P<pid>\d+)",
        "BUG: {what} in preemptible code",
    ),
    # everything else that calls itself a bug of the kernel
    _opener(Kind.BUG, r"BUG: (?P<what>\S.*)", "BUG: {what}"),
)


HUNG_HINT = '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables'
"""The third line of a hung task's report."""

HUNG_WITHOUT_HEAD = _opener(
    Kind.HUNG_TASK, r"task:(?P<comm>.+?)\s+state:D\s.*?pid: *(?P<pid>\d+)", "task hung")
"""The fourth line, with which the report opens where the log begins after the first."""


def match(text: str) -> tuple[Opener, re.Match[str]] | None:
    """Return the first opener that matches a message, with its match, or None."""
    if not _PLAUSIBLE.search(text):
        return None
    for opener in OPENERS:
        found = opener.pattern.match(text)
        if found:
            return opener, found
    return None


_PLAUSIBLE = re.compile(
    r"BUG|LOCKUP|INFO: |rcu_|WARNING|UBSAN|Oops|oom-killer|ut of memory|CRITICAL ERROR|panic|PANIC"
    r"|general protection|[Uu]nable to handle|NULL pointer|list_(?:add|del) |refcount_t"
    r"|slab error|Internal error|\[#\d|usercopy|unreferenced object|suspected memory"
)
"""A cheap test that comes first: a console may be flooded with 100 MB."""
