# SPDX-License-Identifier: GPL-2.0-or-later
"""The events of a history: for each source and kind, the fields of its data.

One TypedDict per kind declares the fields of ``Event.data``; ``Annotated`` gives a field's meaning
and unit, ``NotRequired`` marks a field that may be absent. ``describe`` yields all of it for the
documentation; ``problems`` compares a recorded event with its declaration. Recorders do not
validate while a scenario runs: the selftests do, and ``suites.selftest.event_check`` on the
histories of any run.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from results.history import Event, Json

Declared = TypeVar("Declared", bound=type)


@dataclass(frozen=True)
class Kind:
    """One kind of event. ``fields``: a TypedDict. ``open``: its data may have further fields."""

    source: str
    name: str
    fields: type
    open: bool = False

    @property
    def summary(self) -> str:
        """The event's meaning: the first sentence of its declaration."""
        return " ".join((self.fields.__doc__ or "").split())


KINDS: dict[tuple[str, str], Kind] = {}
"""All kinds by source and kind, in the order of their declaration."""

SOURCES: Mapping[str, str] = {
    "harness": "the suite itself: phases, clocks, errors, expectations",
    "target": "operations on the target, and the disks that it serves",
    "fault": "the fault: armed, fired, undone",
    "backend": "the user-space program that serves a device",
    "block": "the initiator's block layer, from its tracepoints",
    "scsi": "the initiator's SCSI midlayer, from its tracepoints",
    "console": "the kernel's console",
    "sampler": "kernel threads, blocked tasks, I/O in flight and resources, sampled",
    "workload": "fio, stamped I/O, chosen commands, sessions and PDUs",
}
"""Subject of each source's events."""


def kind(
    source: str, *names: str, allow_more: bool = False,
) -> Callable[[Declared], Declared]:
    """Register a TypedDict as the data of the given kinds of one source."""
    def register(fields: Declared) -> Declared:
        for name in names:
            KINDS[source, name] = Kind(source, name, fields, allow_more)
        return fields
    return register


Device = Annotated[str, "name of the device; present where the process serves more than one"]
DeviceOf = Annotated[str, "name of the device"]
Disk = Annotated[str, 'name of the disk at the initiator ("sda")']
DiskOrNone = Annotated[str | None, "name of the disk; null for a session that has none"]
ErrnoName = Annotated[str | None, "name of the errno, null for success"]
Errors = Annotated[str | None, "name of the errno, or another error's message; null for success"]
Handle = Annotated[int, "the backend's number of the command"]
Handles = Annotated[list[int], "the backend's numbers of the commands"]
HCTL = Annotated[str, 'host, channel, target and LUN ("0:0:0:1")']
Job = Annotated[str, "name of the workload"]
Kernels = Annotated[str, '"initiator" where it has a guest of its own; absent for the target\'s']
Number = Annotated[int, "number of the command or function within the job, from 1"]
OfFault = Annotated[str, "name of the fault"]
Op = Annotated[Literal["read", "write", "flush", "other"], "operation"]
OperationName = Annotated[str, "deploy, teardown, redeploy, remove, unload, or the name of an "
                               "operation in targets/*/operations.py"]
PointName = Annotated[str, "state of the commands at the point (EXEC, PARSE, ...)"]
Seconds = Annotated[float, "duration in s"]
Sector = Annotated[int, "first sector, in units of 512 bytes"]
Session = Annotated[str, "name of the session in the scenario"]
Tag = Annotated[int, "the driver's tag of the command"]
Scheduler = Annotated[int, "the I/O scheduler's tag, -1 for none"]
Opcode = Annotated[int, "operation code, the first byte of the CDB"]
Cdb = Annotated[str, "the CDB in hexadecimal"]
Result = Annotated[str, "driver byte, host byte, message and status by the kernel's names"]
SenseTriple = Annotated[str, 'sense key, ASC and ASCQ ("key=0x6 asc=0x29 ascq=0x0")']
Block = Annotated[int, "index of the stamped block"]
Torn = Annotated[bool, "two stamps, a part of one, or data that do not fit the stamp, within one "
                       "logical block"]
Foreign = Annotated[str | None, "identity, block and version of a stamp that belongs to another "
                                "block or LUN; null: none"]
ReadVersion = Annotated[int | None, "version of the stamp that was read; null: no stamp, as "
                                    "before the first write"]
