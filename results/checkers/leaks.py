# SPDX-License-Identifier: GPL-2.0-or-later
"""Leaks: over many cycles of deployment and removal, nothing grows from one cycle to the next.

Each count (objects of a slab cache, pages by use, references to a module, descriptors and private
memory of a program, tasks) is a series with one value a cycle. A leak makes it grow in nearly every
cycle, or lifts its floor: its slope is the median of the slopes between all pairs of cycles
(Theil-Sen), which a few odd cycles do not move. Caches and pools also grow, but they stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise
from statistics import median

from results.checkers import EVIDENCE_MAX
from results.history import Event, History
from results.timeline import Timeline
from results.verdict import Check, Figure, Signature, Verdict

NAME = "leaks"

WARM_UP = 2
"""First cycles that are not judged: pools, caches and the programs' heaps are filled."""

LEAST_CYCLES = WARM_UP + 6
"""Cycles from which growth is judged."""

NEARLY_ALL = 0.9
"""Part of the cycles in which a count has to grow, so that its growth is a leak."""

FLOOR_RISES = 0.6
"""Part of the cycles in which the floor of a count has to rise, so that its growth is a leak."""

FLOOR_RISE = 0.5
"""Part of the growth that is allowed, over all cycles, by which the floor has to rise.

The floor of a count is its least value from each cycle on: other users of the same memory add to a
count for a while, and take nothing away. Recorded on SCST with one page lost in each of 10 cycles:
the floor rose by 6, 8 and 9, in 6, 7 and 6 of them; without a loss in 2 at most."""

STOPPED = 3
"""Last cycles without a rise of the floor after which growth has stopped."""

RISING = 0.55
"""Kendall's tau of the values from which they rise: the part of all pairs of cycles in which the
later one has more, less the part in which it has less. With a lost page: 0.62, 0.82 and 0.87."""


@dataclass(frozen=True)
class Kind:
    """A kind of count. ``subject``, ``unit``: for reasons. ``allowed``: growth a cycle below which
    it is no leak. ``ignored``: names that are not judged.
    """

    subject: str
    unit: str
    allowed: float
    ignored: frozenset[str] = frozenset()


KINDS: Mapping[str, Kind] = {
    "slabs": Kind("slab cache", "objects", 0.9, frozenset({"vmap_area"})),
    "pages": Kind("pages of kind", "pages", 0.9, frozenset({
        "free", "file", "anonymous", "slab", "vmalloc tables"})),
    "modules": Kind("module", "references", 0.9),
    "descriptors": Kind("descriptors of program", "descriptors", 0.9),
    "private_kib": Kind("private memory of program", "KiB", 3.9, frozenset({"python3"})),
    "tasks": Kind("number of", "tasks", 0.9),
}
"""By the fields of ("sampler", "usage").

vmap_area, vmalloc tables: the kernel keeps free areas until their pages exceed lazy_max_pages()
(mm/vmalloc.c, 32 MiB and more); those in use are in the pages of kind vmalloc. slab: its objects
are counted by their caches. python3: the agent of this project, which keeps a record of the
programs that it started; backends in Python live for one cycle."""

MOST = 0.5
"""Part of a slab cache's growth from which the place that allocated it is its cause."""


