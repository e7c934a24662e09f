# SPDX-License-Identifier: GPL-2.0-or-later
"""Misbehaviour of a RAM disk, and its delivery by both backends to their kernels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.workload.stamps_guest import Owner, encode, examine
from inject.catalogue import FAULTS
from inject.misbehaviour import MISBEHAVIOURS, Misbehaviour
from results.errors import TargetFailedError
from suites.selftest import test_scst_user as scst
from suites.selftest import test_tcmu as tcmu
from suites.selftest.fakes import FakeSubject
from targets.backend.control_guest import Channel
from targets.backend.disk import Access, RamDisk
from targets.backend.misbehaviour_guest import How, Misbehaviours
from targets.lio.ring_guest import Ring
from targets.scst.abi import Subcode

WRITE_10, READ_10, VERIFY_10 = 0x2A, 0x28, 0x2F
BLOCK = 4096
OWNER = Owner("STF stf-stf0", 7)


class Bench:
    """A misbehaving disk of 16 stamped blocks."""

    def __init__(self, medium: Path) -> None:
        self.disk = RamDisk(str(medium), 16 * BLOCK, 512, vendor="STF", product="p", serial="s")
        commands, self.orders = os.pipe()
        self._events, events = os.pipe()
        os.set_blocking(self._events, False)
        self.misbehaviours = Misbehaviours(Channel(commands, events), self.disk)
        self._descriptors = [commands, self.orders, self._events, events]
        self.versions = [0] * 16
        for block in range(16):
            self.write(block)

    def write(self, block: int) -> How | None:
        """Write a block's next version as the backends do; return the misbehaviour or None."""
        access = Access("write", block * 8, block * BLOCK, BLOCK)
        armed = self.misbehaviours.armed
        order = self.misbehaviours.pick(block, WRITE_10, access) if armed else None
        self.versions[block] += 1
        if order is None or order.how not in (How.SKIP, How.DROP):
            self.disk.data[access.offset:access.end] = encode(
                OWNER, block, self.versions[block], BLOCK)
            self.misbehaviours.spoil(order, access)
        return None if order is None else order.how

    def read(self, block: int) -> dict[str, Any]:
        """Read a block; return the stamp found in it."""
        access = Access("read", block * 8, block * BLOCK, BLOCK)
        armed = self.misbehaviours.armed
        order = self.misbehaviours.pick(block, READ_10, access) if armed else None
        return examine(bytes(self.misbehaviours.source(order, access)), OWNER, block, 512)

    def wrong(self) -> dict[int, dict[str, Any]]:
        """Return the blocks that differ from their last write."""
        found = {block: examine(bytes(self.disk.data[block * BLOCK:(block + 1) * BLOCK]),
                                OWNER, block, 512) for block in range(16)}
        return {block: held for block, held in found.items()
                if held != {"version": self.versions[block], "torn": False, "foreign": None}}

    def carried_out(self) -> list[dict[str, Any]]:
        """Return the events of misbehaviour."""
        try:
            text = os.read(self._events, 1 << 16)
        except BlockingIOError:
            return []
        return [json.loads(line) for line in text.splitlines()]

    def close(self) -> None:
        self.disk.close()
        for descriptor in self._descriptors:
            os.close(descriptor)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "medium")
    yield made
    made.close()


def test_the_truth_is_the_rule(bench: Bench) -> None:
    assert [bench.write(block) for block in (1, 2, 1)] == [None] * 3
    assert bench.read(1)["version"] == 3
    assert not bench.wrong()
    assert not bench.carried_out()


