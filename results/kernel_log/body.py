# SPDX-License-Identifier: GPL-2.0-or-later
"""Beginnings of the lines that belong to a report; other lines in between are unrelated."""

from __future__ import annotations

import re

from results.kernel_log.frames import CONTEXT, FRAME, POINTER

BODY = {
    "the task and its machine": r"""
        CPU:?\  | Pid:\  | Process\  | Hardware\ name:\  | Workqueue:\  | Modules\ linked\ in
        | [\[(]?[Ll]ast\ unloaded
        | task: | Tainted:\  | \s+(?:Not\ t|T)ainted | \s+task:PID
    """,
    "registers": r"""
        [RE]?IP:\  | EFLAGS | Code:\  | [A-Z0-9]{2,6}:\ ?[0-9a-f]{4} | Oops | PGD\  | KASAN:
        | \#PF:\  | pc\ :\  | lr\ :\  | sp\ :\  | x\d+\ ?:\  | pstate:\  | Mem\ abort | Data\ abort
        | ESR | NIP | LR\b | Krnl\  | GPR\d | REGS: | MSR: | CFAR | SOFTE | e?pc\s*: | epc\b
        | r\d+\ ?: | Backtrace: | Instruction\ dump | Stack: | Exception\ stack | PC\ is
        | Flags:\  | Control:\  | LR\ is | pgd\ = | \[[0-9a-f]{8,16}\]\ | Last\ Breaking
    """,
    "stacks": r"""
        Call\ [Tt]race: | Sending\ NMI | NMI\ backtrace | Task\ dump | stack\ backtrace: | ---\[
    """,
    "hung tasks": r"""
        "echo\ 0\ >\  | Future\ hung\ task | INFO:\ task\ .*\ blocked\ on
    """,
    "RCU": r"""
        rcu:\  | RCU\ grace-period | \s*\((?:t=|detected\ by|\d+\ ticks) | \s+\d+-[.\w!?]+:\ \(
        | \s*Tasks\ blocked\ on\ level | blocking\ rcu_node
    """,
    "locks": r"""
        irq\ event\ stamp | hardirqs\ last | softirqs\ last | Showing\ (?:all\ locks|busy)
        | \d+\ locks?\ held | no\ locks\ held | \ \#\d+:\  | ->\ \#\d | INFO:\ lockdep | other\ info
        | (?:and|but)\ (?:task|this|there) | which\ lock | the\ existing | Chain\ exists
        | Possible\ unsafe | \s+(?:\*\*\*\ DEADLOCK|CPU0|lock\() | \S+/\d+\ is\ (?:trying|freeing
        |leaving|holding|\[HC) | \s*\(.*\{[-+.?]{4,} | \{[\w?-]+\}\ state | \.\.\.\ which
        | [0-9a-f]{16}\ \( | .*suspicious\ rcu_ | Disabling\ lock\ debugging
        | in_atomic\(\) | preempt_count | RCU\ nest | Preemption\ disabled
    """,
    "memory": r"""
        INFO:\ (?:Slab|Object|Allocated|Freed) | Slab\ 0x | Object\  | Redzone | Padding | Bytes\ b4
        | (?:First|Last)\ byte | [Aa]llocated\ (?:by|in) | [Ff]reed\ (?:by|in) | FIX
        | (?:Read|Write)\ of\ size | The\ buggy | \s*which\ belongs | page:\ ?| flags:\  | raw:
        | page\ (?:dumped|last) | head:\  | Memory\ state | \ ?>?ff[0-9a-f]{14} | \s+\^ | kfence-\#
        | (?:race\ at|value\ changed|(?:read|write).*\ to\ 0x) | Reported\ by\ Kernel
    """,
    "memory leaks": r"""
        kmemleak:\  | \s*comm\ " | \s*hex\ dump\ \( | \s*(?:[0-9a-f]{2}\ ){8} | \s*backtrace[\ :]
    """,
    "out of memory": r"""
        Mem-Info | Node\ \d | \ ?active_anon | oom-kill: | oom_reaper | Tasks\ state | \[\ *pid
        | \[\ *\d+\]\ +\d | \d+\ (?:total\ pagecache|pages)
        | Free\ swap | Total\ swap | lowmem_reserve
    """,
    "the message itself": r"""
        list_(?:add|del) | kernel\ BUG | shift\ exponent | index\ -?\d+\ is | load\ of\ value
        | (?:un)?signed\ integer | division\ by\ zero | member\ access
    """,
    "workqueues": r"""
        workqueue\  | pool\ \d+: | \s+(?:pwq|in-flight|pending|inactive)
    """,
    "rules": r"""
        =+$ | -+$
    """,
    "the end": r"""
        Kernel\ panic | Kernel\ Offset | Rebooting | Shutting\ down | Dumping\ ftrace
        | note:\ .*\ exited
    """,
}
"""Patterns by subject. Verbose regular expressions: a blank is written with a backslash."""

_BODY = re.compile("|".join(f"(?:{pattern})" for pattern in BODY.values()), re.VERBOSE)


def belongs(text: str) -> bool:
    """Return whether a message can belong to an open report."""
    return is_stack(text) or _BODY.match(text) is not None


def is_stack(text: str) -> bool:
    """Return whether a message is a line of a stack."""
    return any(pattern.match(text) for pattern in (FRAME, POINTER, CONTEXT)) or (
        text.lstrip().startswith(("Call Trace:", "Call trace:"))
    )
