# SPDX-License-Identifier: GPL-2.0-or-later
"""Stamped blocks: the classification of a read block, and the stamping program on a file."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.initiator.disk import Disk
from fixtures.workload.stamps import AFTER, LOAD, READ_BACK, StampJob, Stamps
from fixtures.workload.stamps_guest import (
    SECTOR,
    Job,
    Owner,
    Stamp,
    Stamping,
    TornError,
    decode,
    encode,
    examine,
)
from results.checkers import integrity
from results.history import Event, History, Recorder
from results.verdict import Verdict
from suites.selftest.test_agent import LocalAgent, local_agent

OWNER = Owner("STF stf-stf0", 7)
SIZE = 4096
SOON = 20.0


def block(version: int, owner: Owner = OWNER, index: int = 3) -> bytes:
    return encode(owner, index, version, SIZE)


def seen(data: bytes, logical: int = SECTOR) -> dict[str, Any]:
    return examine(data, OWNER, 3, logical)


def whole(version: int | None) -> dict[str, Any]:
    return {"version": version, "torn": False, "foreign": None}


# the stamp


@given(st.text("abc -09é", max_size=12), st.integers(0, 2**63), st.integers(0, 2**40),
       st.integers(1, 2**32 - 1), st.integers(1, 16))
def test_what_is_stamped_is_read(
    identity: str, seed: int, index: int, version: int, sectors: int
) -> None:
    owner = Owner(identity, seed)
    data = encode(owner, index, version, sectors * SECTOR)
    assert len(data) == sectors * SECTOR
    for number in range(sectors):
        assert decode(data[number * SECTOR:(number + 1) * SECTOR]) == Stamp(
            owner, index, version, number)
    assert examine(data, owner, index, SECTOR) == whole(version)


def test_a_long_identity_is_its_beginning() -> None:
    owner = Owner("x" * 40, 1)
    assert examine(encode(owner, 1, 1, SIZE), owner, 1, SECTOR) == whole(1)


def test_every_byte_of_a_sector_counts() -> None:
    data = block(5)[:SECTOR]
    for at in range(SECTOR):
        changed = bytearray(data)
        changed[at] ^= 0x01
        with pytest.raises(TornError):
            decode(bytes(changed))


# content of a block


def test_old_and_new_and_nothing() -> None:
    assert seen(block(1)) == whole(1)
    assert seen(block(2)) == whole(2)
    assert seen(bytes(SIZE)) == whole(None)


def test_logical_blocks_of_two_versions_are_told_apart() -> None:
    mixed = block(4)[:3 * SECTOR] + block(5)[3 * SECTOR:]
    assert seen(mixed) == whole(5) | {"sectors": [4, 4, 4, 5, 5, 5, 5, 5]}
    assert seen(bytes(SECTOR) + block(1)[SECTOR:])["sectors"] == [None, 1, 1, 1, 1, 1, 1, 1]


def test_two_versions_within_a_logical_block_are_torn() -> None:
    for cut in (SECTOR, 7 * SECTOR):
        assert seen(block(4)[:cut] + block(5)[cut:], SIZE)["torn"]
        assert seen(bytes(cut) + block(5)[cut:], SIZE)["torn"]
    even = block(4)[:2048] + block(5)[2048:]
    assert seen(even, 2048) == whole(5) | {"sectors": [4, 5]}


@pytest.mark.parametrize("cut", [10, 100, 300, 450, 600, 4000])
def test_a_cut_below_the_sector_is_torn(cut: int) -> None:
    assert seen(block(4)[:cut] + block(5)[cut:])["torn"]
    assert seen(block(4)[:cut] + bytes(SIZE - cut))["torn"]


def test_strange_data_are_torn() -> None:
    assert seen(random.Random(1).randbytes(SIZE))["torn"]
    assert seen(b"\0" * 4095 + b"x")["torn"]


def test_foreign_stamps_are_named() -> None:
    assert seen(block(9, index=4))["foreign"] == \
        "sector 0 of block 4, version 9, of STF stf-stf0 (seed 7)"
    assert "of STF other (seed 7)" in seen(block(9, Owner("STF other", 7)))["foreign"]
    assert "(seed 8)" in seen(block(9, Owner(OWNER.identity, 8)))["foreign"]
    shifted = block(2)[SECTOR:] + block(2)[:SECTOR]
    assert seen(shifted)["foreign"].startswith("sector 1 of block 3, version 2")
    assert seen(block(2)[:-SECTOR] + block(2, index=1)[-SECTOR:])["foreign"]


# the program


class Bench:
    """A Stamping of a file, through the page cache, and its events as a history."""

    def __init__(self, path: Path, **job: Any) -> None:
        path.write_bytes(bytes(1 << 20))
        self.disk = os.open(path, os.O_RDWR)
        self.job = Job(**{
            "path": str(path), "identity": OWNER.identity, "seed": 7, "offset": 1 << 18,
            "blocks": 16, "sizes": [SIZE], "logical": SECTOR, "threads": 4, "rate": 4000.0,
            **job})
        self.events: list[Event] = []
        self.stamping = self.again()

    def again(self) -> Stamping:
        """Return a new Stamping, without knowledge of past writes."""
        return Stamping(self.disk, self.job, self.emit)

    def emit(self, kind: str, **data: Any) -> None:
        self.events.append(Event(time.monotonic(), "workload", kind,
                                 {"job": "stamps", "disk": "sda", **data}))

    def kinds(self) -> dict[str, int]:
        names = [event.kind for event in self.events]
        return {name: names.count(name) for name in names}

    def load(self, ios: int) -> None:
        """Run the load until ``ios`` I/Os are done."""
        self.stamping.run(self.stamping.load, lambda: self.wait(ios))

    def wait(self, ios: int) -> None:
        while self.stamping.ios < ios:
            time.sleep(0.002)

    def judge(self) -> Any:
        """Read back and return the integrity check."""
        self.job = replace(self.job, after=AFTER[True])
        self.again().run(self.again().read_back)
        return integrity.check(History.of(self.events))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "disk")
    yield made
    os.close(made.disk)


def test_a_healthy_disk_passes(bench: Bench) -> None:
    bench.load(200)
    check = bench.judge()
    assert check.verdict is Verdict.PASS, check.reason
    kinds = bench.kinds()
    assert kinds["read"] >= 100
    assert kinds["writing"] == kinds["wrote"] == kinds["read"] + 16
    assert kinds["found"] == 2 * 16
    assert bench.stamping.errors == 0
    assert bench.stamping.bytes == bench.stamping.ios * SIZE


def test_it_stays_in_its_region(bench: Bench) -> None:
    bench.load(200)
    medium = os.pread(bench.disk, 1 << 20, 0)
    begin, end = 1 << 18, (1 << 18) + 16 * SIZE
    assert not any(medium[:begin])
    assert not any(medium[end:])
    assert any(medium[begin:end])


MIXED = [SECTOR, 8192, 2048, 1 << 18]


def test_blocks_of_all_sizes_lie_side_by_side(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "disk", sizes=MIXED, blocks=6)
    assert [bench.job.size(block) for block in range(6)] == [*MIXED, SECTOR, 8192]
    assert bench.job.places() == [(1 << 18) + before for before in (
        0, 512, 8704, 10752, 272896, 273408)]
    assert replace(bench.job, logical=4096).places()[:4] == [
        (1 << 18) + before for before in (0, 4096, 12288, 16384)]
    bench.load(600)
    medium = os.pread(bench.disk, 1 << 20, 0)
    end = (1 << 18) + 273408 + 8192
    assert not any(medium[:1 << 18])
    assert not any(medium[end:])
    assert {event.data["block"] for event in bench.events} == set(range(6))
    assert bench.judge().verdict is Verdict.PASS
    os.close(bench.disk)


def test_a_large_block_that_is_shifted_by_a_sector_is_found(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "disk", sizes=MIXED, blocks=4)
    bench.load(600)
    place, size = bench.job.places()[3], bench.job.size(3)
    data = os.pread(bench.disk, size, place)
    os.pwrite(bench.disk, data[:1 << 16] + data[(1 << 16) - SECTOR:-SECTOR], place)
    check = bench.judge()
    assert (check.verdict, check.reason.partition(":")[0]) == (Verdict.FAIL, "foreign")
    os.close(bench.disk)


def test_versions_increase_and_one_write_at_a_time_is_out(bench: Bench) -> None:
    bench.load(300)
    for index in range(bench.job.blocks):
        mine = [event for event in bench.events if event.data["block"] == index]
        writes = [event for event in mine if event.kind != "read"]
        assert [event.kind for event in writes] == ["writing", "wrote"] * (len(writes) // 2)
        versions = [event.data["version"] for event in writes]
        assert versions == sorted([*range(1, len(writes) // 2 + 1)] * 2)
        for read, write in pairwise(mine):
            assert (write.kind == "writing") == (read.kind == "read"), "unread before a write"
        for event in mine:
            if event.kind == "read":
                assert event.data["issued_after"] == (event.data["version"] or 0)


def test_the_seed_decides_what_is_written(tmp_path: Path) -> None:
    orders = []
    for number in range(2):
        bench = Bench(tmp_path / str(number), threads=1)
        bench.load(60)
        orders.append([e.data["block"] for e in bench.events if e.kind == "writing"][:30])
        os.close(bench.disk)
    assert orders[0] == orders[1]
    assert len(set(orders[0])) > 5


def test_a_corrupted_block_is_found_even_if_it_is_written_again(bench: Bench) -> None:
    bench.load(100)
    os.pwrite(bench.disk, b"?", (1 << 18) + 5 * SIZE + 600)
    bench.stamping.stopping.clear()
    bench.load(400)
    check = bench.judge()
    assert check.verdict is Verdict.FAIL
    assert check.reason.startswith("torn: ")


def test_a_block_that_went_back_is_a_lost_write(bench: Bench) -> None:
    bench.load(300)
    last = max(event.data["version"] for event in bench.events
               if event.kind == "wrote" and event.data["block"] == 2)
    os.pwrite(bench.disk, encode(OWNER, 2, last - 1, SIZE), (1 << 18) + 2 * SIZE)
    check = bench.judge()
    assert (check.verdict, check.reason.partition(":")[0]) == (Verdict.FAIL, "lost write")


def test_a_write_after_the_recovery_is_held_to_its_word_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redeployed device that returns GOOD but writes nothing, or to another block, fails."""
    bench.load(200)
    monkeypatch.setattr(os, "pwritev", lambda disk, buffers, at: SIZE)
    check = bench.judge()
    assert check.verdict is Verdict.FAIL
    assert check.reason.startswith("lost write: 16, first: ")
    assert f"expected version {AFTER[True] + 1}" in check.reason


