# SPDX-License-Identifier: GPL-2.0-or-later
"""The closing table: on a terminal, and as plain text."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from results.judge import Judgement, interrupted, judge
from results.known_issues import KnownIssue
from results.summary import lines, row, show, tally
from suites.selftest.stories import SCENARIO, healthy


def judgements() -> list[Judgement]:
    """Return one judgement of each verdict."""
    failed = healthy().without("target", "end", operation="teardown")
    return [
        judge(healthy().history()), judge(failed.history()),
        interrupted("lio-[red]odd", "QEMU was killed"),
    ]


def printed(*, terminal: bool) -> str:
    """Return the printed table."""
    console = Console(file=StringIO(), force_terminal=terminal, width=100)
    show(judgements(), console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_plain_text() -> None:
    text = printed(terminal=False)
    head, passed, failed, lost, closing = text.splitlines()
    assert head.split("  ")[0] == "scenario"
    assert passed.split() == [SCENARIO, "PASS", "1.43", "s", "1.50", "s"]
    assert "FAIL" in failed
    assert failed.endswith("teardown: the teardown had not ended after 9.9 s")
    assert lost.split("  ")[0] == "lio-[red]odd"
    assert lost.endswith("machine: QEMU was killed")
    assert closing == "1 PASS, 1 UNKNOWN, 1 FAIL"
    assert "\x1b" not in text


def test_columns_are_aligned() -> None:
    head, *rows = lines(judgements())
    assert {row.index(verdict) for row, verdict in zip(rows, ("PASS", "FAIL", "UNKNOWN"),
                                                       strict=True)} == {head.index("outcome")}


def test_terminal() -> None:
    text = printed(terminal=True)
    assert "\x1b[" in text
    assert SCENARIO in text
    assert "lio-[red]odd" in text
    assert "1 PASS, 1 UNKNOWN, 1 FAIL" in text


def test_nothing_was_judged() -> None:
    assert tally([]) == "no scenario was judged"
    assert len(lines([])) == 1


def test_known_and_fixed() -> None:
    issue = KnownIssue("slow", "https://example.org/slow")
    passed, failed, lost = (replace(each, known=issue) for each in judgements())
    assert row(failed)[1] == "KNOWN"
    assert row(failed)[4].startswith("slow (https://example.org/slow); teardown: the teardown")
    assert row(passed)[1] == "FIXED"
    assert row(passed)[4] == "slow (https://example.org/slow) was expected and not seen"
    recognised = replace(failed, matched=("threads: spinning (scst_usr_cleanu)", "held: x"))
    assert row(recognised)[4].startswith(
        "slow (https://example.org/slow), by threads: spinning (scst_usr_cleanu); held: x; ")
    assert row(lost)[1] == "UNKNOWN"
    assert tally([passed, failed, lost]) == "1 FIXED, 1 KNOWN, 1 UNKNOWN"
