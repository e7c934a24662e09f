# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks that stand still, and the target's commands that they wait for.

From the samples and the console as the checks quote them, and from what was read of a stalled guest
(fixtures.evidence): its waiting tasks, and the commands that the target still has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from results.checkers import kernel_health, teardown, threads
from results.checkers.teardown import stack_of
from results.history import History
from results.kernel_log import Kind
from results.kernel_log.frames import is_machinery
from results.kernel_log.titles import COMM_MAX
from results.target_facts import NO_FACTS, TargetFacts, facts_of
from results.verdict import Check

STALLS = frozenset({
    Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.HUNG_TASK, Kind.RCU_STALL, Kind.WORKQUEUE_LOCKUP,
})
"""Kinds of reports that only show a stall; reports of other kinds may show its cause."""

SPINS = frozenset({Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP})

NONE = (None, "", 0, "0", "0x0", "NULL")
"""Possible values in a table for a NULL pointer or a flag that is not set."""

NAMED_MAX = 4
"""Tasks that a cause names; the report lists all of them."""

FOR_EVERY_CPU = frozenset({
    "__lru_add_drain_all", "__wait_rcu_gp", "synchronize_rcu", "rcu_barrier",
    "synchronize_rcu_expedited", "exp_funnel_lock"})
"""Functions that wait for every CPU: a consequence of a thread that spins on one."""

Row = Mapping[str, Any]
"""A row of a table on a stalled guest (fixtures.evidence).

A stuck command of scst_user has handle (or ucmd, its address), state, ref, sent_to_user, cmd, and
perhaps device and opcode; one of LIO tag, opcode, state, transport_state, refcount and perhaps
waiters (names of tasks). Rows with neither handle nor tag (rings) are shown, but not named in the
cause. A waiter has task, pid, state, waits_in, stack, modules.
"""


@dataclass(frozen=True)
class Standstill:
    """A task that makes no progress.

    ``where``: the most informative function of its stack, or "". ``modules``: the modules in its
    stack.
    """

    comm: str
    spins: bool
    where: str = ""
    modules: frozenset[str] = frozenset()
    facts: TargetFacts = NO_FACTS

    @property
    def name(self) -> str:
        """The task's full name if the kernel truncated it and it is known, otherwise its comm."""
        known = (name for name in self.facts.long_names if name[:COMM_MAX] == self.short)
        return next(known, self.comm)

    @property
    def short(self) -> str:
        """The comm as the console shows it; /proc shows more of a kernel thread's."""
        return self.comm[:COMM_MAX]

    @property
    def family(self) -> str:
        """Common prefix of the names of threads that work together: "scst_usr"."""
        return self.short.rpartition("_")[0]

    def waits_for(self, row: Row) -> bool:
        """Return whether the task is known to wait for a stuck command."""
        if "handle" in row:
            return self.name == self.facts.cleaner
        names = [str(each) for each in row.get("waiters") or ()]
        named = any(name in {self.comm, self.short} or name.startswith(f"{self.short}:")
                    for name in names)
        return named or (not self.spins and not self.modules.isdisjoint(self.facts.command_modules))


@dataclass(frozen=True)
class Stalled:
    """What stands still: ``tasks``, those that spin first, and the target's ``commands``."""

    tasks: Sequence[Standstill] = ()
    commands: Sequence[Row] = ()

    @classmethod
    def of(
        cls, checks: Sequence[Check], history: History, stuck: Sequence[Row] | None = None,
        waiters: Sequence[Row] | None = None,
    ) -> Stalled:
        """Find them. ``stuck``, ``waiters``: None for those that the history has."""
        evidence = history.last("harness", "evidence")
        recorded: Mapping[str, Any] = evidence.data if evidence else {}
        stuck = recorded.get("stuck", ()) if stuck is None else stuck
        waiters = recorded.get("waiters", ()) if waiters is None else waiters
        facts = facts_of(history)
        tasks = [replace(task, facts=facts)
                 for task in (*spinning(checks), *_waiting(checks, waiters))]
        return cls(tasks, [row for row in stuck if "handle" in row or "tag" in row])

    def commands_words(self) -> list[str]:
        """Return a sentence on the commands and the tasks that wait for them; empty for none."""
        known = [row for row in self.commands if any(task.waits_for(row) for task in self.tasks)]
        if not (rows := known or self.commands):
            return []
        waiting = [self._task(task) for task in self.tasks[:NAMED_MAX]
                   if any(map(task.waits_for, rows))]
        return [f"{described(rows)} never end{'s' if len(rows) == 1 else ''}", *waiting]

    def spins_in(self) -> list[str]:
        """Return where the first spinning task was seen, as one text; empty when that is unknown.
        """
        return [f"{task.name} was seen in {task.where}"
                for task in self.tasks if task.spins and task.where][:1]

    def tasks_words(self) -> list[str]:
        """Return a sentence for each task, except those that only wait for a CPU that is busy."""
        return [self._task(task) for task in self.tasks
                if (task.spins or task.where not in FOR_EVERY_CPU)
                and not any(map(task.waits_for, self.commands))
                ][:NAMED_MAX]

    def _task(self, task: Standstill) -> str:
        families = {each.family for each in self.tasks if each.spins and each.family}
        rows = [row for row in self.commands if task.waits_for(row)]
        what = f" for {'it' if len(rows) == 1 else 'them'}" if rows else ""
        if task.spins:
            return f"{task.name} spins{what}"
        if task.family in families:
            return f"{task.name} waits for it in D"
        return f"{task.name} waits{what} in D" + (f" in {task.where}" if task.where else "")