Sectors = Annotated[list[int | None], "version of each logical block, where they differ within the "
                                      "stamped block"]
WrittenVersion = Annotated[int, "version of this block, from 1, increasing with each write"]
Clause = Annotated[str, "clause of the standard or documentation that requires it"]


# harness

@kind("harness", "scenario", allow_more=True)
class ScenarioData(TypedDict):
    """The scenario's record, from which it can be run again; further fields describe its plan."""

    id: Annotated[str, "id of the scenario"]
    kernel: Annotated[str, "name of the kernel as --kernel has it"]
    target: Annotated[str, "name of the target"]
    fault: OfFault
    seed: Annotated[int | None, "seed of the workloads"]
    append: NotRequired[Annotated[str, "words for the kernel's command line, besides the run's"]]
    ladder: NotRequired[Annotated[dict[str, float], "results.ladder.Ladder's bounds in s, by "
                                                    "name; absent where no machine was to be had"]]
    accelerator: NotRequired[Annotated[str, "QEMU's accelerator: kvm or tcg"]]
    host: NotRequired[Annotated[str, "name of the host"]]
    facts: NotRequired[Annotated[dict[str, Any], "the target's names that a report needs"]]


@kind("harness", "phase")
class PhaseData(TypedDict):
    """A phase of the scenario begins."""

    name: Annotated[str, "restore, deploy, login, baseline, hold, fault, teardown, drain, recover, "
                         "cleanup, end"]


@kind("harness", "round")
class RoundData(TypedDict):
    """The scenario's steps begin once more on the same machine."""

    number: Annotated[int, "number of the round, from 1"]


@kind("harness", "error")
class ErrorData(TypedDict):
    """An error ended the scenario's steps."""

    family: Annotated[str, "name of the error's class"]
    message: Annotated[str, "its message"]
    where: NotRequired[Annotated[str, "file, line and function, for an error in the test itself"]]


@kind("harness", "lost")
class LostData(TypedDict):
    """The machine is lost: no further request can reach it."""

    what: Annotated[str, "the reason"]


@kind("harness", "panicked")
class PanickedData(TypedDict):
    """The kernel of a machine panicked, as QEMU's pvpanic device reports."""

    machine: Annotated[str, "target or initiator"]


@kind("harness", "clock")
class ClockData(TypedDict):
    """The clock of a machine other than the target's was read from the host."""

    machine: Annotated[str, "name of the machine"]
    behind: Annotated[float, "s that were added to that machine's times"]
    within: Annotated[float, "greatest error of these times in s"]


@kind("harness", "host_cpu")
class HostCpuData(TypedDict):
    """A guest's use of the host's CPUs since it booted."""

    machine: Annotated[str, "target or initiator"]
    at: Annotated[Literal["begin", "fault", "end"], "when it was read"]
    ran: Annotated[float, "CPU time in s"]
    waited: Annotated[float, "time in s during which it was runnable and had no CPU"]


@kind("harness", "netem")
class NetemData(TypedDict):
    """Statistics of the network emulation, read after it has been removed."""

    how: Annotated[str, "tc-netem's arguments"]
    seen: Annotated[list[dict[str, int]], "packets and drops per network device"]


@kind("harness", "evidence")
class EvidenceData(TypedDict):
    """Evidence was taken from a machine whose scenario failed."""

    files: Annotated[list[str], "paths relative to the scenario's folder"]
    missing: Annotated[list[str], "missing evidence, the reason, and the command that gets it"]
    seconds: Annotated[dict[str, float], "duration of each part in s, by name"]
    stuck: NotRequired[Annotated[list[dict[str, Any]], "the target's commands that have not ended, "
                                                       "at most 20"]]
    waiters: NotRequired[Annotated[list[dict[str, Any]], "tasks in state D, at most 20"]]


@kind("harness", "program", allow_more=True)
class ProgramData(TypedDict):
    """A guest program of the scenario's own sent a message or was sent a request.

    A message's own fields are recorded in addition.
    """

    program: Annotated[str, "name of the program"]
    said: NotRequired[Annotated[str, "kind of the message, for a message"]]
    order: NotRequired[Annotated[dict[str, Any], "the request, for a request"]]


