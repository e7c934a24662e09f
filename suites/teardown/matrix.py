"""The matrix: dimensions, the rules that make a cell illegal, and which cells a run takes.

A cell has one value of each dimension. By default ``allpairspy`` chooses cells so that every legal
pair of values is in one of them, in an order that the seed decides; ``--full`` takes all legal
cells. A rule says why the protocol, or what SCST and the initiator can do, rules cells out; what
each rule excludes is counted.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations, product
from math import prod
from typing import Any

from allpairspy import AllPairs  # type: ignore[import-untyped]

from fixtures.scenario import Plan
from fixtures.workload.commands import COPY, KINDS, CommandJob
from fixtures.workload.fio import FioJob
from fixtures.workload.stamps import LIGHT
from inject.catalogue import FAULTS, MECHANISMS
from inject.fault import Held
from inject.point import COMMANDS, SESSION, Point, State
from targets.target import Device, Transport

NO_COMMAND = "none"
"""The opcode class of cells whose point no chosen command is brought to."""

HELD = 2
"""Commands at the point, where a connection hands over more than one at a time."""


ANOTHER_MEDIUM = frozenset({"lun-replace"})
"""Faults after which the LUN is another device: what is written then is not to be found again."""


@dataclass(frozen=True)
class Cell:
    """One combination. Values as they stand in ids."""

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
        return Plan(
            "scst", self.mechanism, Transport(self.transport),
            Point(self.state, count, None), device, fio, stamps, commands, self.variant)

    @property
    def variant(self) -> str:
        """All but transport, point and mechanism, for the id."""
        return "-".join((f"free.{self.on_free}", f"reuse.{self.reuse}", f"parse.{self.parse}",
                         self.pool, f"t{self.threads}", self.multi)).lower()


ONE_AT_A_TIME: Mapping[Transport, frozenset[State]] = {
    Transport.ISCSI: frozenset({State.PARSE, State.ALLOC_MEM, State.QUEUED}),
    Transport.LOOPBACK: frozenset({State.QUEUED}),
}
"""States that one command at a time comes to. iSCSI-SCST hands over PARSE and ALLOC_MEM one by one
for each connection; and where nobody fetches, nobody carries a second command on to be fetched:
SCST's own threads of a scst_user device are those that fetch."""

ELSEWHERE = frozenset({"lun-delete-while-device-goes"})
"""Mechanisms that hold commands in a way of their own, on a device with a second LUN."""

DIMENSIONS: Mapping[str, Sequence[Any]] = {
    "point": [str(state) for state in State],
    "mechanism": [fault.name for fault in MECHANISMS if fault.name not in ELSEWHERE and any(
        fault.needs.met("scst", "scst_user", transport) for transport in Transport)],
    "transport": [str(transport) for transport in Transport],
    "on_free": ["CALL", "IGNORE"],
    "reuse": ["NONE", "READ", "WRITE", "ALL"],
    "parse": ["STANDARD", "CALL", "EXCEPTION"],
    "pool": ["private", "shared"],
    "threads": [1, 4],
    "multi": ["single", "multi"],
    "opcode": list(KINDS),
}
"""In the order of Cell's fields."""

LATER: Mapping[str, Sequence[Any]] = {"point": ["EXT_COPY_REMAP"], "opcode": [COPY]}
"""Values that came once the matrix had been run: cells are added for them, what was there stays."""

assert list(DIMENSIONS) == [field.name for field in fields(Cell)]

Known = Mapping[str, Any]
"""Values of some of the dimensions: a rule that misses one of its own says nothing."""


@dataclass(frozen=True)
class Rule:
    """Cells of these dimensions are illegal when ``excludes`` says so; ``why`` in one sentence."""

    why: str
    dimensions: tuple[str, ...]
    excludes: Callable[..., bool]

    def forbids(self, known: Known) -> bool:
        """Tell whether it excludes a combination, as far as that is known."""
        if not all(name in known for name in self.dimensions):
            return False
        return self.excludes(*(known[name] for name in self.dimensions))


SUSPENDING: frozenset[str] = frozenset({"backend-flush-cache", "backend-set-options", "suspend"})
"""Faults that suspend all of SCST's activity, as the flush at the point does."""

RULES: tuple[Rule, ...] = (
    Rule("a fault of one transport only", ("mechanism", "transport"),
         lambda mechanism, transport: not FAULTS[mechanism].needs.met(
             "scst", "scst_user", transport)),
    Rule("PARSE is asked for with parse CALL only; EXCEPTION asks for unknown commands",
         ("point", "parse"), lambda point, parse: point == "PARSE" and parse != "CALL"),
    Rule("ON_FREE_CMD is told with on_free CALL only", ("point", "on_free"),
         lambda point, on_free: point == "ON_FREE_CMD" and on_free != "CALL"),
    Rule("memory is asked for before EXEC for WRITEs only; a READ's comes with its answer",
         ("point", "opcode"), lambda point, opcode: (
             point == "ALLOC_MEM" and not opcode.endswith("write"))),
    Rule("no buffer is kept without memory reuse", ("point", "reuse"),
         lambda point, reuse: point == "ON_CACHED_MEM_FREE" and reuse in {"NONE", "READ"}),
    Rule("no command is brought to this point: its class is moot", ("point", "opcode"),
         lambda point, opcode: State(point) not in COMMANDS and opcode != NO_COMMAND),
    Rule("an EXTENDED COPY, and nothing else, comes to EXT_COPY_REMAP; elsewhere it is a WRITE of "
         "a parameter list", ("point", "opcode"),
         lambda point, opcode: (point == "EXT_COPY_REMAP") != (opcode == COPY)),
    Rule("background replies are for WRITEs, with on_free IGNORE and no reuse of their memory "
         "(scst_user_spec, SCST_EXEC_REPLY_BACKGROUND)", ("point", "opcode", "on_free", "reuse"),
         lambda point, opcode, on_free, reuse: point == "BACKGROUND" and (
             not opcode.endswith("write") or on_free == "CALL" or reuse in {"WRITE", "ALL"})),
    Rule("nobody fetches, so nobody could answer while the fault waits for it",
         ("point", "mechanism"), lambda point, mechanism: (
             point == "QUEUED" and FAULTS[mechanism].held is Held.ANSWERED)),
    Rule("nobody fetches, so no session could be attached to the LUN that the fault adds",
         ("point", "mechanism"), lambda point, mechanism: (
             point == "QUEUED" and mechanism == "lun-add")),
    Rule("the LUN that the point adds or deletes is the one the fault adds",
         ("point", "mechanism"), lambda point, mechanism: (
             State(point) in SESSION and mechanism == "lun-add")),
    Rule("a flush is what brings a buffer to this point; SCST takes one at a time",
         ("point", "mechanism"), lambda point, mechanism: (
             point == "ON_CACHED_MEM_FREE" and mechanism in SUSPENDING)),
)