def test_corrupt_changes_one_block_once(bench: Bench) -> None:
    bench.misbehaviours.order("corrupt", 1)
    assert bench.read(4)["version"] == 1
    assert [bench.write(block) for block in (4, 5)] == [How.CORRUPT, None]
    wrong = bench.wrong()
    assert list(wrong) == [4]
    assert wrong[4]["torn"]
    event, = bench.carried_out()
    assert {key: event[key] for key in ("kind", "how", "handle", "opcode", "direction", "lba",
                                        "bytes")} == {
        "kind": "lied", "how": "corrupt", "handle": 4, "opcode": WRITE_10, "direction": "write",
        "lba": 32, "bytes": BLOCK}


def test_swap_takes_an_earlier_write_of_another_block(bench: Bench) -> None:
    bench.misbehaviours.order("swap", 1)
    assert [bench.write(block) for block in (4, 4, 9, 10)] == [None, None, How.SWAP, None]
    wrong = bench.wrong()
    assert list(wrong) == [4, 9]
    assert "of block 9, version 2" in wrong[4]["foreign"]
    assert "of block 4, version 3" in wrong[9]["foreign"]


def test_misread_gives_an_earlier_writes_data(bench: Bench) -> None:
    bench.misbehaviours.order("misread", 1)
    assert bench.read(6)["version"] == 1  # no write has occurred since the order
    bench.write(3)
    assert bench.read(3)["version"] == 2
    assert "of block 3, version 2" in bench.read(6)["foreign"]
    assert bench.read(6)["foreign"] is None
    assert not bench.wrong()


def test_misread_gives_another_luns_data(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"".join(encode(Owner("other", 7), block, 5, BLOCK) for block in range(8)))
    bench.misbehaviours.order("misread", 2, medium=str(other))
    assert bench.read(6)["foreign"] == "sector 0 of block 6, version 5, of other (seed 7)"
    assert bench.read(9)["version"] is None  # beyond that LUN's end
    assert bench.read(6)["version"] == 1


def test_skip_keeps_the_old_version(bench: Bench) -> None:
    bench.misbehaviours.order("skip", 2)
    assert [bench.write(block) for block in (2, 3, 4)] == [How.SKIP, How.SKIP, None]
    assert {block: held["version"] for block, held in bench.wrong().items()} == {2: 1, 3: 1}


def test_only_what_matches_is_lied_to(bench: Bench) -> None:
    bench.misbehaviours.order("drop", 1, opcodes=[WRITE_10], direction="write")
    pick = bench.misbehaviours.pick
    assert pick(1, VERIFY_10, None) is None
    assert pick(2, WRITE_10, Access("write", 0, 0, 0)) is None
    assert pick(3, READ_10, Access("read", 0, 0, 512)) is None
    assert pick(4, 0x8A, Access("write", 0, 0, 512)) is None
    order = pick(5, WRITE_10, Access("write", 0, 0, 512))
    assert order is not None
    assert (order.how, order.done) == (How.DROP, 1)
    assert pick(6, WRITE_10, Access("write", 0, 0, 512)) is None


def test_the_truth_again(bench: Bench) -> None:
    bench.misbehaviours.order("skip", 5)
    bench.write(2)
    bench.misbehaviours.stop()
    assert not bench.misbehaviours.armed
    assert bench.write(3) is None
    assert list(bench.wrong()) == [2]


@pytest.mark.parametrize(("how", "direction"), [
    ("fib", None), ("corrupt", "read"), ("swap", "read"), ("skip", "read"), ("misread", "write")])
def test_orders_that_cannot_be(bench: Bench, how: str, direction: str | None) -> None:
    with pytest.raises(ValueError, match=how):
        bench.misbehaviours.order(how, 1, direction=direction)
    assert not bench.misbehaviours.armed


# faults


@pytest.mark.parametrize("fault", MISBEHAVIOURS, ids=lambda fault: fault.name)
def test_misbehaviour_begins_with_the_held_commands_and_ends(fault: Misbehaviour) -> None:
    assert FAULTS[fault.name] is fault
    assert fault.how in set(How)
    subject = FakeSubject()
    fault.fire(subject, 5.0)
    fault.undo(subject, 5.0)
    assert subject.done == [f"misbehave {fault.how}", "release", "behave"]