@kind("harness", "expectation")
class ExpectationData(TypedDict):
    """A condition that only this scenario knows was checked."""

    what: Annotated[str, "the condition, in the same words in every run: it is the signature"]
    met: Annotated[bool, "whether it held"]
    seen: Annotated[str, "what was observed instead"]
    clause: NotRequired[Clause]


@kind("harness", "otherwise")
class OtherwiseData(TypedDict):
    """A target answered a wrong digest differently from its traits."""

    case: Annotated[str, "name of the case"]
    said: Annotated[list[str], "the answers observed"]
    did: Annotated[list[str], "the answers stated"]


@kind("harness", "kept")
class KeptData(TypedDict):
    """The backend kept every command that came, for a time that ends now."""

    since: Annotated[float, "time at which it began to keep every command"]


@kind("harness", "paused")
class PausedData(TypedDict):
    """The target's machine is about to be paused."""

    seconds: Annotated[float, "for how long, in s"]
    when: Annotated[str, "before or during the fault"]


# target

@kind("target", "begin")
class BeginData(TypedDict):
    """An operation on the target begins."""

    operation: OperationName


@kind("target", "end")
class EndData(TypedDict):
    """An operation on the target ended."""

    operation: OperationName
    seconds: Seconds
    error: Annotated[str | None, "class and message of the error, null for success"]


@kind("target", "observed")
class ObservedData(TypedDict):
    """The state of an operation immediately before held commands are released."""

    operation: OperationName
    ended: Annotated[bool, "whether it has ended; false: it waits"]


@kind("target", "disk")
class DiskData(TypedDict):
    """A disk of the target appeared at the initiator."""

    name: Disk
    device: Annotated[str, 'major and minor number ("8:0")']
    identity: Annotated[str, "vendor and product of its INQUIRY data"]
    role: NotRequired[Annotated[str, '"bystander": a LUN that the fault does not concern']]


# fault

class ExpectData(TypedDict, total=False):
    """The permitted consequences of a fault."""

    errors: Annotated[list[str] | None, "names of the errnos with which I/O may fail; absent: any"]
    # the grace, by the name that it has in recorded histories
    patience: Annotated[float, "s that are added to the command bound"]
    commands: Annotated[list[str], "how the commands at the point may end"]
    functions: Annotated[list[Any], "responses that a task management function may have: a name, "
                                    "or a function and its names"]
    wears_others_out: Annotated[bool, "the functions end the commands of other initiators, too"]
    clause: Clause
    waits: Annotated[str, "source by which the fault's operation must not end before the held "
                          "commands are released; absent: none requires that"]
    function_clause: Annotated[str, "clause for the functions' responses"]


@kind("fault", "armed")
class ArmedData(TypedDict):
    """A fault waits for its point."""

    fault: OfFault
    point: PointName
    count: Annotated[int, "number of commands that the point waits for"]
    opcodes: Annotated[list[int] | None, "their operation codes; null: any"]
    direction: Annotated[str | None, "their direction: write, read or none; null: any"]
    breaks: NotRequired[Annotated[bool, "false for the control, under which no I/O may fail before "
                                        "the teardown; absent in older histories"]]
    expect: NotRequired[Annotated[ExpectData, "permitted consequences of the fault"]]


@kind("fault", "fired")
class FiredData(TypedDict):
    """The fault fires now; the ladder's bounds begin to run."""

    fault: OfFault
    point: PointName
    held: Annotated[int, "number of commands held at the point"]


@kind("fault", "undone")
class UndoneData(TypedDict):
    """The fault has been undone."""

    fault: OfFault


@kind("fault", "injected")
class InjectedData(TypedDict):
    """Allocations of the target failed as injected."""

    operation: Annotated[str, "name of the injection in targets/allocation.py"]
    count: Annotated[int, "number of allocations that failed"]


@kind("fault", "cut")
class CutData(TypedDict):
    """The network between initiator and target was cut."""

    how: Annotated[str, "how it was cut"]
    seconds: Annotated[float, "for how long, in s"]
    keeps_session: Annotated[bool | None, "whether the session has to survive; null where another "
                                          "fault is in effect, too"]
    reported_after: Annotated[float | None, "s within which the loss has to be reported; null: "
                                            "not at all, or another fault is in effect, too"]


@kind("fault", "mended")
class MendedData(TypedDict):
    """The network is about to be joined again."""

    how: Annotated[str, "how it was cut"]


# backend

