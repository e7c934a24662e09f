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


FUNCTION = r"(?P<frame>[A-Za-z_][\w.]*)(?:\+0x[0-9a-f]+| \([\w./-]+\.[chS]:\d+|$)"


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
    _opener(Kind.SOFT_LOCKUP, r"BUG: soft lockup detected on CPU#(?P<cpu>\d+)", "soft lockup"),
    # kernel/watchdog_hld.c (6.1), kernel/watchdog.c (6.5 and later)
    _opener(
        Kind.HARD_LOCKUP,
        r"(?:NMI )?(?:watchdog: )?(?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu ?(?P<cpu>\d+)",
        "hard lockup",
    ),
    # kernels before 2.6.38; arch/powerpc/kernel/watchdog.c
    _opener(
        Kind.HARD_LOCKUP, r"(?:BUG: )?NMI Watchdog detected LOCKUP on CPU ?(?P<cpu>\d+)",
        "hard lockup",
    ),
    _opener(
        Kind.HARD_LOCKUP,
        r"watchdog: CPU (?P<cpu>\d+) self-detected hard LOCKUP(?: @ (?P<frame>[A-Za-z_][\w.]*))?",
        "hard lockup",
    ),
    _opener(
        Kind.HARD_LOCKUP,
        r"watchdog: CPU \d+ detected hard LOCKUP on other CPUs (?P<cpu>\d+)", "hard lockup",
    ),
    _opener(Kind.HARD_LOCKUP, r"Watchdog CPU:(?P<cpu>\d+) Hard LOCKUP", "hard lockup"),
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
        r"INFO: task (?P<comm>.+):(?P<pid>\d+) (?:blocked(?: in I/O wait)?|can't die)"
        r" for more than",
        "task hung",
    ),
    # kernel/rcu/tree_stall.h, tree_exp.h, tasks.h; the "rcu: " came with 4.19
    _opener(
        Kind.RCU_STALL,
        r"(?:rcu: )?INFO: (?:rcu_\w+ )?(?:self-)?detected (?:expedited )?stalls?\b",
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
        r"(?:BUG: )?(?:[Kk]ernel NULL pointer dereference"
        r"|[Uu]nable to handle kernel NULL pointer)\b",
        "NULL pointer dereference",
    ),
    _opener(
        Kind.PAGE_FAULT,
        r"(?:BUG: [Uu]nable to handle (?:kernel(?: |\s*$)|page fault\b|paging request\b)"
        r"|Unable to handle kernel \w+|Unhandled fault: .* at 0x)",
        "page fault",
    ),
    # arch/x86/kernel/traps.c, exc_general_protection(); "Oops: " came with 6.10
    _opener(
        Kind.GENERAL_PROTECTION,
        r"(?:kasan: GPF could be caused by .*access)?(?:Oops: )?(?:segment-related )?"
        r"general protection (?:fault|maybe)?"
        r"(?:,? (?:(?:probably|maybe) )?for |: [0-9a-f]{4} \[#?\d+\])",
        "general protection fault",
    ),
    # lib/bug.c and include/linux/bug.h
    _opener(Kind.BUG, r"[Kk]ernel BUG at (?:\S+:\d+!|\S*$|[0-9a-f]{8,16}\b)", "kernel BUG"),
    _opener(
        Kind.WARNING,
        rf"WARNING: CPU: (?P<cpu>\d+) PID: (?P<pid>\d+) at \S+(?: {FUNCTION})?",
        "WARNING",
    ),
    # 6.18 and later; 6.19 adds the condition, and has no function where WARN has a format
    _opener(
        Kind.WARNING,
        rf"WARNING: (?:\[.*\] )?\S+:\d+ at (?:0x\w+|{FUNCTION}(?:/0x[0-9a-f]+)?(?: \[\S+\])?), "
        r"CPU#(?P<cpu>\d+): (?P<comm>.+)/(?P<pid>\d+)",
        "WARNING",
    ),
    # kernels before 3.11
    _opener(
        Kind.WARNING, rf"(?:WARNING: at|Badness at) ?\S+:\d+(?: {FUNCTION})?", "WARNING"),
    # mm/kasan/report.c, kernel/kcsan/report.c, mm/kmsan/report.c, mm/kfence/report.c
    _opener(
        Kind.KASAN,
        rf"BUG: KASAN: (?:slab-|vmalloc-)?(?P<what>[\w-]+)(?: in {FUNCTION})?", "KASAN: {what}",
    ),
    _opener(
        Kind.KCSAN, r"BUG: KCSAN: (?P<what>assert: race|[\w-]+)(?: in (?P<frame>[A-Za-z_][\w.]*))?",
        "KCSAN: {what}",
    ),
    _opener(Kind.KMSAN, rf"BUG: KMSAN: (?P<what>[\w-]+)(?: in {FUNCTION})?", "KMSAN: {what}"),
    _opener(
        Kind.KFENCE,
        r"BUG: KFENCE: (?P<what>memory corruption|invalid free|[\w-]+)(?: (?:read|write))?"
        rf"(?: in {FUNCTION})?",
        "KFENCE: {what}",
    ),
    # lib/ubsan.c
    _opener(
        Kind.UBSAN, r"UBSAN: (?P<what>[Uu]ndefined behaviour|[\w-]+) in ", "UBSAN: {what}"),
    # kernel/locking/lockdep.c; the words in front differ: WARNING, INFO and BUG, in brackets or not
    _opener(
        Kind.LOCKDEP,
        r"(?:\[ ?)?(?:WARNING|INFO|BUG): (?P<what>possible (?:circular|recursive) locking"
        r"|possible irq lock inversion|inconsistent(?: \{[^}]*\})? lock state|suspicious RCU usage"
        r"|suspicious rcu_dereference\w*(?:\(\))? usage|bad unlock balance|bad contention"
        r"|held lock freed"
        r"|lock held (?:when returning to user space|at task exit time)|Invalid wait context"
        r"|[Nn]ested lock was not taken|\S+-safe -> \S+-unsafe lock order"
        r"|trying to register non-static key)",
        "lockdep: {what}",
    ),
    _opener(
        Kind.LOCKDEP,
        r"(?:\[ ?)?(?:WARNING|BUG): (?P<comm>.+)/(?P<pid>\d+) (?P<what>still has locks held)",
        "lockdep: {what}",
    ),
    _opener(
        Kind.LOCKDEP, r"\[ ?BUG: (?P<what>.*still has locks held)", "lockdep: {what}"),
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
    # before 3.3
    _opener(
        Kind.SLAB_CORRUPTION,
        r"BUG (?P<cache>[\w.-]+): (?P<what>(?:Objects? |Poison |Redzone |Invalid |Freechain |Freep"
        r"|Wrong |Freelist |Alignment |Left |Right ).+)",
        "slab: {what}",
    ),
    # mm/slab_common.c, kmem_cache_destroy() before 6.14
    _opener(
        Kind.SLAB_CORRUPTION,
        r"kmem_cache_destroy (?P<cache>\S+): (?P<what>Slab cache still has objects)",
        "slab: {what}",
    ),
    # lib/refcount.c
    _opener(
        Kind.REFCOUNT,
        r"refcount_t: (?P<what>underflow|(?:addition|increment) on 0|saturated|decrement hit 0"
        r"|hit 0)",
        "refcount: {what}",
    ),
    # mm/usercopy.c, usercopy_abort()
    _opener(
        Kind.USERCOPY,
        r"usercopy: (?:Bad or missing usercopy whitelist\? )?[Kk]ernel memory "
        r"(?P<what>overwrite|exposure) attempt detected ",
        "usercopy: memory {what}",
    ),
    # mm/slab_common.c, kmem_cache_destroy() (6.14 and later) and mm/slub.c, list_slab_objects()
    # are of slab_bug() above. mm/kmemleak.c, print_unreferenced() and kmemleak_scan()
    _opener(Kind.MEMORY_LEAK, r"BUG: memory leak$", "memory leak"),
    _opener(
        Kind.MEMORY_LEAK, r"(?:kmemleak: )?unreferenced object (?:\(percpu\) )?0x[0-9a-f]+ \(",
        "memory leak",
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
        r"(?:\[(?P<pid>\d+)\]: )?(?:[\w-]+: ?){0,2}?(?:(?P<frame>[A-Za-z_]\w*):)?(?:\d+: ?)?"
        r"\*{2,3}CRITICAL ERROR\*{2,3}:? ?(?P<what>.*)",
        "SCST critical error: {what}", bare=True,
    ),
    # scst/include/scst_debug.h, EXTRACHECKS_BUG_ON and sBUG_ON: before BUG() itself
    _opener(
        Kind.BUG, r"BUG at (?:\S*/)?(?P<what>[\w.-]+\.[ch]):\d+", "BUG at {what}", bare=True,
    ),
    # kernel/panic.c
    _opener(
        Kind.PANIC, r"Kernel panic(?: - not syncing)?(?:: (?P<what>.*))?$", "kernel panic: {what}",
        bare=True,
    ),
    # arch/*/kernel/traps.c: "Oops: 0000 [#1]", "Oops: invalid opcode: 0000 [#1]" (6.10 and later)
    _opener(
        Kind.OOPS,
        r"(?:traps: )?(?:Oops: )*(?P<what>divide[ _]error|invalid opcode|int3"
        r"|stack[ -]segment|overflow|bounds|alignment check|invalid TSS|segment not present"
        r"|double fault|control protection"
        r"|stack guard page|kernel stack overflow \([\w-]+\)|NMI IRET)(?: fault)?"
        r": [0-9a-f]{4} \[#?\d+\]",
        "oops: {what}",
    ),
    _opener(Kind.OOPS, r"(?:traps: )?PANIC: (?P<what>double fault)", "oops: {what}"),
    _opener(
        Kind.OOPS,
        r"(?:Oops: )+[0-9a-f]{4,16} (?:ilc:\d+ )?(?:\[#?\d+\]|\d+\b)"
        r"|Internal error: (?:.* \[#?\d+\]|Oops\b)"
        r"|(?:illegal operation|[\w -]+ exception): [0-9a-f]{4} (?:ilc:\d+ )?\[#?\d+\]"
        r"|Oops: .*, sig: \d+ \[#\d+\]|Oops \[#\d+\]",
        "oops",
    ),
    # arch/x86/kernel/traps.c, handle_stack_overflow(); arch/arm64/kernel/traps.c, panic_bad_stack()
    _opener(
        Kind.BUG, r"BUG: (?:\w+ )?stack guard page was hit at ", "stack overflow: stack guard page",
    ),
    _opener(
        Kind.OOPS, r"Insufficient stack space to handle exception!", "kernel stack overflow",
    ),
    # lib/smp_processor_id.c
    _opener(
        Kind.BUG,
        r"BUG: using (?P<what>\S+) in preemptible \[[0-9a-f]+\] code: (?P<comm>.+)/(?P<pid>\d+)",
        "BUG: {what} in preemptible code",
    ),
    # kernel/locking/spinlock_debug.c
    _opener(
        Kind.BUG,
        r"BUG: (?P<what>(?:spin|rw)lock [a-z ]+) on CPU#(?P<cpu>\d+), (?P<comm>.+)/(?P<pid>\d+)",
        "BUG: {what}",
    ),
    # kernel/workqueue.c, process_one_work()
    _opener(
        Kind.BUG,
        r"BUG: (?P<what>workqueue leaked (?:lock or atomic|atomic, lock or RCU)): "
        r"(?P<comm>[^/]+(?:/[^/]+)??)(?:\[(?P<pid>\d+)\]|/0x)",
        "BUG: {what}",
    ),
    # everything else that calls itself a bug of the kernel
    _opener(Kind.BUG, r"BUG: (?P<what>\S.*)", "BUG: {what}"),
)


