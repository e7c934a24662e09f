# SPDX-License-Identifier: GPL-2.0-or-later
"""Parsing of iscsi-test-cu's output, and its comparison as the conformance suite does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.initiator.iscsi_test_cu import (
    FAMILIES,
    MULTIPATH,
    Outcome,
    Result,
    listed,
    parse,
    run_family,
    url,
)
from results.errors import TargetFailedError
from suites.conformance.conftest import Row, Table
from targets.machine import Completed
from targets.target import Address, Transport

PRINTED = """    Send REPORT_SUPPORTED_OPCODE (Expecting SUCCESS) RCTD:1 OPTIONS:0 OPCODE:0x00 SA:0
    [SKIPPED] REPORT_SUPPORTED_OPCODES is not implemented.
    Send MODESENSE6 (Expecting SUCCESS)


     CUnit - A unit testing framework for C - Version 2.1-3
     http://cunit.sourceforge.net/


Suite: Reserve6
  Test: Simple ...
    Test basic RESERVE6/RELEASE6 commands if supported
    [OK] RESERVE6 returned SUCCESS.
passed
  Test: 2Initiators ...    [SKIPPED] Logical unit is not removable. Skipping test.
passed
  Test: Logout ...
    RESERVE6 from the second initiator should work now
    [FAILED] RESERVE6 command: failed with sense. RESERVATION CONFLICT
FAILED
    1. test_reserve6_logout.c:71  - CU_ASSERT_EQUAL(ret,0)
  Test: LUNReset ...
    Send a LUN Reset
passed    Send PRIN/READ_KEYS


Run Summary:    Type  Total    Ran Passed Failed Inactive
              suites      1      1    n/a      0        0
               tests      4      4      3      1        0
"""
"""Abridged from a run on vdisk_fileio (libiscsi 1.19)."""

CUT = PRINTED.index("RESERVE6 from the second")
ADDRESS = Address(Transport.ISCSI, 0, "STF", "s", "127.0.0.1:3260", "iqn.x:y")
PASSED, SKIPPED, FAILED, HUNG = Outcome.PASSED, Outcome.SKIPPED, Outcome.FAILED, Outcome.HUNG


class Printer:
    """A machine whose programs print preset output, selected by a word of their command."""

    def __init__(self, printed: dict[str, str]) -> None:
        self.printed = printed
        self.ran: list[list[str]] = []

    def run(self, argv: list[str], **_: object) -> Completed:
        """Record a command and return its preset output."""
        self.ran.append(argv)
        text = next((text for word, text in self.printed.items() if word in argv), "")
        return Completed(tuple(argv), 0, text, "")


def test_outcomes_and_words() -> None:
    assert parse("Reserve6", PRINTED) == [
        Result("Reserve6.Simple", PASSED),
        Result("Reserve6.2Initiators", SKIPPED, "Logical unit is not removable. Skipping test."),
        Result("Reserve6.Logout", FAILED,
               "RESERVE6 command: failed with sense. RESERVATION CONFLICT; "
               "test_reserve6_logout.c:71  - CU_ASSERT_EQUAL(ret,0)"),
        Result("Reserve6.LUNReset", PASSED),
    ]


def test_what_was_cut_off_has_hung() -> None:
    assert parse("Reserve6", PRINTED[:CUT])[-1].outcome is HUNG
    assert parse("Reserve6", "no test at all") == []


def test_those_behind_one_that_hung_are_run_alone() -> None:
    alone = "  Test: LUNReset ...\n    Send a LUN Reset\npassed\n"
    machine = Printer({"--test=ALL.Reserve6": PRINTED[:CUT], "--test=ALL.Reserve6.LUNReset": alone})
    tests = ["Simple", "2Initiators", "Logout", "LUNReset", "Missing"]
    found, text = run_family(machine, ADDRESS, "Reserve6", tests, 5.0)  # type: ignore[arg-type]
    assert [result.outcome for result in found] == [PASSED, SKIPPED, HUNG, PASSED, HUNG]
    assert text.endswith(alone)
    assert machine.ran[0][-1] == url(ADDRESS) == "iscsi://127.0.0.1:3260/iqn.x:y/0"
    assert len(machine.ran) == 3


def test_tests_that_do_not_begin() -> None:
    machine = Printer({"--test=ALL.Read10": "Failed to login to target"})
    with pytest.raises(TargetFailedError, match="Failed to login"):
        run_family(machine, ADDRESS, "Read10", ["Simple"], 5.0)  # type: ignore[arg-type]


def test_two_paths_where_two_are_wanted() -> None:
    machine = Printer({f"--test=ALL.{MULTIPATH}": PRINTED})
    run_family(machine, ADDRESS, MULTIPATH, [], 5.0)  # type: ignore[arg-type]
    assert machine.ran[0][-2:] == [url(ADDRESS)] * 2


def test_what_is_listed() -> None:
    lines = ["ALL", "ALL.Read10", "ALL.Read10.Simple", "ALL.Read10.Async", "SCSI.Read10.Simple"]
    machine = Printer({"--list": "\n".join(lines)})
    assert listed(machine) == {"Read10": ["Simple", "Async"]}  # type: ignore[arg-type]
    assert len(set(FAMILIES)) == len(FAMILIES)


@pytest.mark.parametrize(("reference", "ours", "race", "worse"), [
    (PASSED, FAILED, "", True), (PASSED, HUNG, "", True), (PASSED, SKIPPED, "", False),
    (FAILED, FAILED, "", False), (SKIPPED, FAILED, "", False), (PASSED, FAILED, "why", False),
    (PASSED, PASSED, "", False),
])
def test_what_is_worse(reference: Outcome, ours: Outcome, race: str, worse: bool) -> None:
    assert Row("6.1", "A.B", reference, ours, "", "words", race).worse is worse


def test_the_table_is_kept_after_each_row(tmp_path: Path) -> None:
    table = Table()
    table.add([Row("6.1", "A.B", PASSED, FAILED, "", "too late")], tmp_path)
    text = (tmp_path / "conformance.json").read_text()
    assert '"ours": "failed"' in text
    assert '"our_words": "too late"' in text
    assert table.rows[0].line().endswith("passed   failed   scst_user: too late")
