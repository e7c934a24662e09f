"""Reports: from the line that opens one to the last line that belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from results.kernel_log.frames import FRAME, POINTER, Section, is_machinery, naming, plain
from results.kernel_log.kinds import Kind, Opener, match
from results.kernel_log.lines import Line, split
from results.kernel_log.titles import cache_name, instance_free, normalised


@dataclass(frozen=True)
class Report:
    """One complaint of the kernel.

    ``title``: the same for the same bug. ``frame``: the function that names it. ``frames``: all
    functions of the stack that names it, innermost first. ``task``: comm as the kernel wrote it.
    ``time``: seconds since boot. What the log does not tell is None.
    """

    kind: Kind
    title: str
    frame: str | None
    task: str | None
    pid: int | None
    cpu: int | None
    time: float | None
    lines: tuple[str, ...]
    frames: tuple[str, ...] = ()


def read(log: str | bytes) -> list[Report]:
    """Return the reports of a console log in the order in which they open."""
    return [draft.report() for draft in _drafts(split(log))]


CPU = re.compile(
    r"CPU: (?P<cpu>\d+)(?: UID: \d+)? PID: (?P<pid>\d+)"
    r"(?: Comm: (?P<comm>.+?))?(?: (?:Kdump: loaded )?(?:Not tainted|Tainted: ).*|\s*)$"
)
TASK = re.compile(r"task:(?P<comm>.+?)\s+state:\S\s.*?pid:\s*(?P<pid>\d+)")
BACKTRACE = re.compile(r"(?:NMI backtrace for cpu|Task dump for CPU) (?P<cpu>\d+)(?P<skipped> skip)?")
STALLED = re.compile(r"\s*(?:rcu: )?\s*(?P<cpu>\d+)-[.\w!?]+: \(")
EXPEDITED = re.compile(r"\{ (?P<cpu>\d+)-")
ACQUIRE = re.compile(r".*, at: (?P<function>[A-Za-z_][\w.]*)\+0x")
OTHERS = re.compile(
    r"(?:Allocated by task|Freed by task|Last potentially related work|Second to last potential"
    r"|page last (?:allocated|free)|-> #\d+ \(|the existing dependency chain"
    r"|rcu: RCU grace-period kthread stack dump|rcu: Stack dump where RCU GP kthread last ran"
    r"|RCU grace-period kthread stack dump|allocated by task|freed by task|the code path)"
)
"""Lines after which the stack of somebody else follows."""

CUT_HERE = "------------[ cut here ]------------"
RULE = re.compile(r"=+$")
END = re.compile(r"---\[ end (?:trace|Kernel panic)")
OTHER_DUMP = re.compile(r"sysrq: |stf: ")
"""Somebody asked for stacks, or a scenario begins: what follows belongs to no report."""

BODY = re.compile(
    r"CPU: |Hardware name: |Workqueue: |Code: |[A-Z0-9]{2,6}: ?[0-9a-f]{4}|RIP: |EFLAGS|Call [Tt]race:"
    r"|Modules linked in|[\[(]?[Ll]ast unloaded|task:|Tainted: |\s+(?:Not t|T)ainted"
    r"|\"echo 0 > |Future hung task|INFO: task .* blocked on|PGD |#PF: |Oops|Sending NMI|NMI backtrace"
    r"|Task dump|rcu: |\t?\((?:t=|detected by|\d+ ticks)|irq event stamp|hardirqs last|softirqs last"
    r"|---\[ |Showing (?:all locks|busy)|\d+ locks? held|no locks held| #\d+: |-> #|=+$|-+$"
    r"|INFO: (?:Slab|Object|Allocated|Freed|lockdep)|Slab 0x|Object |Redzone|Padding|Bytes b4"
    r"|(?:First|Last) byte|Allocated |Freed |allocated by|freed by|FIX |Disabling lock debugging"
    r"|(?:Read|Write) of size|(?:read|write) (?:\([\w-]+\) )?to 0x|value changed|The buggy|which belongs"
    r"|\s+(?:which belongs|located)|page:|flags: |raw: |page dumped|page last|head: |Memory state"
    r"| ?>?ffff|\s+\^|Mem-Info|Node \d|active_anon|oom-kill:|oom_reaper|Tasks state|\[ +pid"
    r"|\[ *\d+\] +\d|in_atomic\(\)|preempt_count|RCU nest|Preemption disabled|other info|stack backtrace"
    r"|which lock|but task|the existing|Chain exists|Possible unsafe|\s+\*\*\* DEADLOCK|\s+CPU0"
    r"|Kernel panic|Kernel Offset|Rebooting|Shutting down|Dumping ftrace|KASAN: |Mem abort|Data abort"
    r"|pc : |lr : |sp : |x\d+ ?: |pstate: |\S+/\d+ is (?:trying|freeing|leaving|holding)|ffff|note: .* exited"
    r"|pwq |workqueue |\s+(?:pwq|in-flight|pending|lock\()|shift exponent|index \d+|load of|signed integer"
    r"|list_(?:add|del)|kernel BUG|(?:prev|next)->|pagetables"
)
"""How the lines begin that belong to a report; others between them are somebody else's."""