@kind("backend", "step")
class StepData(TypedDict):
    """A command reached or left a point of its life in the backend."""

    point: PointName
    action: Annotated[Literal["received", "held", "answered"], "answered: finally, the backend "
                                                              "gives the command up"]
    handle: Handle
    opcode: Annotated[int | None, "operation code; null where the point has no CDB"]
    direction: Annotated[Literal["write", "read", "none", "both"] | None, "of its data"]
    lba: Annotated[int | None, "first logical block; null: the CDB has none"]
    bytes: Annotated[int | None, "length of its data"]
    pbuf: NotRequired[Annotated[int | None, "scst_user: address of the command's buffer"]]
    status: NotRequired[Annotated[int | None, "SCSI status; only when answered"]]
    spin: NotRequired[Annotated[float, "s that a fixed piece of work took; only for some of those "
                                       "received"]]
    device: NotRequired[Device]


@kind("backend", "held")
class HeldData(TypedDict):
    """As many commands as requested are held."""

    point: PointName
    count: Annotated[int, "number of commands"]
    handles: Handles
    device: NotRequired[Device]


@kind("backend", "released")
class ReleasedData(TypedDict):
    """Held commands go on."""

    handles: Handles
    device: NotRequired[Device]


@kind("backend", "ready")
class ReadyData(TypedDict):
    """The backend serves its devices."""

    pid: NotRequired[Annotated[int, "process id"]]
    size: NotRequired[Annotated[int, "size of the disk in bytes"]]
    witness: NotRequired[Annotated[bool, "whether it compares the kernel's messages with the "
                                         "interface, and reports that it was continued"]]
    devices: NotRequired[Annotated[list[str], "names of its devices"]]
    device: NotRequired[Device]


@kind("backend", "reply")
class ReplyData(TypedDict):
    """The backend's reply to a request of the test."""

    id: Annotated[int, "number of the request"]
    ok: Annotated[bool, "whether it was carried out"]
    result: NotRequired[Annotated[Any, "its result"]]
    error: NotRequired[Annotated[str, "class and message of the error"]]


@kind("backend", "session")
class SessionData(TypedDict):
    """A session was attached to the device, or detached (scst_user)."""

    action: Annotated[Literal["attached", "detached"], "which of them"]
    session: Annotated[int, "the kernel's number of the session"]
    lun: NotRequired[Annotated[int, "LUN of the device; only when attached"]]
    initiator: NotRequired[Annotated[str, "name of the initiator; only when attached"]]
    target: NotRequired[Annotated[str, "name of the target; only when attached"]]
    device: NotRequired[Device]


@kind("backend", "tmr")
class TmrData(TypedDict):
    """The backend was notified of a task management function."""

    function: Annotated[str, "the kernel's name of the function"]
    handles: Handles
    stage: NotRequired[Annotated[Literal["received", "done"], "scst_user: which notification"]]
    session: NotRequired[Annotated[int, "scst_user: the kernel's number of the session"]]
    aborted: NotRequired[Annotated[int, "TCMU: number of commands that it aborts"]]
    device: NotRequired[Device]


@kind("backend", "refused")
class RefusedData(TypedDict):
    """The kernel did not accept an answer."""

    handle: Handle
    error: Annotated[str, "name of the errno, or the reason"]
    device: NotRequired[Device]


@kind("backend", "misanswered")
class MisansweredData(TypedDict):
    """The backend gave a wrong answer, as requested by the test."""

    point: PointName
    handle: Handle
    as_handle: Annotated[int | None, "handle in the answer, null for the command's own"]
    fields: Annotated[dict[str, Any], "wrong fields of the answer by name"]
    errors: Annotated[list[str | None], "name of the errno for each time the answer was given, "
                                        "null for one that was accepted"]
    device: NotRequired[Device]


@kind("backend", "lied")
class LiedData(TypedDict):
    """The backend misbehaved with a command's data, as requested by the test."""

    how: Annotated[str, "the misbehaviour"]
    handle: Handle
    opcode: Opcode
    direction: Annotated[str, "write or read"]
    lba: Annotated[int, "first logical block"]
    bytes: Annotated[int, "length of its data"]
    device: NotRequired[Device]


@kind("backend", "watched")
class WatchedData(TypedDict):
    """The backend compared messages of the kernel with their interface.

    At 1, 10, 100, ... messages, and when the device is closed.
    """

    entries: Annotated[int, "number of messages since the device was registered"]
    device: NotRequired[Device]


