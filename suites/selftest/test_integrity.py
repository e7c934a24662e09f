# SPDX-License-Identifier: GPL-2.0-or-later
"""Integrity: stamped blocks with each kind of error, and each correct content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from results.verdict import Check, Signature, Verdict
from suites.selftest.stories import Story, healthy, seen, stamp


def stamped(*found: dict[str, Any]) -> Story:
    """Return a healthy history without stamps, with these blocks found in the verification."""
    story = healthy().without("workload", "writing", "wrote", "read", "found")
    for each in found:
        story.at(21.0, "workload", "found", **each)
    return story


def read(
    story: Story, time: float, issued_after: int, *, error: str | None = None, **block: Any,
) -> Story:
    """Add a read during the load."""
    return story.at(time, "workload", "read", job="stamps", error=error,
                    issued_after=issued_after, **{**seen(5, None), **block})


def integrity(story: Story) -> Check:
    """Return the integrity check."""
    return story.check("integrity")


def test_healthy() -> None:
    check = integrity(healthy())
    assert check.verdict is Verdict.PASS
    assert check.reason == (
        "all 4 stamped blocks have allowed versions, as have 1 reads")
    figures = {name: figure.value for name, figure in check.figures.items()}
    assert figures == {"stamped_writes": 7, "stamped_acknowledged": 5, "stamped_reads": 1,
                       "stamped_read_back": 4}


FOUND = seen(5, 2, disk="sdb")
"""Block 5, whose versions 1 and 2 were acknowledged."""


def written(*found: dict[str, Any]) -> Story:
    """Return a history in which versions 1 and 2 of block 5 were acknowledged."""
    story = stamped(*found)
    stamp(story, 12.0, 5, 1)
    stamp(story, 12.5, 5, 2)
    return story


@pytest.mark.parametrize(("found", "words", "signature"), [
    ({"version": 1}, "lost write: 1, first: block 5 of stf0 holds version 1, expected version 2",
     ("lost write", "found")),
    ({"version": None}, "block 5 of stf0 holds nothing stamped, expected version 2",
     ("lost write", "found")),
    ({"version": 7}, "holds version 7, which was never issued, expected version 2",
     ("never issued", "found")),
    ({"torn": True}, "torn: 1, first: block 5 of stf0 is torn within a logical block",
     ("torn", "found")),
    ({"foreign": "block 6 of stf1, version 3"},
     "foreign: 1, first: block 5 of stf0 holds block 6 of stf1, version 3, expected version 2",
     ("foreign", "found")),
    ({"error": "EIO"}, "block 5 of stf0 cannot be read back: EIO", ("unreadable", "found")),
    ({"sectors": [2, 1]}, "holds version 1, expected version 2", ("lost write", "found")),
])
def test_what_is_found_wrong(
    found: dict[str, Any], words: str, signature: tuple[str, ...],
) -> None:
    check = integrity(written({**FOUND, **found}))
    assert check.verdict is Verdict.FAIL
    assert words in check.reason
    assert check.signatures == [Signature(signature[0], signature[1:])]
    assert check.figures["integrity_detected_after"].value == pytest.approx(7.0)
    assert check.evidence[0]["block"] == 5


def _fails(story: Story) -> None:
    stamp(story, 13.9, 5, 3, seconds=1.0, error="EIO")


def _never_ends(story: Story) -> None:
    story.at(13.9, "workload", "writing", job="stamps", disk="sda", block=5, version=3)


@pytest.mark.parametrize("last", [_fails, _never_ends])
@pytest.mark.parametrize(("found", "verdict"), [
    ({"version": 2}, Verdict.PASS),
    ({"version": 3}, Verdict.PASS),
    ({"version": 3, "sectors": [3, 2, 3]}, Verdict.PASS),
    ({"version": 1}, Verdict.FAIL),
    ({"version": 3, "sectors": [3, 1]}, Verdict.FAIL),
    ({"version": 3, "torn": True}, Verdict.FAIL),
])
def test_an_unacknowledged_write_may_be_old_or_new(
    last: Callable[[Story], None], found: dict[str, Any], verdict: Verdict,
) -> None:
    story = written({**FOUND, **found})
    last(story)
    assert integrity(story).verdict is verdict


def test_a_write_that_failed_may_not_come_back_later() -> None:
    """An aborted command that the target executes after its successor."""
    story = written({**FOUND, "version": 3})
    _fails(story)
    stamp(story, 15.0, 5, 4)
    check = integrity(story)
    assert check.verdict is Verdict.FAIL
    assert "holds version 3, expected version 4" in check.reason


@pytest.mark.parametrize("version", [3, 4])
def test_of_writes_that_overlap_either_may_be_last(version: int) -> None:
    story = written({**FOUND, "version": version})
    stamp(story, 13.0, 5, 3, seconds=0.5)
    stamp(story, 13.1, 5, 4, seconds=0.1)
    assert integrity(story).verdict is Verdict.PASS


@pytest.mark.parametrize(("version", "verdict"), [
    (None, Verdict.PASS), (1, Verdict.PASS), (2, Verdict.FAIL),
])
def test_a_block_without_an_acknowledged_write(version: int | None, verdict: Verdict) -> None:
    story = stamped({**FOUND, "version": version})
    stamp(story, 13.0, 5, 1, error="EIO")
    assert integrity(story).verdict is verdict


def test_a_block_that_was_never_written() -> None:
    story = written(FOUND, seen(6, None, disk="sdb"))
    assert integrity(story).verdict is Verdict.PASS
    story.changed("workload", "found", {"block": 6}, version=1)
    assert integrity(story).verdict is Verdict.FAIL


@pytest.mark.parametrize(("time", "issued_after", "block", "verdict"), [
    (12.6, 2, {"version": 2}, Verdict.PASS),
    (12.3, 1, {"version": 1}, Verdict.PASS),
    (12.6, 1, {"version": 1}, Verdict.PASS),  # issued before version 2 was acknowledged
    (12.6, 1, {"version": 2}, Verdict.PASS),
    (12.505, 1, {"version": 2}, Verdict.PASS),  # version 2 is in flight
    (12.6, 2, {"version": 1}, Verdict.FAIL),
    (12.6, 2, {"version": None}, Verdict.FAIL),
    (11.9, 0, {"version": None}, Verdict.PASS),
    (11.9, 0, {"version": 1}, Verdict.FAIL),  # not issued yet
    (12.6, 2, {"version": 2, "torn": True}, Verdict.FAIL),
    (12.6, 2, {"version": 2, "foreign": "block 5 of stf1, version 9"}, Verdict.FAIL),
    (14.5, 2, {"version": None, "error": "EIO"}, Verdict.PASS),
])
def test_reads(time: float, issued_after: int, block: dict[str, Any], verdict: Verdict) -> None:
    story = read(written(FOUND), time, issued_after, **block)
    check = integrity(story)
    assert check.verdict is verdict, check.reason
    if verdict is Verdict.FAIL:
        assert check.signatures[0].anchors == ("read",)


def test_a_stale_read_says_what_was_read() -> None:
    check = integrity(read(written(FOUND), 12.6, 2, version=1))
    assert check.reason == (
        "stale read: 1, first: block 5 of stf0 was read with version 1, expected version 2 (SBC-4 "
        "4.15.7: a read operation returns the most recent data of a block)")


def test_the_gravest_is_named_first() -> None:
    story = read(written({**FOUND, "foreign": "block 1 of stf0, version 2"}), 12.6, 2, version=1)
    check = integrity(story)
    assert check.reason.startswith("foreign: 1 (and 1 blocks otherwise wrong), first: block 5")
    assert {each.kind for each in check.signatures} == {"stale read", "foreign"}


def test_two_luns_are_kept_apart() -> None:
    story = written(FOUND)
    story.at(11.2, "target", "disk", name="sdc", device="8:32", identity="stf1", role="bystander")
    story.at(13.0, "workload", "writing", job="stamps", disk="sdc", block=5, version=1)
    story.at(13.1, "workload", "wrote", job="stamps", disk="sdc", block=5, version=1, error=None)
    check = integrity(story)
    assert check.verdict is Verdict.UNKNOWN
    assert check.reason == (
        "1 of 2 stamped blocks were not read back, first: block 5 of stf1")
    story.at(21.0, "workload", "found", **seen(5, 1, disk="sdc"))
    assert integrity(story).verdict is Verdict.PASS


def test_what_was_written_after_it_was_read_back_must_be_read_back_again() -> None:
    story = written(FOUND)
    stamp(story, 22.0, 5, 7)
    assert integrity(story).verdict is Verdict.UNKNOWN
    story.at(23.0, "workload", "found", **{**FOUND, "version": 7})
    assert integrity(story).verdict is Verdict.PASS
    story.at(24.0, "workload", "found", **FOUND)
    assert integrity(story).verdict is Verdict.FAIL


def test_nothing_read_back_is_unknown() -> None:
    assert integrity(written()).verdict is Verdict.UNKNOWN


def test_a_stale_read_is_a_failure_though_nothing_was_read_back() -> None:
    assert integrity(read(written(), 12.6, 2, version=1)).verdict is Verdict.FAIL


def test_what_was_read_after_the_machine_was_lost_blames_nobody() -> None:
    story = written({**FOUND, "version": None}).until(15.0)
    story.at(15.2, "harness", "lost", what="QEMU was killed")
    story.at(21.0, "workload", "found", **{**FOUND, "version": None})
    assert integrity(story).verdict is Verdict.UNKNOWN