PREAMBLES = frozenset({Kind.LIST_CORRUPTION, Kind.REFCOUNT, Kind.UBSAN, Kind.KFENCE})
"""Kinds whose message comes before the WARNING or kernel BUG that carries the stack."""

DETAILED_BY_OOPS = frozenset({
    Kind.NULL_DEREFERENCE, Kind.PAGE_FAULT, Kind.BUG, Kind.GENERAL_PROTECTION, *PREAMBLES,
})
"""Kinds after whose first line the Oops line follows."""

STALLS = frozenset({Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL, Kind.HUNG_TASK})
"""Kinds that concern the task, whatever interrupt they were noticed in."""

PREAMBLE_MAX = 6
GAP_MAX = 5.0
"""Seconds without a line of its own after which a report is over."""
ASIDE_MAX = 60
"""Lines of others in a row after which a report is over."""


@dataclass
class _Draft:
    """A report while it is being read."""

    opener: Opener
    found: re.Match[str]
    first: Line
    lines: list[str]
    sections: list[Section] = field(default_factory=list)
    stalled: set[int] = field(default_factory=set)
    acquire: str | None = None
    over: bool = False
    aside: int = 0
    last_time: float | None = None
    others: bool = False

    @property
    def kind(self) -> Kind:
        return self.opener.kind

    def group(self, name: str) -> str | None:
        """Return what the opening line says by that name."""
        return self.found.groupdict().get(name)

    def take(self, line: Line) -> None:
        """Take in a line that belongs to the report."""
        self.lines.append(line.raw)
        self.last_time = line.time if line.time is not None else self.last_time
        self.aside = 0
        text = line.text
        stalled = STALLED.match(text) if self.kind is Kind.RCU_STALL else None
        if stalled:
            self.stalled.add(int(stalled["cpu"]))
        elif OTHERS.match(text):
            self.others = True
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

    def _begins_section(self, text: str) -> bool:
        found = CPU.match(text) or TASK.match(text) or BACKTRACE.match(text)
        if not found:
            return False
        fields = found.groupdict()
        cpu = int(fields["cpu"]) if fields.get("cpu") else None
        if "pid" not in fields:  # the CPU line follows
            self.sections.append(Section(cpu=cpu, names=not self._of_others()))
            return True
        pid, comm = int(fields["pid"]), fields.get("comm")
        last = self.sections[-1] if self.sections else None
        if last and not last.frames and last.pid is None and (last.cpu in {cpu, None}):
            last.cpu, last.pid, last.comm = cpu, pid, comm
            return True
        names = not self._of_others() or self.kind in {Kind.LOCKDEP, Kind.KASAN}
        self.sections.append(Section(cpu, comm, pid, names))
        return True

    def _of_others(self) -> bool:
        return self.others and self.kind is Kind.RCU_STALL and bool(
            self.sections and not self.sections[-1].names and not self.sections[-1].frames
        )

    def report(self) -> Report:
        """Return the finished report."""
        sections = self._ordered()
        chosen = naming(sections)
        section = chosen[1] if chosen else (sections[0] if sections else None)
        frame = self._header_frame() or (chosen[0].function if chosen else None)
        comm = self.group("comm") or (section.comm if section else None)
        pid = self.group("pid") or (section.pid if section else None)
        cpu = self.group("cpu") or (section.cpu if section else None)
        in_interrupt = bool(chosen and chosen[0].interrupt) and self.kind not in STALLS
        return Report(
            kind=self.kind,
            title=self._title(frame, None if in_interrupt else comm),
            frame=frame,
            task=comm,
            pid=None if pid is None else int(pid),
            cpu=None if cpu is None else int(cpu),
            time=self.first.time,
            lines=tuple(self.lines),
            frames=tuple(each.function for each in section.frames) if section else (),
        )

    def _ordered(self) -> list[Section]:
        """Return the sections that may name the report, that of the CPU in question first."""
        wanted = {int(cpu)} if (cpu := self.group("cpu")) else self.stalled
        sections = [section for section in self.sections if section.names]
        return sorted(sections, key=lambda section: section.cpu not in wanted)

    def _header_frame(self) -> str | None:
        if self.acquire and not is_machinery(self.acquire):
            return self.acquire
        frame = self.group("frame")
        if frame is None or is_machinery(plain(frame)):
            return None
        return plain(frame)

    def _title(self, frame: str | None, comm: str | None) -> str:
        what = normalised(self.group("what") or "")
        title = self.opener.title.format(what=what).strip(" :")
        if self.opener.bare:
            return title
        if cache := self.group("cache"):
            return f"{title} in {cache_name(cache)}" if cache not in title else title
        if frame:
            title += f" in {frame}"
        return f"{title} ({instance_free(comm)})" if comm else title