def described(rows: Sequence[Row]) -> str:
    """Return stuck commands as text, the first with its state; "" for none."""
    if not rows:
        return ""
    row = rows[0]
    name, state = _ucmd(row) if "handle" in row else _se_cmd(row)
    kind = "ucmd" if "handle" in row else "se_cmd"
    if len(rows) > 1:
        return f"{len(rows)} {kind}s, the first {name} ({state}),"
    return f"{kind} {name} ({state})"


def _ucmd(row: Row) -> tuple[str, str]:
    name = row.get("ucmd") if row.get("handle") is None else f"h={row['handle']}"
    sent = "not sent to the backend" if row.get("sent_to_user") in NONE else "sent to the backend"
    words = [] if row.get("opcode") is None else [f"opcode {shown_opcode(row['opcode'])}"]
    words += [f"state {row.get('state')}", f"ref {row.get('ref')}", sent]
    words += ["no SCSI command"] if row.get("cmd") in NONE else []
    words += [f"SCST's state {row['core_state']}"] if row.get("core_state") else []
    return f"{name} of {row['device']}" if row.get("device") else str(name), ", ".join(words)


def _se_cmd(row: Row) -> tuple[str, str]:
    flags = ", ".join(map(str, row.get("transport_state") or ())) or "-"
    return f"tag={row.get('tag')}", (
        f"opcode {shown_opcode(row.get('opcode'))}, state {row.get('state')}, transport state "
        f"{flags}, refcount {row.get('refcount')}")


def shown_opcode(opcode: object) -> str:
    """Return an operation code in hexadecimal; "-" for none."""
    return f"{opcode:#04x}" if isinstance(opcode, int) else "-" if opcode is None else str(opcode)


def spinning(checks: Sequence[Check]) -> list[Standstill]:
    """Return the spinning tasks, by the samples or, where these had ended, by the console."""
    found = [(str(spin["comm"]), stack_of(spin)) for each in evidence_of(checks, threads.NAME)
             if (spin := each.get("spinning"))]
    found += [(str(each["task"]), [str(each["frame"] or "")]) for each in quoted(checks)
              if each["task"] and each["kind"] in SPINS]
    tasks: dict[str, Standstill] = {}
    for comm, stack in found:
        where = next((frame for frame in stack if frame and not is_machinery(frame)), "")
        known = tasks.get(comm[:COMM_MAX], Standstill(comm, True, where))
        tasks[known.short] = replace(known, where=known.where or where)
    return list(tasks.values())


def _waiting(checks: Sequence[Check], waiters: Sequence[Row]) -> list[Standstill]:
    """Return the tasks in D state, by the samples, the console and the guest's memory.

    Of those in the guest's memory only tasks with a module in their stack count: others wait for a
    disk, or for no event. Those in a module come first: they wait for the target itself.
    """
    found: dict[str, Standstill] = {}
    for task in blocked(checks):
        named = (frame for frame in stack_of(task) if not is_machinery(frame))
        sampled = Standstill(str(task["comm"]), False, next(named, ""), _modules(task))
        found.setdefault(sampled.short, sampled)
    for each in quoted(checks):
        if each["task"] and each["kind"] == Kind.HUNG_TASK:
            hung = Standstill(str(each["task"]), False, each["frame"] or "")
            found.setdefault(hung.short, hung)
    for row in waiters:
        if row["state"] == "D" and row["modules"]:
            seen = Standstill(str(row["task"]), False, str(row["waits_in"]))
            known = found.get(seen.short, seen)
            found[seen.short] = replace(known, modules=known.modules | frozenset(row["modules"]))
    spins = {task.short for task in spinning(checks)}
    return sorted((task for task in found.values() if task.short not in spins),
                  key=lambda task: not task.modules)


def _modules(task: Mapping[str, Any]) -> frozenset[str]:
    """Return the modules of a sampled stack, whose frames end with "[module]"."""
    frames = [str(frame) for frame in task.get("stack") or ()]
    return frozenset(frame.rpartition("[")[2][:-1] for frame in frames if frame.endswith("]"))


def evidence_of(checks: Sequence[Check], name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the evidence of the check of that name."""
    return (each for check in checks if check.name == name
            for each in check.evidence if isinstance(each, Mapping))


def quoted(checks: Sequence[Check]) -> list[Mapping[str, Any]]:
    """Return the kernel's reports as the checks quote them (checkers.kernel_health)."""
    return [each for each in evidence_of(checks, kernel_health.NAME) if "title" in each]


def blocked(checks: Sequence[Check]) -> list[Mapping[str, Any]]:
    """Return the tasks in D state, each once: of the threads check and of the teardown check."""
    tasks = [each["blocked"] for each in evidence_of(checks, threads.NAME) if "blocked" in each]
    tasks += [each for each in evidence_of(checks, teardown.NAME) if "comm" in each]
    return list({(task["pid"], task["comm"]): task for task in reversed(tasks)}.values())[::-1]