def forbidding(known: Known) -> Rule | None:
    """Return the first rule that excludes a combination, or None."""
    return next((rule for rule in RULES if rule.forbids(known)), None)


def legal(values: Sequence[Any]) -> bool:
    """Tell whether the first dimensions' values may go together."""
    return forbidding(dict(zip(DIMENSIONS, values, strict=False))) is None


def full() -> Iterator[Cell]:
    """Yield every legal cell."""
    return (Cell(**known) for known, rule in _walk({}, 0) if rule is None)


NAMES = tuple(DIMENSIONS)
RULES_OF = [[rule for rule in RULES if max(map(NAMES.index, rule.dimensions)) == number]
            for number in range(len(NAMES))]
"""The rules that can be asked once a dimension's value is known, for each of them in order."""


def _walk(known: dict[str, Any], depth: int) -> Iterator[tuple[Known, Rule | None]]:
    """Yield every legal cell's values, and of what is excluded those that are known, and why."""
    if depth == len(NAMES):
        yield known, None
        return
    for value in DIMENSIONS[NAMES[depth]]:
        known[NAMES[depth]] = value
        rule = next((rule for rule in RULES_OF[depth] if rule.forbids(known)), None)
        if rule:
            yield known, rule
        else:
            yield from _walk(known, depth + 1)
    del known[NAMES[depth]]


Pair = tuple[tuple[str, Any], tuple[str, Any]]
Values = Mapping[str, Sequence[Any]]


def pairwise(seed: int) -> list[Cell]:
    """Return cells in which every legal pair of values occurs; the seed decides which ones.

    AllPairs never takes back a value, so with rules it misses pairs; cells are added for those.
    """
    chance = random.Random(seed)
    first = {name: [value for value in values if value not in LATER.get(name, ())]
             for name, values in DIMENSIONS.items()}
    shuffled = _shuffled(first, chance)
    cells = [Cell(*values) for values in AllPairs(list(shuffled.values()), filter_func=legal)]
    covered = {pair for cell in cells for pair in pairs(cell)}
    for values in (first, DIMENSIONS):
        for pair in list(legal_pairs(shuffled if values is first else _shuffled(values, chance))):
            if pair not in covered:
                cells.append(complete(dict(pair), _shuffled(values, chance), covered))
                covered.update(pairs(cells[-1]))
    return cells


def _shuffled(values: Values, chance: random.Random) -> Values:
    return {name: chance.sample(list(those), len(those)) for name, those in values.items()}


def pairs(cell: Cell) -> Iterator[Pair]:
    """Yield the pairs of values in a cell."""
    return combinations(((name, getattr(cell, name)) for name in DIMENSIONS), 2)


def legal_pairs(values: Values) -> Iterator[Pair]:
    """Yield the pairs of values that a legal cell has."""
    for one, other in combinations(values, 2):
        for pair in product(product([one], values[one]), product([other], values[other])):
            if _extend(dict(pair), values, frozenset()) is not None:
                yield pair


def complete(known: Known, values: Values, covered: Collection[Pair]) -> Cell:
    """Return a legal cell with some given values, and others whose pairs are not covered yet.

    Raises ValueError when there is none.
    """
    found = _extend(known, values, covered)
    if found is None:
        raise ValueError(f"no legal cell has {known}")
    return Cell(**found)


def _extend(known: Known, values: Values, covered: Collection[Pair]) -> Known | None:
    if forbidding(known):
        return None
    name = next((name for name in values if name not in known), None)
    if name is None:
        return known

    def seen_before(value: Any) -> int:
        here = {**known, name: value}
        return sum(pair in covered for pair in combinations(
            ((each, here[each]) for each in DIMENSIONS if each in here), 2))

    tries = (_extend({**known, name: value}, values, covered)
             for value in sorted(values[name], key=seen_before))
    return next((found for found in tries if found is not None), None)


def census() -> tuple[int, Counter[str]]:
    """Return how many cells are legal, and how many each rule excludes: the first that does."""
    legal_ones, counts = 0, Counter[str]()
    for known, rule in _walk({}, 0):
        if rule:
            counts[rule.why] += prod(len(DIMENSIONS[name]) for name in NAMES if name not in known)
        else:
            legal_ones += 1
    return legal_ones, counts


def crossings() -> Iterator[tuple[str, str, str | None]]:
    """Yield point, mechanism, and why no cell has both; None where there is one."""
    for point, mechanism in product(DIMENSIONS["point"], DIMENSIONS["mechanism"]):
        rule = forbidding({"point": point, "mechanism": mechanism})
        yield point, mechanism, rule.why if rule else None