def test_misbehaviour_without_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = FakeSubject()
    monkeypatch.setattr(subject, "wait_misbehaved", lambda count, deadline: False)
    with pytest.raises(TargetFailedError, match="fewer than 1 commands of its kind in 5 s"):
        MISBEHAVIOURS[0].fire(subject, 5.0)


# TCMU


@pytest.fixture
def uio(tmp_path: Path) -> Iterator[tcmu.Bench]:
    made = tcmu.Bench(tmp_path / "medium")
    yield made
    made.close()


def stage(uio: tcmu.Bench, how: str, **order: Any) -> list[dict[str, Any]]:
    """Hold two WRITEs, order a misbehaviour, release them; return the resulting events."""
    uio.order("hold", point="EXEC", count=2)
    uio.run()
    for page, cmd_id in ((0, 11), (1, 12)):
        uio.kernel.page(page)[:] = bytes([cmd_id]) * tcmu.PAGE
        uio.kernel.command(cmd_id, tcmu.write10(page + 4), pages=(page,))
    uio.run()
    uio.order("misbehave", how=how, count=1, **order)
    uio.order("release")
    return uio.run()


def replies(events: list[dict[str, Any]]) -> list[bool]:
    return [event["ok"] for event in events if event["kind"] == "reply"]


def answered(events: list[dict[str, Any]]) -> list[int]:
    return [event["handle"] for event in events
            if event["kind"] == "step" and event["action"] == "answered"]


@pytest.mark.parametrize(("how", "first", "second"), [
    ("corrupt", 11, 12), ("swap", 12, 11), ("skip", 0, 12)])
def test_tcmu_lies_about_writes(uio: tcmu.Bench, how: str, first: int, second: int) -> None:
    events = stage(uio, how)
    assert {cmd_id: answer[0] for cmd_id, answer in uio.kernel.answers.items()} == {11: 0, 12: 0}
    assert all(replies(events))
    data = uio.disk.data
    assert (data[4 * tcmu.PAGE], data[5 * tcmu.PAGE]) == (first, second)
    assert [event["how"] for event in events if event["kind"] == "lied"] == [how]
    if how == "corrupt":
        changed = [byte for byte in data[4 * tcmu.PAGE:5 * tcmu.PAGE] if byte != 11]
        assert changed == [11 ^ 0xFF]


def test_tcmu_misreads(uio: tcmu.Bench) -> None:
    stage(uio, "misread")
    uio.kernel.command(13, tcmu.read10(9), pages=(7,))
    uio.run()
    assert uio.kernel.page(7)[0] == 12
    assert uio.kernel.answers[13][0] == 0


def test_tcmu_drops_until_the_next_release(uio: tcmu.Bench) -> None:
    events = stage(uio, "drop")
    assert set(uio.kernel.answers) == {12}
    assert answered(events) == [2]
    uio.kernel.command(13, tcmu.write10(0), pages=(3,))
    uio.run()
    assert set(uio.kernel.answers) == {12, 13}
    uio.order("release")
    uio.run()
    assert set(uio.kernel.answers) == {12, 13}
    assert not uio.disk.data[4 * tcmu.PAGE]
    uio.order("behave")
    uio.order("release")
    assert answered(uio.run()) == [1]
    assert set(uio.kernel.answers) == {11, 12, 13}
    assert uio.kernel.cleaned == uio.kernel.head