@kind("backend", "breach")
class KernelBreachData(TypedDict):
    """The kernel broke the interface with its backend."""

    rule: Annotated[str, "name of the rule"]
    handle: Annotated[int | None, "the kernel's number of the command, null for none"]
    point: Annotated[str, "name of the message, empty for none"]
    seen: Annotated[str, "the value, or what happened"]
    allowed: Annotated[str, "the value or event by the interface"]
    document: Annotated[str, "of the interface"]
    provoked: Annotated[bool, "whether it follows from a wrong answer that the test requested"]
    device: NotRequired[Device]


@kind("backend", "breaches")
class KernelBreachesData(TypedDict):
    """The kernel broke the interface more often than there are events of it."""

    rules: Annotated[dict[str, int], "number of breaches that were not provoked, by rule"]
    device: NotRequired[Device]


@kind("backend", "continued")
class ContinuedData(TypedDict):
    """A stopped backend was continued: the kernel restarts the ioctls in which its threads waited.

    The answers in these ioctls are given again.
    """

    signal: Annotated[str, "name of the signal"]


@kind("backend", "closed", "flushed", "registered", "unregistered", "capacity_changed",
      "options_set", "preallocated", "threads", "multi")
class OperationData(TypedDict):
    """An operation of the backend, requested by the test and possibly blocking, ended."""

    error: NotRequired[Errors]
    words: NotRequired[Annotated[str, "the error's message"]]
    seconds: NotRequired[Seconds]
    count: NotRequired[Annotated[int, "threads, multi: number of threads that fetch commands"]]
    on: NotRequired[Annotated[bool, "multi: whether several commands are fetched at once"]]
    handles: NotRequired[Annotated[list[int], "preallocated: the kernel's handles of the buffers"]]
    device: NotRequired[Device]


@kind("backend", "gone")
class GoneData(TypedDict):
    """The kernel's side of the device went away while the backend served it."""

    reason: Annotated[str, "the error"]


@kind("backend", "text")
class TextData(TypedDict):
    """A line that the backend printed and that is no event: usually a traceback."""

    text: Annotated[str, "the line"]


@kind("backend", "exit")
class ExitData(TypedDict):
    """The backend's process ended."""

    status: Annotated[int, "exit status; negative: the signal that killed it"]


# block

@kind("block", "issue")
class IssueData(TypedDict):
    """The block layer passed an I/O to the disk's driver."""

    io: Annotated[int, "serial number of the I/O on this disk"]
    disk: Disk
    op: Op
    sector: Sector
    bytes: Annotated[int, "length"]


@kind("block", "complete")
class CompleteData(TypedDict):
    """An I/O completed."""

    io: Annotated[int, "serial number of the I/O on this disk"]
    disk: Disk
    op: Op
    sector: Sector
    error: ErrnoName
    seconds: Annotated[float, "s since its issue"]


@kind("block", "stray")
class StrayData(TypedDict):
    """A completion that no issue matches."""

    disk: Disk
    op: Op
    sector: Sector
    error: ErrnoName


@kind("block", "refused")
class BlockRefusedData(TypedDict):
    """The block layer failed an I/O before the disk's driver got it: the disk is offline."""

    disk: Disk
    op: Op
    sector: Sector
    error: Annotated[str, "name of the errno"]


@kind("block", "lost")
class BlockLostData(TypedDict):
    """The trace buffer overflowed."""

    count: Annotated[int, "number of events without room"]


# scsi

@kind("scsi", "start", "refused")
class StartData(TypedDict):
    """The midlayer dispatched a command (start), or the low-level driver refused it (refused)."""

    host: HCTL
    tag: Tag
    scheduler_tag: Scheduler
    opcode: Opcode
    cdb: Cdb


@kind("scsi", "done", "timeout")
class DoneData(TypedDict):
    """A command ended (done), or its timer expired and error handling begins (timeout)."""

    host: HCTL
    tag: Tag
    scheduler_tag: Scheduler
    opcode: Opcode
    cdb: Cdb
    result: NotRequired[Result]
    sense: NotRequired[SenseTriple]


# console

@kind("console", "line")
class LineData(TypedDict):
    """A line of the console, as it was written."""

    text: Annotated[str, "the line"]
    number: NotRequired[Annotated[int, "number of the line in this scenario, from 1; absent in "
                                       "histories of the first versions"]]
    machine: NotRequired[Kernels]


