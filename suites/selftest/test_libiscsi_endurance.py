# SPDX-License-Identifier: GPL-2.0-or-later
"""The cost of libiscsi from Python: a million commands, and a race with iscsi-perf (in C)."""

from __future__ import annotations

import random
import re
import statistics
import struct
import subprocess
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from fixtures.initiator.libiscsi.ledger_guest import Command, Request
from fixtures.initiator.libiscsi.session_guest import Login, Session
from suites.selftest.test_libiscsi import balanced, descriptors, login, rss
from suites.selftest.tgtd import BLOCK, LUN, SIZE, SOON, Tgtd, running_tgtd

pytestmark = pytest.mark.endurance

DEPTH = 32
BLOCKS = 8
ROUNDS, SECONDS = 7, 3
MILLION = 1_000_000
AVERAGE = re.compile(r"iops average (\d+) \(\d+ MB/s\) +\s*finished")


@pytest.fixture
def tgtd() -> Iterator[Tgtd]:
    """Provide a tgtd of the test's own."""
    with running_tgtd() as running:
        yield running


def reads() -> Iterator[Request]:
    """Yield READ(16)s of 4 KiB at random blocks, like iscsi-perf's."""
    pick = random.Random(1).randrange
    while True:
        yield Request(struct.pack(">BxQIxx", 0x88, pick(SIZE // BLOCK - BLOCKS), BLOCKS),
                      BLOCKS * BLOCK, b"", LUN)


def writes_and_reads() -> Iterator[Request]:
    """Yield commands of 4 KiB: one write, then three READ(16)s, and so on."""
    for number, request in enumerate(reads()):
        yield request if number % 4 else Request(
            b"\x8a" + request.cdb[1:], 0, bytes(BLOCKS * BLOCK), LUN)


def test_a_million_commands(tgtd: Tgtd) -> None:
    latencies = [0.0, 0.0]

    def ended(command: Command) -> None:
        seconds = command.seconds or 0.0
        latencies[0] += seconds
        latencies[1] = max(latencies[1], seconds)

    before = descriptors()
    with Session(Login(tgtd.portal, tgtd.iqn), SOON) as session:
        login(session)
        source = writes_and_reads()
        assert session.drive(islice(source, 10_000), DEPTH, SOON, ended)
        memory, inside, began = rss(), descriptors(), time.monotonic()
        assert session.drive(islice(source, MILLION), DEPTH, 1000, ended)
        seconds, grown = time.monotonic() - began, rss() - memory
        assert descriptors() == inside
        assert session.ledger.statuses == {0: 10_000 + MILLION, 2: 1}
    print(f"\n{MILLION} commands in {seconds:.1f} s: {MILLION / seconds:.0f}/s, latency "
          f"{latencies[0] / MILLION * 1e6:.0f} us on average, {latencies[1] * 1e3:.0f} ms at most; "
          f"RSS {memory >> 10} KiB, {grown >> 10} KiB more after; "
          f"descriptors {before}, {inside}, {descriptors()}")
    assert grown < 1 << 20
    assert balanced(session)
    assert descriptors() == before


def ours(tgtd: Tgtd) -> float:
    """Return the I/Os per second of the session under test."""
    with Session(Login(tgtd.portal, tgtd.iqn), SOON) as session:
        login(session)
        began = time.monotonic()
        session.drive(reads(), DEPTH, SECONDS)
        answered = session.ledger.statuses[0]
        seconds = time.monotonic() - began
        assert session.wait(session.pending, SOON)
    return answered / seconds


def theirs(tgtd: Tgtd) -> float:
    """Return iscsi-perf's I/Os per second."""
    output = subprocess.run(
        ["iscsi-perf", "-r", "-m", str(DEPTH), "-b", str(BLOCKS), "-t", str(SECONDS),
         f"iscsi://{tgtd.portal}/{tgtd.iqn}/{LUN}"],
        check=True, capture_output=True, text=True, timeout=60).stdout
    average = AVERAGE.search(output)
    assert average is not None, output
    return float(average[1])


def test_race_with_iscsi_perf(tgtd: Tgtd) -> None:
    """4 KiB random reads, 32 in flight, alternately on the same LUN."""
    rounds = [(ours(tgtd), theirs(tgtd)) for _ in range(ROUNDS)]
    ratios = sorted(perf / mine for mine, perf in rounds)
    mine, perf = (statistics.median(each) for each in zip(*rounds, strict=True))
    print(f"\nI/Os a second, medians of {ROUNDS} rounds: {mine:.0f}, iscsi-perf {perf:.0f}; "
          f"iscsi-perf is {statistics.median(ratios):.2f} times as fast "
          f"({ratios[0]:.2f} to {ratios[-1]:.2f})")
    assert statistics.median(ratios) < 2