HUNG_HINT = '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables'
"""The third line of a hung task's report."""

HUNG_WITHOUT_HEAD = _opener(
    Kind.HUNG_TASK,
    r"task:(?P<comm>.+?)\s+state:D\s.*?pid: *(?P<pid>\d+)"
    r"|(?P<comm_>\S.{0,14}?)\s+D\s(?:[0-9a-f]{8,16} )?\s*\d+\s+(?P<pid_>\d+)\s+\d+ 0x[0-9a-f]{8}",
    "task hung")
"""The fourth line, with which the report opens where the log begins after the first."""

HEADLESS = (
    # arch/x86/mm/fault.c, show_fault_oops()
    _opener(
        Kind.PAGE_FAULT, r"#PF: (?:supervisor|user) (?:read|write|instruction)", "page fault"),
    # mm/kasan/report.c, print_error_description()
    _opener(
        Kind.KASAN,
        r"(?P<what>Read|Write) of size \d+ at addr [0-9a-f]+ by task (?P<comm>.+)/(?P<pid>\d+)",
        "KASAN: bad access ({what})"),
    # kernel/rcu/tree_stall.h
    _opener(
        Kind.RCU_STALL,
        r"(?:rcu: )?\s*(?:\d+-[.\w!?]+: \(.*idle=|\((?:t=\d+ jiffies|detected by \d+, t=))",
        "RCU stall"),
)
"""Later lines with which a report opens where the log begins after its first."""