def test_errors_are_told_and_survived(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1 << 30))

    def flaky(*arguments: Any, done: Any = os.pwritev) -> int:
        number = next(calls)
        if number % 3 == 1:
            raise OSError(5, "Input/output error")
        if number % 3 == 2:
            return SIZE // 2
        return int(done(*arguments))

    monkeypatch.setattr(os, "pwritev", flaky)
    bench.load(200)
    check = bench.judge()
    assert check.verdict is Verdict.PASS, check.reason
    errors = {event.data["error"] for event in bench.events if event.kind == "wrote"}
    assert errors == {None, "EIO"}
    assert bench.stamping.errors > 10


def test_blocks_that_cannot_be_read_back_are_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.load(50)

    def dead(*_: Any) -> int:
        raise OSError(19, "No such device")

    monkeypatch.setattr(os, "preadv", dead)
    check = bench.judge()
    assert check.verdict is Verdict.FAIL
    assert "unreadable" in check.reason
    assert "ENODEV" in check.reason


def test_the_rate_is_kept_and_not_caught_up(bench: Bench) -> None:
    bench.job = replace(bench.job, rate=200.0)
    bench.stamping = bench.again()
    stopper = threading.Timer(1.0, bench.stamping.stopping.set)
    stopper.start()
    bench.stamping.run(bench.stamping.load, lambda: bench.stamping.stopping.wait(SOON) and None)
    assert 40 < bench.stamping.ios < 230


