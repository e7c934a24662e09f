# SPDX-License-Identifier: GPL-2.0-or-later
"""Leaks: what grows from cycle to cycle is found, and what only varies is not."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.watcher import usage_guest
from results.checkers.leaks import KINDS, LEAST_CYCLES, WARM_UP, check
from results.ladder import Ladder
from results.verdict import Check, Figure, Signature, Verdict
from suites.selftest.stories import Story

CYCLES = 12
STEADY: dict[str, dict[str, int]] = {
    "slabs": {"kmalloc-64": 4000, "dentry": 3000, "scst_cmd": 0},
    "pages": {"free": 180_000, "file": 9000, "anonymous": 6000, "slab": 5000, "other": 4100},
    "modules": {"scst": 5}, "descriptors": {"iscsi-scstd": 12, "iscsid": 9},
    "private_kib": {"iscsi-scstd": 700}, "tasks": {"kernel threads": 80, "processes": 9}}

NOISE = [0, 3, -2, 0, 1, -1, 2, 0, -3, 1, 0, 2]
"""A count that varies and does not grow."""


def recorded(cycles: int = CYCLES, /, **series: Sequence[int]) -> Story:
    """Return a history of cycles; ``series``: values added to a count, by "field__name"."""
    story = Story()
    story.at(1.0, "harness", "scenario", id="x", ladder=asdict(Ladder()))
    for number in range(1, cycles + 1):
        data: dict[str, Any] = {field: dict(counts) for field, counts in STEADY.items()}
        for key, values in series.items():
            field, _, name = key.partition("__")
            name = name.replace("_of_", "-").replace("__", " ")
            data[field][name] = data[field].get(name, 0) + values[number - 1]
        story.at(10.0 * number, "sampler", "usage", cycle=number, seconds=1.0, **data)
    story.at(10.0 * cycles + 5, "harness", "phase", name="end")
    return story


def judged(story: Story) -> Check:
    """Return the check of the story's leaks."""
    found = check(story.history())
    assert found is not None
    return found


def each(step: int, since: int = 0) -> list[int]:
    """Return the values of a count that grows by ``step`` in each cycle from ``since`` on."""
    return [max(0, number - since) * step for number in range(CYCLES)]


def test_no_cycles_no_check() -> None:
    assert check(Story().at(1.0, "harness", "scenario", id="x").history()) is None


def test_nothing_grows() -> None:
    found = judged(recorded(slabs__kmalloc_of_64=NOISE, pages__other=NOISE))
    assert (found.verdict, found.reason) == (
        Verdict.PASS, "nothing grew in nearly all of 10 cycles")
    assert found.figures["cycles"] == Figure(CYCLES, "1")


@pytest.mark.parametrize(("series", "reason", "signature"), [
    ({"pages__other": each(1)}, "pages of kind other grew by 1.0 pages a cycle, in 10 of 10 "
     "cycles, and at the least by 10 (allowed: by 0.9 a cycle, at the least by 4.5)",
     Signature("growth", ("pages of kind", "other"))),
    ({"slabs__kmalloc_of_64": each(1)}, "slab cache kmalloc-64 grew by 1.0 objects a cycle, in 10 "
     "of 10 cycles, and at the least by 10 (allowed: by 0.9 a cycle, at the least by 4.5)",
     Signature("growth", ("slab cache", "kmalloc-64"))),
    ({"descriptors__iscsi_of_scstd": each(1)}, "descriptors of program iscsi-scstd grew by 1.0 "
     "descriptors a cycle, in 10 of 10 cycles, and at the least by 10 (allowed: by 0.9 a cycle, at "
     "the least by 4.5)",
     Signature("growth", ("descriptors of program", "iscsi-scstd"))),
    ({"modules__scst": each(2)}, "module scst grew by 2.0 references a cycle, in 10 of 10 cycles"
     ", and at the least by 20 (allowed: by 0.9 a cycle, at the least by 4.5)",
     Signature("growth", ("module", "scst"))),
])
def test_one_a_cycle_is_found(
    series: dict[str, list[int]], reason: str, signature: Signature,
) -> None:
    found = judged(recorded(**series))
    assert (found.verdict, found.reason) == (Verdict.FAIL, reason)
    assert list(found.signatures) == [signature]


def test_all_that_grows_is_named() -> None:
    found = judged(recorded(pages__other=each(1), slabs__kmalloc_of_64=each(3)))
    assert found.reason.count(";") == 1
    assert len(found.signatures) == len(found.evidence) == 2


def test_the_cause_of_a_growing_cache_is_the_place_of_allocation() -> None:
    """By the growth of its objects from the first sample with places to the last."""
    history = recorded(slabs__kmalloc_of_64=each(1)).history()
    samples = [cast(dict[str, Any], event.data) for event in history.select("sampler", "usage")]
    samples[1]["allocated"] = {
        "kmalloc-64: scst_a < scst_b": 1, "kmalloc-64: other < it": 90, "kmalloc-6: no < no": 1}
    samples[-1]["allocated"] = {
        "kmalloc-64: scst_a < scst_b": 11, "kmalloc-64: other < it": 92, "kmalloc-6: no < no": 99}
    found = check(history)
    assert found is not None
    assert "in 10 of 10 cycles, allocated by scst_a < scst_b, and at the least" in found.reason
    assert list(found.signatures) == [Signature("growth", ("slab cache", "kmalloc-64", "scst_a"))]
    assert found.evidence[0]["allocated"] == {"scst_a < scst_b": 10, "other < it": 2}