def match(text: str) -> tuple[Opener, re.Match[str]] | None:
    """Return the first opener that matches a message, with its match, or None."""
    if not _PLAUSIBLE.search(text):
        return None
    return _first(OPENERS, text.lstrip())


def match_headless(text: str) -> tuple[Opener, re.Match[str]] | None:
    """Return the opener of a report of whose first line the log has none, or None."""
    return _first(HEADLESS, text)


def _first(openers: tuple[Opener, ...], text: str) -> tuple[Opener, re.Match[str]] | None:
    for opener in openers:
        found = opener.pattern.match(text)
        if found:
            return opener, found
    return None


_PLAUSIBLE = re.compile(
    r"BUG|LOCKUP|INFO: |rcu_|WARNING|UBSAN|Oops|oom-killer|ut of memory|CRITICAL ERROR|panic|PANIC"
    r"|general protection|[Uu]nable to handle|NULL pointer|list_(?:add|del) |refcount_t"
    r"|slab error|Internal error|\[#\d|: [0-9a-f]{4} (?:ilc:\d+ )?\[\d+\]|usercopy"
    r"|unreferenced object|suspected memory|kmem_cache_destroy|Hard LOCKUP|Unhandled fault|Badness"
    r"|stack space"
)
"""A cheap test that comes first: a console may be flooded with 100 MB."""
