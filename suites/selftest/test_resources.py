# SPDX-License-Identifier: GPL-2.0-or-later
"""Resources: after the last removal the target holds the same as before."""

from __future__ import annotations

from typing import Any

import pytest

from results.checkers.resources import MEMORY_LOST_KIB, TAINTS, taint_letters
from results.verdict import Check, Signature, Verdict
from suites.selftest.stories import Story, healthy, resources

OUT_OF_TREE_UNSIGNED = 1 << 12 | 1 << 13
WARNED = OUT_OF_TREE_UNSIGNED | 1 << 9


def after(**other: Any) -> Story:
    """Return a healthy history with another sample at the end."""
    story = healthy().without("sampler", "resources", when="after")
    resources(story, 23.0, "after", **other)
    return story


def failed(story: Story) -> Check:
    """Return the check of resources, which must be FAIL."""
    check = story.check("resources")
    assert check.verdict is Verdict.FAIL, check.reason
    return check


def test_back_to_the_baseline() -> None:
    check = healthy().check("resources")
    assert check.verdict is Verdict.PASS
    assert check.reason == "back to the baseline: 2 slab caches, 1 modules, taint 12288"
    assert check.figures["memory_lost"].value == 0


def test_less_than_at_the_baseline_is_fine() -> None:
    story = after(slabs={"scst_tgt_dev": 0}, modules={}, free_kib=800_000, taint=0)
    check = story.check("resources")
    assert check.verdict is Verdict.PASS
    assert check.figures["memory_lost"].value == -100_000 * 1024


@pytest.mark.parametrize(("other", "words", "signature"), [
    ({"slabs": {"scst_user_cmd": 1}}, "slab cache scst_user_cmd has 1 objects, 0 before",
     Signature("slab objects", ("scst_user_cmd",))),
    ({"slabs": {"scst_cmd": 2}}, "slab cache scst_cmd has 2 objects, 0 before",
     Signature("slab objects", ("scst_cmd",))),
    ({"modules": {"scst": 4}}, "module scst has 4 references, 3 before",
     Signature("module references", ("scst",))),
    ({"taint": WARNED}, "new taint W: the kernel warned", Signature("taint", ("W",))),
    ({"taint": OUT_OF_TREE_UNSIGNED | 1 << 40}, "new taint 40: taint bit 40",
     Signature("taint", ("40",))),
    ({"free_kib": 700_000 - MEMORY_LOST_KIB - 1024}, "49 MiB less memory is free, allowed are 48",
     Signature("memory", ("free_kib",))),
])
def test_more_than_at_the_baseline(
    other: dict[str, Any], words: str, signature: Signature,
) -> None:
    check = failed(after(**other))
    assert check.reason == words
    assert check.signatures == [signature]
    assert check.figures["resources_detected_after"].value == pytest.approx(9.0)


def test_everything_that_is_too_much_is_named() -> None:
    check = failed(after(slabs={"scst_user_cmd": 1, "scst_tgt_dev": 3}, taint=WARNED))
    assert len(check.signatures) == 3
    assert check.reason.count(";") == 2


def test_memory_may_vary() -> None:
    assert after(free_kib=700_000 - MEMORY_LOST_KIB).verdict("resources") is Verdict.PASS


WARNING = "WARNING: CPU: 1 PID: 5 at scst_lib.c:12 scst_free+0x1/0x2 [scst]"
LOCKUP = "watchdog: BUG: soft lockup - CPU#1 stuck for 8s! [scst_usr_cleanu:158]"


@pytest.mark.parametrize(("line", "bit", "verdict"), [
    (WARNING, 9, Verdict.PASS),
    (LOCKUP, 14, Verdict.PASS),
    (LOCKUP, 9, Verdict.FAIL),
    (WARNING, 14, Verdict.FAIL),
    (WARNING, 3, Verdict.FAIL),
])
def test_a_taint_that_the_console_accounts_for(line: str, bit: int, verdict: Verdict) -> None:
    story = after(taint=OUT_OF_TREE_UNSIGNED | 1 << bit)
    story.at(15.0, "console", "line", text=f"[   15.000000] {line}")
    assert story.verdict("resources") is verdict
    assert story.verdict("kernel_health") is Verdict.FAIL


@pytest.mark.parametrize("when", ["baseline", "after"])
def test_one_sample_alone_tells_nothing(when: str) -> None:
    check = healthy().without("sampler", "resources", when=when).check("resources")
    assert check.verdict is Verdict.UNKNOWN
    assert f"none {when!r}" in check.reason


def test_letters_of_a_taint() -> None:
    assert taint_letters(WARNED) == ["W", "O", "E"]
    assert taint_letters(0) == []
    assert [letter for letter, _ in TAINTS] == list("PFSRMBUDAWCIOELKXTNJ")
