# SPDX-License-Identifier: GPL-2.0-or-later
"""I/Os whose commands end with GOOD again and again, as with a residual after a full transfer."""

from __future__ import annotations

import pytest

from results.resent import LEAST
from results.verdict import Verdict
from suites.selftest.stories import Story, healthy

WRITE_10 = "2a 00 00 00 6c 21 00 00 01 00"
"""The rest of a WRITE of 16 KiB at block 27650: its last block."""

WRITE_16 = "8a 00 00 00 00 00 00 00 6c 21 00 00 00 01 00 00"


def unfinished(commands: int, cdb: str = WRITE_10, result: str = "status=SAM_STAT_GOOD") -> Story:
    """Return a history with a WRITE without an end, and so many commands of it that ended."""
    story = healthy().without("workload", "end", job="load")
    story.at(14.05, "block", "issue", io=900, disk="sda", op="write", sector=27650, bytes=16384)
    for number in range(commands):
        story.at(14.06 + number / 1000, "scsi", "done", host="1:0:0:0", tag=3, scheduler_tag=-1,
                 opcode=int(cdb[:2], 16), cdb=cdb, result=f"driver=DRIVER_OK {result}")
    return story


@pytest.mark.parametrize("cdb", [WRITE_10, WRITE_16])
def test_a_write_that_is_sent_again_and_again(cdb: str) -> None:
    check = unfinished(LEAST, cdb).check("ledger")
    assert check.verdict is Verdict.FAIL
    assert check.reason.startswith(
        "1 have no end although their commands end with GOOD, as with a residual after a full "
        "transfer; first: write of 16384 bytes at sector 27650 of sda, 10 commands, allowed: 1 "
        "(RFC 7143 11.4.5")
    assert check.signatures[0].kind == "resent"


@pytest.mark.parametrize("story", [
    unfinished(LEAST - 1), unfinished(LEAST, result="status=SAM_STAT_BUSY"),
    unfinished(LEAST, "2a 00 00 00 6c 20 00 00 01 00"), unfinished(LEAST, "28" + WRITE_10[2:]),
    unfinished(LEAST, "35 00 00 00 00 00 00 00 00 00")],
    ids=["few", "busy", "another end", "a read", "no data"])
def test_what_is_not_sent_again(story: Story) -> None:
    assert not [each for each in story.check("ledger").signatures if each.kind == "resent"]


def test_ios_that_ended_account_for_their_commands() -> None:
    """Another disk's WRITEs of the same block, each of which ended, beside one that is held."""
    story = unfinished(LEAST)
    for number in range(LEAST):
        time = 14.06 + number / 1000
        story.at(time - 1e-4, "block", "issue", io=1000 + number, disk="sdb", op="write",
                 sector=27681, bytes=512)
        story.at(time + 1e-4, "block", "complete", io=1000 + number, disk="sdb", op="write",
                 sector=27681, error=None, seconds=2e-4)
    assert not [each for each in story.check("ledger").signatures if each.kind == "resent"]