@dataclass(frozen=True)
class Growth:
    """The growth of one count over the judged cycles.

    ``places``: growth of the objects of a slab cache by the functions that allocated them.
    """

    field: str
    name: str
    values: tuple[int, ...]
    places: Mapping[str, int]

    @property
    def steps(self) -> list[int]:
        """The differences from cycle to cycle."""
        return [after - before for before, after in pairwise(self.values)]

    @property
    def grew(self) -> int:
        """The number of cycles in which the count grew."""
        return sum(step > 0 for step in self.steps)

    @property
    def slope(self) -> float:
        """The growth a cycle: the median of the slopes between all pairs (Theil-Sen)."""
        return slope_of(self.values)

    @property
    def floor(self) -> tuple[int, ...]:
        """The least value from each cycle on."""
        return tuple(accumulate(reversed(self.values), min))[::-1]

    @property
    def rising(self) -> float:
        """Kendall's tau of the values over the cycles."""
        signs = [(later > earlier) - (later < earlier)
                 for earlier, later in combinations(self.values, 2)]
        return sum(signs) / len(signs)

    @property
    def leaks(self) -> bool:
        """Whether it grew by more than is allowed: in nearly every cycle, or by its floor."""
        allowed, cycles = KINDS[self.field].allowed, len(self.steps)
        if self.slope > allowed and self.grew >= NEARLY_ALL * cycles:
            return True
        rises = [later > earlier for earlier, later in pairwise(self.floor)]
        return (sum(rises) >= FLOOR_RISES * cycles and any(rises[-STOPPED:])
                and self.rising >= RISING
                and self.floor[-1] - self.floor[0] >= FLOOR_RISE * allowed * cycles)

    @property
    def cause(self) -> str:
        """The functions that allocated most of it, the innermost first; "" where unknown."""
        place, grew = max(self.places.items(), key=lambda each: each[1], default=("", 0))
        return place if grew >= MOST * (self.values[-1] - self.values[0]) else ""

    @property
    def words(self) -> str:
        """The growth as a sentence."""
        kind, cycles = KINDS[self.field], len(self.steps)
        cause = f", allocated by {self.cause}" if self.cause else ""
        return (f"{kind.subject} {self.name} grew by {self.slope:.1f} {kind.unit} a cycle, in "
                f"{self.grew} of {cycles} cycles{cause}, and at the least by "
                f"{self.floor[-1] - self.floor[0]} (allowed: by {kind.allowed} a cycle, at the "
                f"least by {FLOOR_RISE * kind.allowed * cycles:.1f})")

    @property
    def signature(self) -> Signature:
        """The count, and the function that allocated it."""
        allocator = self.cause.partition(" < ")[0]
        return Signature.of("growth", KINDS[self.field].subject, self.name,
                            *([allocator] if allocator else []))

    @property
    def evidence(self) -> dict[str, object]:
        """The values of the judged cycles."""
        return {"field": self.field, "name": self.name, "values": list(self.values),
                **({"allocated": dict(self.places)} if self.places else {})}


def slope_of(values: Sequence[int]) -> float:
    """Return the median of the slopes between all pairs of values (Theil-Sen)."""
    return median((values[later] - values[earlier]) / (later - earlier)
                  for earlier, later in combinations(range(len(values)), 2))


def check(history: History) -> Check | None:
    """FAIL for a count that grows in nearly every cycle; None for a scenario without cycles."""
    samples = list(history.select("sampler", "usage"))
    if not samples:
        return None
    figures = {"cycles": Figure(len(samples), "1")}
    if len(samples) < LEAST_CYCLES:
        return Check(NAME, Verdict.UNKNOWN, f"{len(samples)} cycles ended, growth is judged from "
                     f"{LEAST_CYCLES} cycles on", (), figures)
    found = sorted((each for each in growths(samples[WARM_UP - 1:]) if each.leaks),
                   key=lambda each: list(KINDS).index(each.field))
    if not found:
        judged = len(samples) - WARM_UP
        return Check(NAME, Verdict.PASS, f"nothing grew in nearly all of {judged} cycles", (),
                     figures)
    timeline = Timeline.of(history)
    return Check(
        NAME, Verdict.FAIL, "; ".join(each.words for each in found),
        [each.evidence for each in found[:EVIDENCE_MAX]],
        {**figures, **timeline.detected(NAME, samples[-1].time)},
        [each.signature for each in found])


def growths(samples: Sequence[Event]) -> Iterator[Growth]:
    """Yield the series of every count; one that a sample lacks is 0 there."""
    for of, kind in KINDS.items():
        names = {name for sample in samples for name in sample.data[of]}
        for name in sorted(names - kind.ignored):
            yield Growth(of, name, tuple(int(sample.data[of].get(name, 0)) for sample in samples),
                         places(samples, name) if of == "slabs" else {})


def places(samples: Sequence[Event], cache: str) -> dict[str, int]:
    """Return the growth of a slab cache by the functions that allocated, the largest first.

    Empty where fewer than two samples have them.
    """
    known = [sample.data["allocated"] for sample in samples if "allocated" in sample.data]
    if len(known) < 2:
        return {}
    first, last = known[0], known[-1]
    grown = {key.partition(": ")[2]: count - first.get(key, 0) for key, count in last.items()
             if key.startswith(f"{cache}: ") and count > first.get(key, 0)}
    return dict(sorted(grown.items(), key=lambda each: -each[1])[:EVIDENCE_MAX])