@kind("console", "dropped")
class DroppedData(TypedDict):
    """Lines of a flood were not recorded one by one."""

    lines: Annotated[int, "number of lines"]
    bytes: Annotated[int, "their length"]
    reports: NotRequired[Annotated[int, "lines of them that open a kernel report, with words that "
                                        "no recorded line has; absent in older histories"]]
    machine: NotRequired[Kernels]


# sampler

class ThreadData(TypedDict):
    """A kernel thread that used a CPU since the last sample."""

    pid: Annotated[int, "thread id"]
    comm: Annotated[str, "name"]
    state: Annotated[str, "state (R, S, D, ...)"]
    cpu: Annotated[float, "CPU time in s"]
    over: NotRequired[Annotated[float, "s between its own two readings; absent: the interval"]]
    waited: NotRequired[Annotated[float, "s runnable without a CPU; absent: 0"]]
    stack: NotRequired[Annotated[list[str], "frames, of one that uses a whole CPU"]]


@kind("sampler", "threads")
class ThreadsData(TypedDict):
    """CPU time of kernel threads."""

    interval: Annotated[float, "s since the last sample"]
    threads: Annotated[list[ThreadData], "pid, comm, state, cpu (CPU time in s), over (s between "
                                         "the thread's own two readings), waited (s runnable "
                                         "without a CPU), stack (frames, where it was read)"]
    cost: NotRequired[Annotated[float, "s that the sample itself took"]]


class BlockedTaskData(TypedDict):
    """A task in state D."""

    pid: Annotated[int, "thread id"]
    comm: Annotated[str, "name"]
    state: Annotated[str, "state (D)"]
    wchan: Annotated[str, "kernel function in which it waits"]
    stack: Annotated[list[str], "frames"]


@kind("sampler", "blocked")
class BlockedData(TypedDict):
    """Tasks in state D."""

    tasks: Annotated[list[BlockedTaskData], "pid, comm, state, wchan (kernel function in which it "
                                            "waits), stack (frames)"]


@kind("sampler", "inflight")
class InflightData(TypedDict):
    """The block layer's own count of I/O in flight."""

    disk: Disk
    reads: Annotated[int, "number of reads"]
    writes: Annotated[int, "number of writes"]


@kind("sampler", "resources")
class ResourcesData(TypedDict):
    """The target's resources, before anything is deployed and after all was removed."""

    when: Annotated[Literal["baseline", "after"], "baseline: loaded and nothing deployed; after: "
                                                  "behind the last removal, before the unload"]
    slabs: Annotated[dict[str, int], "active objects by slab cache, each cache shrunk first"]
    modules: Annotated[dict[str, int], "references by module"]
    free_kib: Annotated[int, "free memory in KiB, with page cache, tmpfs and reclaimable slabs"]
    taint: Annotated[int, "the kernel's taint flags"]


@kind("sampler", "usage")
class UsageData(TypedDict):
    """Usage of the machine after a cycle of suites/leaks, once its kernel has settled."""

    cycle: Annotated[int, "number of the cycle that has just ended, from 1"]
    slabs: Annotated[dict[str, int], "active objects by slab cache, each cache shrunk first"]
    pages: Annotated[dict[str, int], "pages by use; other: of alloc_pages(), uncounted"]
    modules: Annotated[dict[str, int], "references by module"]
    descriptors: Annotated[dict[str, int], "open descriptors by program"]
    private_kib: Annotated[dict[str, int], "private memory by program in KiB"]
    tasks: Annotated[dict[str, int], "kernel threads without kworkers; processes"]
    allocated: NotRequired[Annotated[dict[str, int], "objects by slab cache and functions that "
                                     "allocated them, where the allocators are checked"]]
    seconds: Annotated[float, "s that settling and counting took"]


# workload

@kind("workload", "begin")
class WorkloadBeginData(TypedDict):
    """A workload begins."""

    job: Job
    disk: DiskOrNone
    options: Annotated[dict[str, Any], "its parameters"]