def test_tcmu_answers_twice_and_lives_on(
    uio: tcmu.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    completed: list[int] = []
    complete = Ring.complete

    def noted(self: Ring, cmd_id: int, *arguments: Any) -> None:
        complete(self, cmd_id, *arguments)
        completed.append(cmd_id)

    monkeypatch.setattr(Ring, "complete", noted)
    monkeypatch.setattr(uio.kernel, "collect", lambda: None)
    events = stage(uio, "twice")
    assert completed == [11, 11]
    assert answered(events) == [1, 1]
    refused, = (event for event in events if event["kind"] == "refused")
    assert refused["handle"] == 2
    assert "no entry" in refused["error"]
    assert all(replies(events))
    uio.order("serving")
    assert replies(uio.run()) == [True, True]


# scst_user


@pytest.fixture
def device(tmp_path: Path) -> Iterator[scst.Bench]:
    made = scst.Bench(tmp_path)
    yield made
    made.close()


def write(device: scst.Bench, handle: int, lba: int) -> list[Any]:
    """WRITE a block filled with the handle's number."""
    lent, = device.work(scst.alloc(handle, 1))
    pbuf = lent.alloc_reply.pbuf
    device.memory.view(pbuf)[:scst.BLOCK] = bytes([handle]) * scst.BLOCK
    return device.work(scst.write(handle, lba, 1, pbuf))


@pytest.mark.parametrize(("how", "first", "second"), [
    ("corrupt", 11, 12), ("swap", 12, 11), ("skip", 0, 12)])
@pytest.mark.parametrize("steps", [True, False])
def test_scst_lies_about_writes(
    device: scst.Bench, how: str, first: int, second: int, steps: bool
) -> None:
    device.steps(steps)
    device.device.misbehave(how=how, count=1)
    replied = [*write(device, 11, 4), *write(device, 12, 5)]
    assert [(reply.cmd_h, reply.exec_reply.status) for reply in replied] == [(11, 0), (12, 0)]
    data = device.disk.data
    assert (data[4 * scst.BLOCK], data[5 * scst.BLOCK]) == (first, second)
    assert [event["how"] for event in device.events("lied")] == [how]


def test_scst_misreads(device: scst.Bench) -> None:
    device.device.misbehave(how="misread", count=1)
    write(device, 11, 4)
    replied, = device.work(scst.read(12, 9, 1))
    assert device.memory.view(replied.exec_reply.pbuf)[0] == 11
    replied, = device.work(scst.read(13, 9, 1))
    assert device.memory.view(replied.exec_reply.pbuf)[0] == 0


def test_scst_drops_until_the_next_release(device: scst.Bench) -> None:
    device.device.misbehave(how="drop", count=1)
    assert write(device, 11, 4) == []
    assert [reply.cmd_h for reply in write(device, 12, 5)] == [12]
    assert not device.disk.data[4 * scst.BLOCK]
    exec_steps = [(event["action"], event["handle"]) for event in device.events("step")
                  if event["point"] == "EXEC"]
    assert exec_steps == [("received", 11), ("received", 12), ("answered", 12)]
    device.device.behave()
    device.device.release()
    assert device.kernel.replies[-1].cmd_h == 11
    assert device.disk.data[4 * scst.BLOCK] == 11


def test_scst_drops_a_held_command(device: scst.Bench) -> None:
    device.hold("EXEC", 1)
    write(device, 11, 4)
    device.device.misbehave(how="drop", count=1)
    before = len(device.kernel.replies)
    device.device.release()
    device.device.release()
    assert len(device.kernel.replies) == before
    device.device.behave()
    device.device.release()
    assert device.kernel.replies[-1].cmd_h == 11


@pytest.mark.parametrize("held", [True, False])
def test_scst_answers_twice(device: scst.Bench, held: bool) -> None:
    if held:
        device.hold("EXEC", 1)
        write(device, 11, 4)
    device.device.misbehave(how="twice", count=1)
    before = len(device.kernel.replies)
    if held:
        device.device.release()
    else:
        write(device, 11, 4)
    carried_out = [reply.cmd_h for reply in device.kernel.replies[before:] if reply.subcode
                   == int(Subcode.EXEC)]
    assert carried_out == [11, 11]
    steps = [event["action"] for event in device.events("step") if event["point"] == "EXEC"]
    assert steps.count("answered") == 2
