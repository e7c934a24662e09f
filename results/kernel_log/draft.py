# SPDX-License-Identifier: GPL-2.0-or-later
"""A report while it is being read: from its opening line to the last that belongs to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from results.kernel_log.frames import FRAME, POINTER, Frame, Section, is_machinery, naming, plain
from results.kernel_log.kinds import Kind, Opener
from results.kernel_log.lines import Line
from results.kernel_log.report import Report
from results.kernel_log.titles import cache_name, instance_free, normalised

CPU = re.compile(
    r"CPU: (?P<cpu>\d+)(?: UID: \d+)? PID: (?P<pid>\d+)"
    r"(?: Comm: (?P<comm>.+?))?(?: ve: \d+)?"
    r"(?: (?:Kdump: loaded )?(?:Not tainted|Tainted: ).*|\s*\[?(?:\.\.\.|\u2026)\]?|\s*)$"
)
"""The task's line; a container's number, or dots of who shortened it, may follow the comm."""

OLD_TASK = re.compile(r"Pid: (?P<pid>\d+), comm: (?P<comm>.+?)(?: (?:Not t|T)ainted|\s*$)")
"""The same before 3.10 (dump_stack_print_info, kernel/printk.c)."""

ASIDE_TASK = re.compile(
    r"Process (?P<comm>.+?) \(pid: (?P<pid>\d+)"
    r"|in_atomic\(\): .*pid: (?P<pid_>\d+), name: (?P<comm_>.+?)\s*$"
    r"|(?P<comm__>\S.{0,14})/(?P<pid__>\d+) (?:is (?:trying|freeing|leaving|exiting)|\[HC\d)")
"""Lines that name the task where a report has no line of its own for it."""

OWN_CPU = re.compile(r"EIP: .* CPU: (?P<cpu>\d+)$|CPU (?P<cpu_>\d+)\s*$")
"""The CPU in the registers, before 3.10."""

TASK = re.compile(r"task:(?P<comm>.+?)\s+state:\S\s.*?pid:\s*(?P<pid>\d+)")
ALLOCATOR = re.compile(r"\s*comm \"(?P<comm>.+?)\", pid (?P<pid>\d+)")
"""The task that allocated leaked memory (print_unreferenced, mm/kmemleak.c)."""

BACKTRACE = re.compile(r"(?:NMI backtrace for cpu|Task dump for CPU) (?P<cpu>\d+)")
STACK_FOLLOWS = re.compile(r"stack backtrace:")
SECTIONS = (CPU, OLD_TASK, TASK, BACKTRACE, ALLOCATOR, STACK_FOLLOWS)
"""Lines that announce a task's or CPU's stack."""

STALLED = re.compile(r"\s*(?:rcu: )?\s*(?P<cpu>\d+)-[.\w!?]+: \(")
IN_BRACES = re.compile(r"\{ *(?P<cpus>\d+(?:[ -][^}]*)?)\}")
"""The stalled CPUs of an expedited stall, and of all stalls before 3.19."""
ACQUIRE = re.compile(r".*, at: (?:\[<[0-9a-fx]+>\] )?(?P<function>[A-Za-z_][\w.]*)\+0x")
OTHERS = re.compile(
    r"(?:(?:INFO: )?(?:Allocated|Freed) (?:by task|in )|Last potentially related work"
    r"|Second to last potential|page last (?:allocated|free)|-> #\d+ \("
    r"|the existing dependency chain"
    r"|rcu: RCU grace-period kthread stack dump|rcu: Stack dump where RCU GP kthread last ran"
    r"|RCU grace-period kthread stack dump|allocated by task|freed by task|the code path"
    r"|\{[\w?-]+\} state was registered at:|\.\.\. which became )"
)
"""Lines after which the stack of another task follows."""

END = re.compile(r"---\[ end (?:trace|Kernel panic)")
STALLS = frozenset({Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL, Kind.HUNG_TASK})
"""Kinds that concern the task, even when detected in an interrupt."""


ACCESSES = frozenset({Kind.GENERAL_PROTECTION, Kind.PAGE_FAULT, Kind.NULL_DEREFERENCE, Kind.OOPS})
"""Kinds of an access to memory that is not there."""

POISON = re.compile(r"\b(?:0x)?(?:6b){6,7}[0-9a-f]{0,4}\b")
"""POISON_FREE (include/linux/poison.h) in an address or a register: the object had been freed."""


@dataclass
class Draft:
    """A report while it is being read.

    ``stalled``: CPUs that a stall report names. ``acquire``: the function that takes the lock of a
    lockdep report. ``aside``: number of unrelated lines since the last of its own.
    """

    opener: Opener
    found: re.Match[str]
    first: Line
    lines: list[str]
    sections: list[Section] = field(default_factory=list)
    stalled: set[int] = field(default_factory=set)
    acquire: str | None = None
    over: bool = False
    aside: int = 0
    task_aside: tuple[str, str] | None = None
    cpu_aside: str | None = None
    last_time: float | None = None

    def __post_init__(self) -> None:
        if self.kind is Kind.RCU_STALL and (braces := IN_BRACES.search(self.first.text)):
            self.stalled |= {int(cpu) for cpu in re.findall(r"\b(\d+)(?:-\S+)?", braces["cpus"])}

    @property
    def kind(self) -> Kind:
        """The kind of report."""
        return self.opener.kind

    def group(self, name: str) -> str | None:
        """Return a named group of the opening line, or None."""
        groups = self.found.groupdict()
        return groups.get(name) or groups.get(f"{name}_")

    def take(self, line: Line) -> None:
        """Take in a line that belongs to the report."""
        self.lines.append(line.raw)
        self.last_time = line.time if line.time is not None else self.last_time
        self.aside = 0
        text = line.text
        if self.kind is Kind.MEMORY_LEAK:
            text = text.removeprefix("kmemleak: ")
        self._aside(text)
        stalled = STALLED.match(text) if self.kind is Kind.RCU_STALL else None
        if stalled:
            self.stalled.add(int(stalled["cpu"]))
        elif OTHERS.match(text):
            self.sections.append(Section(names=False))
        elif self._begins_section(text):
            return
        elif self.sections:
            self.sections[-1].take(text)
        elif FRAME.match(text) or POINTER.match(text):
            self.sections.append(Section())
            self.sections[-1].take(text)
        if self.kind is Kind.LOCKDEP and self.acquire is None and (found := ACQUIRE.match(text)):
            self.acquire = plain(found["function"])
        if END.match(text):
            self.over = True

    def expects(self, cpu: int, pid: int) -> bool:
        """Return whether the opening announced this CPU or task and its stack is still to come."""
        announced = cpu in self.stalled or self.group("cpu") == str(cpu)
        return (announced or self.group("pid") == str(pid)) and not any(
            section.pid is not None and section.names for section in self.sections
        )

    def _begins_section(self, text: str) -> bool:
        """Take in a line that announces a task's or CPU's stack; return whether it was one."""
        found = next(filter(None, (each.match(text) for each in SECTIONS)), None)
        if not found:
            return False
        fields = found.groupdict()
        cpu = int(fields["cpu"]) if fields.get("cpu") else None
        pid = int(fields["pid"]) if fields.get("pid") else None
        last = self.sections[-1] if self.sections else Section(pid=0)
        announced = {None} if pid is None else {None, cpu if found.re is CPU else last.cpu}
        if last.frames or last.pid is not None or last.cpu not in announced:
            last = Section()
            self.sections.append(last)
        last.cpu = last.cpu if cpu is None else cpu
        last.pid, last.comm = pid, fields.get("comm")
        return True

    def report(self) -> Report:
        """Return the finished report."""
        sections = self._ordered()
        chosen = naming(sections)
        section = chosen[1] if chosen else (sections[0] if sections else None)
        bystander = chosen is not None and self._merely_interrupted(*chosen)
        frame = chosen[1].frames[0].function if chosen and bystander else (
            self._header_frame() or (chosen[0].function if chosen else self._any_frame(sections)))
        if section and section.pid is None:
            section = next((each for each in sections if each.pid is not None), section)
        comm = self.group("comm") or (section.comm if section else None)
        pid = self.group("pid") or (section.pid if section else None)
        cpu = self.group("cpu") or (section.cpu if section else None)
        if comm is None and pid is None and self.task_aside:
            comm, pid = self.task_aside
        cpu = self.cpu_aside if cpu is None else cpu
        in_interrupt = bystander or (
            bool(chosen and chosen[0].interrupt) and self.kind not in STALLS)
        return Report(
            kind=self.kind,
            title=self._title(frame, None if in_interrupt else comm),
            frame=frame,
            task=comm,
            pid=None if pid is None else int(pid),
            cpu=None if cpu is None else int(cpu),
            time=self.first.time,
            lines=tuple(self.lines),
            frames=(frame,) if frame and bystander else tuple(
                each.function for each in (chosen[1].frames if chosen else ())),
        )

    def _aside(self, text: str) -> None:
        """Note the task or CPU that a line names in passing."""
        if self.task_aside is None and (found := ASIDE_TASK.match(text)):
            comm, pid = (each for each in found.groups() if each)
            if found["pid_"]:
                comm, pid = pid, comm
            self.task_aside = comm, pid
        if self.cpu_aside is None and (found := OWN_CPU.match(text)):
            self.cpu_aside = found["cpu"] or found["cpu_"]

    def _merely_interrupted(self, frame: Frame, section: Section) -> bool:
        """Return whether the frame belongs to an interrupted task that is not the cause.

        Such a warning is one of the interrupt's own machinery (__run_timers of a timer without a
        function).
        """
        return (self.kind is Kind.WARNING and not frame.interrupt
                and is_machinery(section.frames[0].function)
                and any(each.interrupt for each in section.frames))

    def _ordered(self) -> list[Section]:
        """Return the sections that may name the report: those of the CPU in question, if any."""
        wanted = {int(cpu)} if (cpu := self.group("cpu")) else self.stalled
        sections = [section for section in self.sections if section.names]
        return [section for section in sections if section.cpu in wanted] or sections

    def _header_frame(self) -> str | None:
        if self.acquire and not is_machinery(self.acquire):
            return self.acquire
        frame = self.group("frame")
        if frame is None or is_machinery(plain(frame)):
            return None
        return plain(frame)

    def _any_frame(self, sections: Sequence[Section]) -> str | None:
        """Return the function in a WARNING's first line where the report has no stack at all."""
        frame = self.group("frame")
        bare = self.kind is Kind.WARNING and not any(each.frames for each in sections)
        return plain(frame) if frame and bare else None

    def _title(self, frame: str | None, comm: str | None) -> str:
        what = normalised(self.group("what") or "")
        title = self.opener.title.format(what=what).strip(" :")
        if self.opener.bare:
            return title
        if self.kind in ACCESSES and any(POISON.search(line) for line in self.lines):
            title += ": use after free"
        if cache := self.group("cache"):
            return f"{title} in {cache_name(cache)}" if cache not in title else title
        if frame:
            title += f" in {frame}"
        elif self.kind is Kind.RCU_STALL:
            return title  # the interrupted task, idle or in user space, is not the cause
        return f"{title} ({instance_free(comm)})" if comm else title