@kind("workload", "end")
class WorkloadEndData(TypedDict):
    """A workload ended."""

    job: Job
    ios: Annotated[int, "number of I/Os, or of commands"]
    errors: Annotated[int, "number of those that failed"]
    bytes: Annotated[int, "bytes moved"]
    seconds: Seconds
    exit: Annotated[int, "exit status of its process"]
    error: Annotated[str | None, "its last output where it failed, null for success"]
    pdus: NotRequired[Annotated[int, "number of PDUs sent"]]


@kind("workload", "writing")
class WritingData(TypedDict):
    """A stamped write is about to be issued."""

    job: Job
    disk: Disk
    block: Block
    version: WrittenVersion


@kind("workload", "wrote")
class WroteData(TypedDict):
    """A stamped write completed."""

    job: Job
    disk: Disk
    block: Block
    version: WrittenVersion
    error: ErrnoName


@kind("workload", "read")
class ReadData(TypedDict):
    """A stamped block was read while the load ran."""

    job: Job
    disk: Disk
    block: Block
    version: ReadVersion
    torn: Torn
    foreign: Foreign
    sectors: NotRequired[Sectors]
    error: ErrnoName
    issued_after: Annotated[int, "highest version of the block that was acknowledged when the read "
                                 "was issued; 0: none"]


@kind("workload", "found")
class FoundData(TypedDict):
    """A stamped block was read back after the target had recovered."""

    job: NotRequired[Job]
    disk: Disk
    block: Block
    version: ReadVersion
    torn: Torn
    foreign: Foreign
    sectors: NotRequired[Sectors]
    error: NotRequired[ErrnoName]


@kind("workload", "command")
class CommandData(TypedDict):
    """A chosen command is about to be issued."""

    job: Job
    disk: DiskOrNone
    number: Number
    name: Annotated[str | None, "name of the command; null for a reset"]
    cdb: Annotated[str | None, "the CDB in hexadecimal; null for a reset"]
    direction: Annotated[str | None, "write, read or none; null for a reset"]
    bytes: Annotated[int | None, "length of its data; null for a reset"]
    reset: Annotated[str | None, "lun-reset or target-reset; null for a command"]
    allowed: Annotated[list[str] | None, "how this command may end, where it differs from the "
                                         "others"]
    clause: NotRequired[Annotated[str | None, "clause of the standard that requires it"]]
    session: NotRequired[Session]


@kind("workload", "answer")
class AnswerData(TypedDict):
    """A chosen command, or a reset, ended."""

    job: Job
    disk: DiskOrNone
    number: Number
    seconds: Seconds
    error: Annotated[str | None, "errno; of a session's command aborted, lost, rejected or "
                                 "unanswered; null where there is a status"]
    status: NotRequired[Annotated[int | None, "SCSI status"]]
    host: NotRequired[Annotated[int, "host byte of struct sg_io_hdr"]]
    driver: NotRequired[Annotated[int, "driver byte of struct sg_io_hdr"]]
    residual: NotRequired[Annotated[int, "bytes not transferred; negative: overflow"]]
    differs: NotRequired[Annotated[int | None, "index of the first byte that was read and differs "
                                               "from the data that were written; null: none"]]
    sense: NotRequired[Annotated[str, "sense data in hexadecimal"]]
    key: NotRequired[Annotated[int, "sense key, where there are sense data"]]
    asc: NotRequired[Annotated[int, "additional sense code"]]
    ascq: NotRequired[Annotated[int, "additional sense code qualifier"]]


@kind("workload", "function")
class FunctionData(TypedDict):
    """A task management function is requested."""

    job: Job
    disk: DiskOrNone
    number: Number
    session: Session
    name: Annotated[str, "function (RFC 7143 11.5.1)"]
    command: Annotated[int | None, "number of the command that ABORT TASK names, or null"]


@kind("workload", "response")
class ResponseData(TypedDict):
    """A task management function ended."""

    job: Job
    disk: DiskOrNone
    number: Number
    seconds: Seconds
    response: Annotated[str | None, "name of the response (RFC 7143 11.6.1), null: none"]
    error: Annotated[str | None, "lost, rejected or unanswered where there is no response"]


@kind("workload", "nexus")
class NexusData(TypedDict):
    """A session of libiscsi's changed its state."""

    job: Job
    disk: DiskOrNone
    session: Session
    action: Annotated[Literal["logged in", "refused", "lost", "logged out", "dropped"],
                      "what happened to it"]
    error: Annotated[str | None, "the error's message"]