def test_a_new_name_counts_from_nothing() -> None:
    found = judged(recorded(slabs__stf_test=each(8)))
    assert found.verdict is Verdict.FAIL
    assert found.evidence[0]["values"][0] == 8


def test_another_user_of_the_cache_does_not_hide_a_leak() -> None:
    """As recorded: one object a cycle, in a cache that others use, which shows in 8 cycles."""
    values = [0, 0, 1, 2, 3, 3, 5, 6, 7, 7, 9, 10]
    found = judged(recorded(slabs__kmalloc_of_64=values))
    assert found.verdict is Verdict.FAIL
    assert "grew by 1.0 objects a cycle, in 8 of 10 cycles" in found.reason


PAGES = {
    "one lost in each cycle": [
        3162, 3159, 3159, 3159, 3161, 3162, 3164, 3164, 3167, 3166, 3167, 3168],
    "one lost in each cycle, and passing uses": [
        3165, 3164, 3170, 3163, 3164, 3165, 3166, 3169, 3168, 3169, 3170, 3171],
    "one lost in each cycle, and vmalloc's tables counted too high": [
        3020, 3022, 3021, 3022, 3022, 3023, 3024, 3025, 3027, 3026, 3027, 3027],
    "none lost": [3159, 3159, 3159, 3157, 3162, 3162, 3164, 3164, 3162, 3162, 3162, 3162],
    "passing uses": [3161, 3166, 3158, 3166, 3158, 3158, 3158, 3158, 3158, 3158, 3158, 3162],
}
"""Pages of kind other, as recorded on SCST."""


@pytest.mark.parametrize("what", PAGES)
def test_recorded_pages(what: str) -> None:
    values = [value - STEADY["pages"]["other"] for value in PAGES[what]]
    found = judged(recorded(pages__other=values))
    assert (found.verdict is Verdict.FAIL) == what.startswith("one lost"), found.reason


def test_one_odd_cycle_does_not_hide_a_leak() -> None:
    values = each(1)
    values[6] -= 40
    found = judged(recorded(pages__other=values))
    assert found.verdict is Verdict.FAIL
    assert "grew by 1.0 pages a cycle, in 9 of 10 cycles" in found.reason


@pytest.mark.parametrize("values", [
    [0, 40, *[60] * 10], [*range(5), *[5] * 7], [*[0] * 6, *[500] * 6],
    [0, 4, 1, 5, 2, 6, 3, 7, 4, 8, 5, 9], [-step for step in range(12)], [*range(8), *[8] * 4]],
    ids=["filled", "stops early", "one jump", "saw", "shrinks", "stops late"])
def test_growth_that_is_no_leak(values: list[int]) -> None:
    assert judged(recorded(slabs__kmalloc_of_64=values)).verdict is Verdict.PASS


def test_the_warm_up_is_not_judged() -> None:
    values = [number * 100 for number in range(WARM_UP)] + [WARM_UP * 100] * (CYCLES - WARM_UP)
    assert judged(recorded(pages__other=values)).verdict is Verdict.PASS


def test_page_cache_and_free_pages_are_not_judged() -> None:
    story = recorded(pages__free=each(50), pages__file=each(50), pages__anonymous=each(50))
    assert judged(story).verdict is Verdict.PASS


@pytest.mark.parametrize("cycles", [1, LEAST_CYCLES - 1])
def test_too_few_cycles(cycles: int) -> None:
    found = judged(recorded(cycles, pages__other=each(1)))
    assert (found.verdict, found.reason) == (
        Verdict.UNKNOWN, f"{cycles} cycles ended, growth is judged from {LEAST_CYCLES} cycles on")


def test_the_least_number_of_cycles_is_enough() -> None:
    assert judged(recorded(LEAST_CYCLES, pages__other=each(1))).verdict is Verdict.FAIL


def test_random_walks_are_rarely_taken_for_leaks() -> None:
    draw = random.Random(7)
    barks = 0
    for _ in range(300):
        noise = [draw.gauss(0, 4) for _ in range(CYCLES)]
        barks += judged(recorded(slabs__dentry=[round(each) for each in noise])).verdict \
            is Verdict.FAIL
    assert barks == 0


LOSES = """#!{python}
import os, sys
kept = []
print(flush=True)
for _ in sys.stdin:
    kept += [os.open(os.devnull, os.O_RDONLY) for _ in range({lost})]
    os.close(os.open(os.devnull, os.O_RDONLY))
    print(flush=True)
"""
"""A program that opens descriptors for each line that comes in, and loses some."""


@pytest.mark.parametrize(("lost", "verdict"), [(1, Verdict.FAIL), (0, Verdict.PASS)])
def test_one_descriptor_a_cycle_of_a_real_program(
    tmp_path: Path, lost: int, verdict: Verdict,
) -> None:
    """The guest's own count of descriptors, of a process; its name is that of its file."""
    program = tmp_path / f"loses{lost}fd"
    program.write_text(LOSES.format(python=sys.executable, lost=lost))
    program.chmod(0o755)
    counts = []
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        for _ in range(CYCLES):
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
            descriptors, _, _ = usage_guest.of_processes()
            counts.append(descriptors[program.name])
        process.stdin.close()
    found = judged(recorded(**{f"descriptors__{program.name}": counts}))
    assert found.verdict is verdict
    assert not lost or found.reason.startswith(
        "descriptors of program loses1fd grew by 1.0 descriptors a cycle, in 10 of 10 cycles")


def test_every_field_of_the_event_is_judged() -> None:
    assert set(KINDS) == set(STEADY)