class _Reader:
    """Assigns lines to reports, several of which may be open when CPUs write at once."""

    def __init__(self) -> None:
        self.drafts: list[_Draft] = []
        self._open: list[_Draft] = []
        self._preamble: dict[str | None, list[Line]] = {}

    def line(self, line: Line) -> None:
        """Take in the next line of the log."""
        self._close(line)
        opened = match(line.text)
        draft = self._route(line)
        if opened:
            if draft := self._continued(draft, opened[0], line):
                draft.take(line)
            else:
                self._begin(opened, line)
        elif line.text.startswith(CUT_HERE) or (RULE.match(line.text) and not draft):
            self._preamble[line.caller] = [line]
        elif (draft and BODY.match(line.text)) or (draft and _is_stack(line.text)):
            self._promote(draft)
            draft.take(line)
        elif line.caller in self._preamble:
            self._add_to_preamble(line)
        elif draft:
            draft.aside += 1

    def _begin(self, opened: tuple[Opener, re.Match[str]], line: Line) -> None:
        before = [each.raw for each in self._preamble.pop(line.caller, [])]
        draft = _Draft(*opened, line, [*before, line.raw], last_time=line.time)
        if expedited := EXPEDITED.search(line.text):
            draft.stalled.add(int(expedited["cpu"]))
        self.drafts.append(draft)
        self._open.append(draft)

    def _add_to_preamble(self, line: Line) -> None:
        preamble = self._preamble[line.caller]
        preamble.append(line)
        if len(preamble) > PREAMBLE_MAX:
            del self._preamble[line.caller]

    def _close(self, line: Line) -> None:
        if OTHER_DUMP.match(line.text):
            self._open.clear()
        self._open = [
            draft for draft in self._open
            if not draft.over and draft.aside <= ASIDE_MAX and not _too_late(draft, line)
        ]

    def _route(self, line: Line) -> _Draft | None:
        """Return the open report that a line belongs to, if it belongs to any."""
        same = [draft for draft in self._open if draft.first.caller == line.caller]
        candidates = same or [draft for draft in self._open if draft.kind in STALLS]
        if not candidates:
            return None
        if cpu := CPU.match(line.text):
            return _expecting(candidates, int(cpu["cpu"]), int(cpu["pid"])) or candidates[-1]
        latest = candidates[-1]
        if not latest.sections and _is_stack(line.text) and len(candidates) > 1:
            return candidates[-2] if candidates[-2].sections else latest
        return latest

    def _promote(self, draft: _Draft) -> None:
        """Make a report the one that further lines go to."""
        self._open.remove(draft)
        self._open.append(draft)

    def _continued(self, draft: _Draft | None, opener: Opener, line: Line) -> _Draft | None:
        """Return the report that an opening line is only a further line of, if any."""
        if opener.kind is Kind.PANIC:
            last = self.drafts[-1] if self.drafts else None
            return last if last and not _too_late(last, line) else None
        if draft is None:
            return None
        fresh = not draft.sections
        continues = (
            (opener.kind in {Kind.OOPS, Kind.GENERAL_PROTECTION}
             and fresh and draft.kind in DETAILED_BY_OOPS)
            or (opener.kind in {Kind.WARNING, Kind.BUG} and fresh and draft.kind in PREAMBLES)
            or (opener.kind is Kind.RCU_STALL and opener.bare and draft.kind is Kind.RCU_STALL)
            or (opener.kind is Kind.OUT_OF_MEMORY and draft.kind is Kind.OUT_OF_MEMORY
                and "Kill" in line.text)
        )
        return draft if continues else None


def _drafts(lines: Iterator[Line]) -> list[_Draft]:
    reader = _Reader()
    for line in lines:
        reader.line(line)
    return reader.drafts


def _expecting(drafts: list[_Draft], cpu: int, pid: int) -> _Draft | None:
    """Return the report whose opening line announced this CPU or task, and not yet its stack."""
    return next(
        (
            draft for draft in drafts
            if not any(section.pid is not None for section in draft.sections)
            and (draft.group("cpu") == str(cpu) or draft.group("pid") == str(pid))
        ),
        None,
    )


def _is_stack(text: str) -> bool:
    return bool(
        FRAME.match(text) or POINTER.match(text) or text.lstrip().startswith(("<", "Call Trace"))
    )


def _too_late(draft: _Draft, line: Line) -> bool:
    return (
        line.time is not None and draft.last_time is not None
        and line.time - draft.last_time > GAP_MAX
    )