@kind("workload", "breach")
class BreachData(TypedDict):
    """The target broke the protocol: a command was answered twice, for example."""

    job: Job
    disk: DiskOrNone
    session: Session
    words: Annotated[str, "what it did"]


@kind("workload", "pdu")
class PduData(TypedDict):
    """One PDU was sent by fixtures.workload.pdus_guest."""

    job: Job
    disk: DiskOrNone
    stream: Annotated[int, "number of the stream"]
    number: Annotated[int, "number of the PDU in its stream"]
    request: Annotated[str, "kind of the PDU"]
    malformed: Annotated[str, "the malformation; empty for a valid PDU"]
    outcome: Annotated[str, "fixtures.workload.pdus_guest.Outcome"]
    said: Annotated[list[str], "the target's answers"]
    crc: Annotated[str, "CRC-32 of its bytes, in hexadecimal"]


# documentation and validation

@dataclass(frozen=True)
class Row:
    """One field of one kind of event, for the documentation."""

    source: str
    kind: str
    field: str
    type: str
    meaning: str
    optional: bool


def describe() -> Iterator[Row]:
    """Yield every field of every kind; a kind without fields yields nothing."""
    for each in KINDS.values():
        for name, hint in _hints(each.fields).items():
            kind_of, meaning = _stripped(hint)
            yield Row(each.source, each.name, name, type_name(kind_of), meaning,
                      _optional(each.fields, hint))


def problems(event: Event) -> list[str]:
    """Return an event's differences from its declaration; empty when it conforms."""
    declared = KINDS.get((event.source, event.kind))
    if declared is None:
        return [f"{event.source}/{event.kind} is not declared"]
    where = f"{event.source}/{event.kind}"
    return _differences(event.data, declared.fields, where, allow_more=declared.open)


@cache
def _hints(fields: type) -> dict[str, Any]:
    return get_type_hints(fields, include_extras=True)


def _optional(fields: type, hint: Any) -> bool:
    """Return whether a field may be absent (``__required_keys__`` ignores string annotations)."""
    return get_origin(hint) is NotRequired or not getattr(fields, "__total__", True)


def _stripped(hint: Any) -> tuple[Any, str]:
    """Return a field's bare type and its meaning."""
    if get_origin(hint) is NotRequired:
        hint, = get_args(hint)
    if get_origin(hint) is Annotated:
        bare, meaning = get_args(hint)
        return bare, str(meaning)
    return hint, ""


CONTAINERS: Mapping[Any, str] = {list: "list", dict: "object"}

JSON_NAMES: Mapping[Any, str] = {
    types.NoneType: "null", str: "string", int: "integer", float: "number", bool: "boolean",
    Any: "JSON"}
"""The names of types in JSON."""


def type_name(hint: Any) -> str:
    """Return a type's name for the documentation."""
    if is_typeddict(hint):
        return "object"
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(map(repr, arguments))
    names = [type_name(each) for each in arguments]
    if origin in (Union, types.UnionType):
        return " or ".join(names)
    if origin in CONTAINERS:
        return f"{CONTAINERS[origin]} of {names[-1]}"
    return JSON_NAMES.get(hint, str(hint))


def _differences(
    data: Mapping[str, Json], fields: type, where: str, *, allow_more: bool = False,
) -> list[str]:
    hints = _hints(fields)
    found = [f"{where} lacks {name}" for name in hints
             if name not in data and not _optional(fields, hints[name])]
    for name, value in data.items():
        if name in hints:
            found += _mismatch(value, _stripped(hints[name])[0], f"{where}: {name}")
        elif not allow_more:
            found.append(f"{where} has {name}, which is not declared")
    return found


def _mismatch(value: Json, hint: Any, where: str) -> list[str]:
    """Return the reasons why a JSON value does not fit a type."""
    if is_typeddict(hint):
        return _differences(value, hint, where) if isinstance(value, dict) else [
            f"{where} is no object"]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is list and isinstance(value, list):
        return [each for item in value for each in _mismatch(item, arguments[0], where)]
    if origin is dict and isinstance(value, dict):
        return [each for item in value.values() for each in _mismatch(item, arguments[1], where)]
    return [] if _is(value, hint) else [f"{where} is {value!r}, not {type_name(hint)}"]


def _is(value: Json, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(not _mismatch(value, each, "") for each in arguments)
    if origin is Literal:
        return value in arguments
    if hint is Any:
        return True
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)
