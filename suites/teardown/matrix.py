# SPDX-License-Identifier: GPL-2.0-or-later
"""The teardown matrix: states of an scst_user command x mechanisms x options of its device.

Rules exclude cells that the protocol, the target or the initiator makes impossible, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fixtures.matrix import Matrix, Rule
from fixtures.scenario import Arrangement, Plan
from fixtures.workload.commands import COPY, CommandJob
from fixtures.workload.fio import FioJob
from fixtures.workload.stamps import LIGHT
from inject.catalogue import FAULTS, MECHANISMS, NEWER_MECHANISMS
from inject.fault import Held
from inject.point import COMMANDS, SESSION, Point, State
from inject.traits import TargetTraits
from targets.target import Device, Transport

NO_COMMAND = "none"
"""The opcode class of cells whose point is not a state of a chosen command."""

BRIEF, LONG = "brief", "long"
"""Times for which the backend keeps the commands: until the operation waits; and KEPT seconds
beyond that, with every further command."""

KEPT = 2.25
"""Seconds: the threads checker needs one second without work, in samples of half a second; and less
than the initiator's command timer of 4 s."""

HELD = 2
"""Number of commands at the point, where a connection can have several there at once."""


ANOTHER_MEDIUM = frozenset({"lun-replace"})
"""Faults after which the LUN is another device: data written then cannot be read back later."""


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix. The fields' values are those in scenario ids."""

    point: str
    mechanism: str
    transport: str
    on_free: str
    reuse: str
    parse: str
    pool: str
    threads: int
    multi: str
    opcode: str
    keep: str = BRIEF

    @property
    def state(self) -> State:
        """The point as a state."""
        return State(self.point)

    def plan(self) -> Plan:
        """Return the plan of the cell."""
        serial = self.state in ONE_AT_A_TIME[Transport(self.transport)]
        count = 1 if serial or self.state not in COMMANDS else HELD
        options: dict[str, str | int] = {
            "on_free_cmd_type": self.on_free, "memory_reuse_type": self.reuse,
            "parse_type": self.parse}
        if self.state is State.EXT_COPY_REMAP:
            options["ext_copy_remap_supported"] = 1
        siblings: tuple[Device, ...] = ()
        if self.pool == "shared":
            options |= {"sgv_shared": 1, "sgv_name": "stf-pool"}
            siblings = (Device("stf1", options=dict(options)),)
        device = Device(options=options, threads=self.threads, multi=self.multi == "multi",
                        siblings=siblings)
        commands = CommandJob(self.opcode, count) if self.state in COMMANDS else None
        fio, stamps = (FioJob(), None) if self.mechanism in ANOTHER_MEDIUM else (None, LIGHT)
        arrangement = Arrangement(Transport(self.transport), device, fio, stamps)
        return Plan(FAULTS[self.mechanism], Point(self.state, count, None), arrangement, commands,
                    self.variant, keeps=KEPT if self.keep == LONG else 0.0)

    @property
    def variant(self) -> str:
        """The id's part for all fields but transport, point, mechanism and opcode."""
        return "-".join((f"free.{self.on_free}", f"reuse.{self.reuse}", f"parse.{self.parse}",
                         self.pool, f"t{self.threads}", self.multi,
                         *(["kept"] if self.keep == LONG else []))).lower()


ONE_AT_A_TIME: Mapping[Transport, frozenset[State]] = {
    Transport.ISCSI: frozenset({State.PARSE, State.ALLOC_MEM, State.QUEUED}),
    Transport.LOOPBACK: frozenset({State.QUEUED}),
}
"""States that only one command at a time can be in. iSCSI-SCST processes PARSE and ALLOC_MEM one by
one for each connection. In QUEUED no backend thread fetches, and the fetching threads are also
SCST's threads for a scst_user device: no thread brings a second command to the queue."""

ELSEWHERE = frozenset({"lun-delete-while-device-goes"})
"""Mechanisms outside the matrix: they need a device with a second LUN and hold commands in their
own way."""

OPCODES = ("write", "read", "large-write", "large-read", "none", COPY)
"""Classes of commands at the point, kinds of a CommandJob. A tuple of the matrix's own: a new kind
does not change the cells that a seed selects."""

LATER: Mapping[str, Sequence[Any]] = {"point": ["EXT_COPY_REMAP"], "opcode": [COPY]}