# on a machine: this host, accessed as the harness accesses a guest


@pytest.fixture(scope="module")
def agent() -> Iterator[LocalAgent]:
    with local_agent() as running:
        yield running


@pytest.fixture
def region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: LocalAgent) -> Disk:
    """Provide a file with fake sysfs attributes of a disk; skip where O_DIRECT does not work."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(1 << 20))
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError:
        pytest.skip(f"no O_DIRECT in {tmp_path}")
    agent.machine.connection.sync(SOON)
    monkeypatch.setattr(agent.machine, "read", lambda path: "512\n")
    monkeypatch.setattr(Disk, "path", str(path))
    return Disk("sda", "8:0", "2:0:0:0", OWNER.identity)


JOB = StampJob(threads=2, rate_iops=400, blocks=8, offset=0, seed=7)


def test_load_and_read_back_on_a_machine(
    agent: LocalAgent, region: Disk, tmp_path: Path
) -> None:
    other = tmp_path / "stf-other"
    with Recorder(tmp_path / "history.jsonl") as recorder:
        load = Stamps(agent.machine, LOAD, replace(JOB, other_lun=str(other)), region, recorder)
        assert load.wait_written(10, SOON)
        assert not load.wait_written(1 << 30, 0.0)
        assert load.running
        load.stop()
        totals = load.wait(SOON)
        assert totals is not None
        assert totals["ios"] > 0
        assert not load.running
        load.stop()
        back = Stamps(agent.machine, READ_BACK, JOB, region, recorder, read_back=True)
        assert back.wait(SOON) is not None
        history = recorder.history()
    check = integrity.check(history)
    assert check is not None
    assert check.verdict is Verdict.PASS, check.reason
    assert [event.data["job"] for event in history.select("workload", "begin", "end")] == [
        "stamps", "stamps", "read-back", "read-back"]
    ends = list(history.select("workload", "end"))
    assert all(well(event.data) for event in ends)
    assert len(list(history.select("workload", "found"))) == 2 * JOB.blocks
    foreign = examine(other.read_bytes()[:SIZE], Owner(OWNER.identity, 7), 0, SECTOR)["foreign"]
    assert foreign == "sector 0 of block 0, version 1, of stf-other (seed 7)"


def well(data: Mapping[str, Any]) -> bool:
    return (data["exit"], data["errors"], data["error"]) == (0, 0, None) and data["ios"] > 0


def test_a_disk_that_is_not_there(
    agent: LocalAgent, region: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Disk, "path", str(tmp_path / "none"))
    with Recorder(tmp_path / "history.jsonl") as recorder:
        back = Stamps(agent.machine, READ_BACK, JOB, region, recorder, read_back=True)
        assert back.wait(SOON) is not None
        end = recorder.history().last("workload", "end")
    assert end is not None
    assert end.data["exit"] != 0
    assert end.data["ios"] == 0
