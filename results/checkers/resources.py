# SPDX-License-Identifier: GPL-2.0-or-later
"""Resources: after the last removal the target holds no more than before it was deployed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from results.checkers import kernel_health
from results.history import Event, History
from results.kernel_log import Kind
from results.timeline import Timeline
from results.verdict import Check, Figure, Signature, Verdict

NAME = "resources"

MEMORY_LOST_KIB = 48 << 10
"""Permitted decrease of free memory. Its causes: per-CPU lists, the page tables and stacks of
programs that ran, and slab pages that other caches keep. In 208 healthy scenarios (LIO and SCST,
6.1 and 6.12) the median was 8 MiB, the maximum 27.5. A leak of this size is a device's memory,
not a command's (a command consists of slab objects)."""

STALLS = frozenset({
    Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.HUNG_TASK, Kind.RCU_STALL, Kind.WORKQUEUE_LOCKUP,
    Kind.OUT_OF_MEMORY, Kind.SCST_CRITICAL,
})
"""Kinds of reports that leave no taint, except the soft lockup's own."""

TAINTS = (
    ("P", "a proprietary module was loaded"),
    ("F", "a module was loaded by force"),
    ("S", "the kernel runs on a system out of specification"),
    ("R", "a module was unloaded by force"),
    ("M", "the processor reported a machine check"),
    ("B", "a bad page was referenced"),
    ("U", "taint was requested by user space"),
    ("D", "the kernel died: an oops or a BUG"),
    ("A", "an ACPI table was overridden"),
    ("W", "the kernel warned"),
    ("C", "a staging driver was loaded"),
    ("I", "a firmware bug was worked around"),
    ("O", "a module built out of tree was loaded"),
    ("E", "an unsigned module was loaded"),
    ("L", "a soft lockup occurred"),
    ("K", "the kernel was live patched"),
    ("X", "auxiliary taint of the distribution"),
    ("T", "the kernel was built with randomized structures"),
    ("N", "an in-kernel test was run"),
    ("J", "a fwctl interface changed the device's firmware"),
)
"""Letter and meaning by bit, from 0 (Documentation/admin-guide/tainted-kernels.rst)."""


@dataclass(frozen=True)
class Excess:
    """One resource above its baseline."""

    words: str
    signature: Signature


def check(history: History) -> Check | None:
    """FAIL for slab objects, references, taint or memory beyond the baseline; None unrecorded."""
    samples = {event.data["when"]: event for event in history.select("sampler", "resources")}
    if not samples:
        return None
    baseline, after = samples.get("baseline"), samples.get("after")
    if baseline is None or after is None:
        there, missing = ("baseline", "after") if baseline else ("after", "baseline")
        return Check(NAME, Verdict.UNKNOWN, f"there is a sample {there!r}, but none {missing!r}")
    timeline = Timeline.of(history)
    found = [
        *_slabs(baseline, after), *_modules(baseline, after), *_memory(baseline, after),
        *_taint(baseline, after, _kinds(history)),
    ]
    figures = {"memory_lost": Figure(_lost_kib(baseline, after) * 1024, "B")}
    if found:
        return Check(
            NAME, Verdict.FAIL, "; ".join(excess.words for excess in found),
            [dict(baseline.data), dict(after.data)],
            {**figures, **timeline.detected(NAME, after.time)},
            [excess.signature for excess in found],
        )
    return Check(
        NAME, Verdict.PASS,
        f"back to the baseline: {len(baseline.data['slabs'])} slab caches, "
        f"{len(baseline.data['modules'])} modules, taint {after.data['taint']}", (), figures,
    )


def taint_letters(taint: int) -> list[str]:
    """Return a taint value's letters, lowest bit first; for a bit without a letter its number."""
    return [letter for letter, _ in _bits(taint)]


def _slabs(baseline: Event, after: Event) -> Iterator[Excess]:
    for cache, (before, now) in _grown(baseline.data["slabs"], after.data["slabs"]):
        yield Excess(f"slab cache {cache} has {now} objects, {before} before",
                     Signature.of("slab objects", cache))


def _modules(baseline: Event, after: Event) -> Iterator[Excess]:
    for module, (before, now) in _grown(baseline.data["modules"], after.data["modules"]):
        yield Excess(f"module {module} has {now} references, {before} before",
                     Signature.of("module references", module))


def _grown(
    before: Mapping[str, int], after: Mapping[str, int],
) -> Iterator[tuple[str, tuple[int, int]]]:
    for name, now in after.items():
        if now > before.get(name, 0):
            yield name, (before.get(name, 0), now)


def _memory(baseline: Event, after: Event) -> Iterator[Excess]:
    lost = _lost_kib(baseline, after)
    if lost > MEMORY_LOST_KIB:
        yield Excess(f"{lost >> 10} MiB less memory is free, allowed are {MEMORY_LOST_KIB >> 10}",
                     Signature.of("memory", "free_kib"))


def _lost_kib(baseline: Event, after: Event) -> int:
    return int(baseline.data["free_kib"]) - int(after.data["free_kib"])


def _taint(baseline: Event, after: Event, kinds: frozenset[Kind]) -> Iterator[Excess]:
    """Yield the new taints that no report on the console accounts for."""
    for letter, meaning in _bits(after.data["taint"] & ~baseline.data["taint"]):
        if not _accounted(letter, kinds):
            yield Excess(f"new taint {letter}: {meaning}", Signature.of("taint", letter))


def _accounted(letter: str, kinds: frozenset[Kind]) -> bool:
    if letter == "L":
        return Kind.SOFT_LOCKUP in kinds
    return letter in {"B", "D", "M", "W"} and not kinds <= STALLS


def _kinds(history: History) -> frozenset[Kind]:
    return frozenset(report.kind for report in kernel_health.reports(history))


def _bits(taint: int) -> list[tuple[str, str]]:
    names = dict(enumerate(TAINTS))
    return [
        names.get(bit, (str(bit), f"taint bit {bit}"))
        for bit in range(taint.bit_length()) if taint >> bit & 1
    ]