def dimensions(traits: TargetTraits) -> Mapping[str, Sequence[Any]]:
    """Return the dimensions of a target's matrix, in the order of Cell's fields."""
    return {
        "point": [str(state) for state in State],
        "mechanism": [fault.name for fault in MECHANISMS if fault.name not in ELSEWHERE and any(
            fault.needs.met(traits, traits.backend, transport)
            for transport in traits.transports)],
        "transport": [str(transport) for transport in traits.transports],
        "on_free": ["CALL", "IGNORE"],
        "reuse": ["NONE", "READ", "WRITE", "ALL"],
        "parse": ["STANDARD", "CALL", "EXCEPTION"],
        "pool": ["private", "shared"],
        "threads": [1, 4],
        "multi": ["single", "multi"],
        "opcode": list(OPCODES),
        "keep": [BRIEF, LONG],
    }


SUSPENDING: frozenset[str] = frozenset({"backend-flush-cache", "backend-set-options", "suspend"})
"""Faults that suspend all activity of SCST. The flush of the point ON_CACHED_MEM_FREE does so,
too."""

RULES: tuple[Rule, ...] = (
    Rule("the backend gets PARSE with parse CALL only; with EXCEPTION for unknown commands",
         ("point", "parse"), lambda point, parse: point == "PARSE" and parse != "CALL"),
    Rule("the backend gets ON_FREE_CMD with on_free CALL only", ("point", "on_free"),
         lambda point, on_free: point == "ON_FREE_CMD" and on_free != "CALL"),
    Rule("the backend gets ALLOC_MEM for WRITEs only; the answer to EXEC has a READ's buffer",
         ("point", "opcode"), lambda point, opcode: (
             point == "ALLOC_MEM" and not opcode.endswith("write"))),
    Rule("without memory reuse SCST keeps no buffer to free", ("point", "reuse"),
         lambda point, reuse: point == "ON_CACHED_MEM_FREE" and reuse in {"NONE", "READ"}),
    Rule("no chosen command is at this point, so the class of command is none", ("point", "opcode"),
         lambda point, opcode: State(point) not in COMMANDS and opcode != NO_COMMAND),
    Rule("EXT_COPY_REMAP is a state of EXTENDED COPY only; in other states that command is a "
         "WRITE of a parameter list", ("point", "opcode"),
         lambda point, opcode: (point == "EXT_COPY_REMAP") != (opcode == COPY)),
    Rule("background replies are for WRITEs, with on_free IGNORE and no reuse of their memory "
         "(scst_user_spec, SCST_EXEC_REPLY_BACKGROUND)", ("point", "opcode", "on_free", "reuse"),
         lambda point, opcode, on_free, reuse: point == "BACKGROUND" and (
             not opcode.endswith("write") or on_free == "CALL" or reuse in {"WRITE", "ALL"})),
    Rule("in QUEUED no thread fetches commands, so none could be answered for the fault",
         ("point", "mechanism"), lambda point, mechanism: (
             point == "QUEUED" and FAULTS[mechanism].held is Held.ANSWERED)),
    Rule("in QUEUED no thread fetches commands, so the added LUN's ATTACH_SESS stays unanswered",
         ("point", "mechanism"), lambda point, mechanism: (
             point == "QUEUED" and mechanism == "lun-add")),
    Rule("the point and the fault would add the same LUN",
         ("point", "mechanism"), lambda point, mechanism: (
             State(point) in SESSION and mechanism == "lun-add")),
    Rule("the backend has gone, and keeps no command", ("mechanism", "keep"),
         lambda mechanism, keep: keep == LONG and FAULTS[mechanism].held is Held.LOST),
    Rule("the point needs a flush; SCST suspends its activity for one operation at a time",
         ("point", "mechanism"), lambda point, mechanism: (
             point == "ON_CACHED_MEM_FREE" and mechanism in SUSPENDING)),
)


def matrix(traits: TargetTraits) -> Matrix:
    """Return the matrix of a target whose backend uses scst_user."""
    elsewhere = {(fault.name, str(transport)) for fault in MECHANISMS
                 for transport in traits.transports
                 if not fault.needs.met(traits, traits.backend, transport)}
    one_transport = Rule(
        "the fault does not apply over this transport", ("mechanism", "transport"),
        lambda *values: values in elsewhere)
    every = dimensions(traits)
    newer = [{"mechanism": [fault.name]} for fault in NEWER_MECHANISMS
             if fault.name in every["mechanism"]]
    return Matrix(every, (one_transport, *RULES), [LATER, {"keep": [LONG]}, *newer])
