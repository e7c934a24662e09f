# SPDX-License-Identifier: GPL-2.0-or-later
"""The scst_user backend as a witness: each rule on a kernel that breaks it, and on one that does
not."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from suites.selftest.test_scst_user import (
    BLOCK,
    NONE,
    READ,
    Bench,
    alloc,
    cdb,
    command,
    on_free,
    read,
    remap,
    write,
)
from targets.backend import witness_guest
from targets.backend.disk import Opcode
from targets.scst import abi
from targets.scst.abi import MemoryReuseType, OnFreeCmdType, ParseType, Subcode
from targets.scst.user_guest import rules
from targets.scst.user_guest.outputs import BODY, PAYLOADS, POISON, SHORT, Output

Steps = Callable[[Bench], object]

UNANSWERABLE = (KeyError, ValueError, IndexError)
"""Errors of a backend that answers a command with impossible values."""


def attach(handle: int = 100, session: int = 1, **other: Any) -> abi.GetCmd:
    return command(handle, Subcode.ATTACH_SESS, "sess", **{
        "sess_h": session, "initiator_name": b"iqn.i", "target_name": b"iqn.t", **other})


def detach(handle: int, session: int = 1) -> abi.GetCmd:
    return command(handle, Subcode.DETACH_SESS, "sess", sess_h=session)


def parse(handle: int, **other: Any) -> abi.GetCmd:
    return command(handle, Subcode.PARSE, "parse_cmd", **{
        "cdb": cdb(Opcode.READ_10, 0, 1), "bufflen": 1, "data_len": 1, "op_flags": 0x24,
        "data_direction": READ, "sess_h": 1, **other})


def task_management(handle: int, **other: Any) -> abi.GetCmd:
    return command(handle, Subcode.TASK_MGMT_RECEIVED, "tm_cmd", **{"sess_h": 1, "fn": 4, **other})


def cached_free(handle: int, pbuf: int) -> abi.GetCmd:
    return command(handle, Subcode.ON_CACHED_MEM_FREE, "on_cached_mem_free", pbuf=pbuf)


def set_to(made: abi.GetCmd, member: str, **values: Any) -> abi.GetCmd:
    """Change fields of a subcommand."""
    for name, value in values.items():
        setattr(getattr(made, member), name, value)
    return made


def lent_read(bench: Bench, handle: int) -> int:
    """Carry out a READ; return the address of its buffer."""
    reply, = bench.work(read(handle, 0, 1))
    return int(reply.exec_reply.pbuf)


def breaches(bench: Bench) -> list[tuple[str, int | None, str]]:
    """Return rule, handle and point of the breaches that were not provoked."""
    return [(event["rule"], event["handle"], event["point"]) for event in bench.events("breach")
            if not event["provoked"]]


@pytest.fixture(params=[False, True], ids=["single", "multi"])
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(tmp_path, multi=request.param)
    made.work(attach())
    yield made
    made.close()


@pytest.fixture
def with_options(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(tmp_path, **options))
        made[-1].work(attach())
        return made[-1]

    yield make
    for each in made:
        each.close()


def carry_on(bench: Bench) -> None:
    """Exchange what a healthy kernel sends: commands with every subcommand, and functions."""
    given, = bench.work(alloc(1, 1))
    pbuf = given.alloc_reply.pbuf
    bench.work(write(1, 0, 1, pbuf), on_free(1, pbuf, cached=True))
    other = lent_read(bench, 2)
    bench.work(on_free(2, other, cached=True), read(3, 5, 1, pbuf), on_free(3, pbuf, cached=True))
    bench.work(read(4, 0, 1), on_free(4, 0, cached=True))  # its buffer was not accepted
    bench.work(alloc(8, 1), on_free(8, 0, cached=False))  # aborted before EXEC
    bench.work(remap(0, 4, 1), remap(1, 5, 1), on_free(5, 0, cached=False))
    bench.work(task_management(6, fn=0, cmd_h_to_abort=77),
               command(7, Subcode.TASK_MGMT_DONE, "tm_cmd", sess_h=1, fn=0))
    bench.work(cached_free(1, pbuf), cached_free(2, other))


def test_a_kernel_that_keeps_the_rules(bench: Bench) -> None:
    bench.hold("EXEC", 1)
    bench.work(read(50, 0, 1))
    carry_on(bench)
    bench.device.release()
    bench.work(on_free(50, 0, cached=True))
    bench.work(detach(200), attach(201), read(202, 0, 1), detach(203))
    bench.device.forget()
    events = bench.events()
    assert not [event for event in events if event["kind"] == "breach"]
    assert [event["entries"] for event in events if event["kind"] == "watched"] == [1, 10, 25]


@pytest.mark.parametrize("parse_type", [ParseType.CALL, ParseType.EXCEPTION])
@pytest.mark.parametrize("reuse", [MemoryReuseType.NONE, MemoryReuseType.ALL])
def test_options_under_which_it_keeps_the_rules(
    with_options: Callable[..., Bench], parse_type: ParseType, reuse: MemoryReuseType,
) -> None:
    bench = with_options(on_free_cmd_type=OnFreeCmdType.IGNORE, parse_type=parse_type,
                         memory_reuse_type=reuse)
    for handle in range(1, 9):
        bench.work(parse(handle), read(handle, 0, 1))
    assert breaches(bench) == []


def again(handle: int) -> Steps:
    """Hold a READ, and send it once more."""
    def steps(bench: Bench) -> None:
        bench.hold("EXEC", 1)
        bench.work(read(handle, 0, 1), read(handle, 0, 1))
    return steps


def function_twice(bench: Bench) -> None:
    bench.hold("TASK_MGMT_RECEIVED", 1)
    bench.work(task_management(1), task_management(1))


def freed_while_held(bench: Bench) -> None:
    bench.hold("EXEC", 1)
    bench.work(read(1, 0, 1), on_free(1, 0, cached=False))


def in_use(bench: Bench) -> None:
    bench.work(read(2, 0, 1, lent_read(bench, 1)))


def freed_in_use(bench: Bench) -> None:
    bench.work(cached_free(1, lent_read(bench, 1)))


def other_buffer(bench: Bench) -> None:
    lent_read(bench, 1)
    bench.work(on_free(1, lent_read(bench, 2), cached=True))


def unknown_buffer(bench: Bench) -> None:
    bench.work(read(1, 0, 1, 0x1000))


def second_session(bench: Bench) -> None:
    bench.work(read(1, 0, 1), attach(101), read(2, 0, 1))


def executed(member: str, **values: Any) -> Steps:
    """Send a READ with changed fields."""
    return lambda bench: bench.work(set_to(read(1, 3, 2), member, **values))


def sent(*commands: abi.GetCmd) -> Steps:
    return lambda bench: bench.work(*commands)


BROKEN: dict[str, tuple[Steps, tuple[str, int, str]]] = {
    "given out twice": (again(1), ("handle-twice", 1, "EXEC")),
    "a function twice": (function_twice, ("handle-twice", 1, "TASK_MGMT_RECEIVED")),
    "after its ON_FREE_CMD": (
        sent(read(1, 0, 1), on_free(1, 0, cached=False), read(1, 0, 1)),
        ("handle-twice", 1, "EXEC")),
    "freed before the answer": (freed_while_held, ("order", 1, "ON_FREE_CMD")),
    "ALLOC_MEM after EXEC": (sent(read(1, 0, 1), alloc(1, 1)), ("order", 1, "ALLOC_MEM")),
    "PARSE without being wanted": (sent(parse(1)), ("order", 1, "PARSE")),
    "ON_FREE_CMD of nothing": (sent(on_free(9, 0, cached=False)),
                               ("handle-unknown", 9, "ON_FREE_CMD")),
    "unknown session": (sent(set_to(read(1, 0, 1), "exec_cmd", sess_h=5)),
                        ("session-unknown", 1, "EXEC")),
    "function of an unknown session": (sent(task_management(1, sess_h=5)),
                                       ("session-unknown", 1, "TASK_MGMT_RECEIVED")),
    "remap of an unknown session": (sent(set_to(remap(0, 1, 1), "remap_cmd", sess_h=5)),
                                    ("session-unknown", 5, "EXT_COPY_REMAP")),
    "DETACH_SESS of an unknown session": (sent(detach(1, 5)),
                                          ("session-unknown", 1, "DETACH_SESS")),
    "after DETACH_SESS": (sent(detach(101), read(102, 0, 1)), ("session-unknown", 102, "EXEC")),
    "session twice": (second_session, ("session-twice", 101, "ATTACH_SESS")),
    "session 0": (sent(attach(1, 0)), ("field-value", 1, "ATTACH_SESS")),
    "no name": (sent(attach(1, 7, target_name=b"")), ("field-value", 1, "ATTACH_SESS")),
    "unknown buffer": (unknown_buffer, ("buffer-unknown", 1, "EXEC")),
    "unknown buffer freed": (sent(cached_free(1, 0x1000)),
                             ("buffer-unknown", 1, "ON_CACHED_MEM_FREE")),
    "unknown buffer at the end": (sent(read(1, 9999, 1), on_free(1, 0x1000, cached=False)),
                                  ("buffer-unknown", 1, "ON_FREE_CMD")),
    "buffer in use": (in_use, ("buffer-in-use", 2, "EXEC")),
    "buffer in use freed": (freed_in_use, ("buffer-in-use", 1, "ON_CACHED_MEM_FREE")),
    "buffer of another": (other_buffer, ("buffer-other", 1, "ON_FREE_CMD")),
    "WRITE without buffer": (sent(write(1, 0, 1, 0)), ("buffer-missing", 1, "EXEC")),
    "alloc_len of ALLOC_MEM": (sent(set_to(alloc(1, 1), "alloc_cmd", alloc_len=0)),
                               ("field-value", 1, "ALLOC_MEM")),
    "alloc_len": (executed("exec_cmd", alloc_len=512), ("field-value", 1, "EXEC")),
    "queue_type": (executed("exec_cmd", queue_type=5), ("field-value", 1, "EXEC")),
    "data_direction": (executed("exec_cmd", data_direction=0), ("field-value", 1, "EXEC")),
    "cdb_len": (executed("exec_cmd", cdb_len=0), ("field-value", 1, "EXEC")),
    "lba": (executed("exec_cmd", lba=4), ("field-value", 1, "EXEC")),
    "data_len": (executed("exec_cmd", data_len=BLOCK), ("field-value", 1, "EXEC")),
    "bufflen": (executed("exec_cmd", bufflen=-1), ("field-value", 1, "EXEC")),
    "no bufflen": (executed("exec_cmd", bufflen=0), ("field-value", 1, "EXEC")),
    "partial": (executed("exec_cmd", partial=1), ("field-value", 1, "EXEC")),
    "fn": (sent(task_management(1, fn=99)), ("field-value", 1, "TASK_MGMT_RECEIVED")),
    "cmd_sn_set": (sent(task_management(1, cmd_sn_set=2)),
                   ("field-value", 1, "TASK_MGMT_RECEIVED")),
    "status": (sent(read(1, 9999, 1), set_to(on_free(1, 0, cached=False), "on_free_cmd", status=1)),
               ("field-value", 1, "ON_FREE_CMD")),
    "delivery_status": (sent(read(1, 9999, 1), set_to(
        on_free(1, 0, cached=False), "on_free_cmd", delivery_status=3)),
        ("field-value", 1, "ON_FREE_CMD")),
    "another CDB": (sent(alloc(1, 1), set_to(alloc(1, 2), "alloc_cmd", alloc_len=BLOCK)),
                    ("order", 1, "ALLOC_MEM")),
    "subcode": (sent(abi.GetCmd(cmd_h=1, subcode=0x1234)), ("subcode-unknown", 1, "")),
}


@pytest.mark.parametrize(("steps", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_kernel_that_breaks_a_rule(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, steps: Steps, expected: tuple[str, int, str],
) -> None:
    monkeypatch.setattr(rules, "LATE", -1.0)
    with suppress(*UNANSWERABLE):
        steps(bench)
    bench.kernel.staged.clear()
    assert breaches(bench)[0] == expected


@pytest.mark.parametrize(("lba", "changed", "seen", "allowed"), [
    (0, {"sess_h": 2}, "sess_h 0x2", "0x1, as"), (0, {"sn": 7}, "sn 0x7", "0x0, as"),
    (9, {}, "cdb 2a 00 00 00 00 09 00 00 01 00", "2a 00 00 00 00 00 00 00 01 00, as")])
def test_a_field_that_changes(
    bench: Bench, lba: int, changed: dict[str, int], seen: str, allowed: str,
) -> None:
    bench.work(attach(101, 2))
    pbuf = bench.work(alloc(1, 1))[0].alloc_reply.pbuf
    bench.work(set_to(write(1, lba, 1, pbuf), "exec_cmd", **changed))
    event, = bench.events("breach")
    assert (event["rule"], event["point"], event["seen"]) == ("field-changed", "EXEC", seen)
    assert event["allowed"].startswith(allowed)


EXPECTED_OPTIONS = {
    "EXEC without PARSE": (
        {"parse_type": ParseType.CALL}, sent(read(1, 0, 1)), ("order", 1, "EXEC")),
    "ON_FREE_CMD without being wanted": (
        {"on_free_cmd_type": OnFreeCmdType.IGNORE}, sent(read(1, 0, 1), on_free(
            1, 0, cached=False)), ("handle-twice", 1, "ON_FREE_CMD")),
    "after EXEC's answer": (
        {"on_free_cmd_type": OnFreeCmdType.IGNORE}, sent(read(1, 0, 1), read(1, 0, 1)),
        ("handle-twice", 1, "EXEC")),
}


@pytest.mark.parametrize(
    ("options", "steps", "expected"), EXPECTED_OPTIONS.values(), ids=EXPECTED_OPTIONS)
def test_a_kernel_that_forgets_its_options(
    with_options: Callable[..., Bench], options: dict[str, Any], steps: Steps,
    expected: tuple[str, int, str],
) -> None:
    bench = with_options(**options)
    steps(bench)
    assert breaches(bench)[0] == expected


def test_a_late_detach_is_no_second_session(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.work(read(1, 0, 1), attach(102), detach(101))  # another thread passed 101 on later
    monkeypatch.setattr(rules, "LATE", -1.0)
    bench.work(read(2, 0, 1), detach(103))
    assert breaches(bench) == []


# output fields


FIELDS = {f"{Subcode(subcode).name}-{field.name}": (Subcode(subcode), field)
          for subcode, fields in PAYLOADS.items() for field in fields}


@pytest.mark.parametrize(("subcode", "field"), FIELDS.values(), ids=FIELDS)
def test_an_output_field_that_is_not_written(
    bench: Bench, subcode: Subcode, field: Output,
) -> None:
    bench.kernel.copy = lambda made, before: made[:field.start] + before[
        field.start:field.stop] + made[field.stop:]
    with suppress(*UNANSWERABLE):
        bench.work(command(1, subcode))
    bench.kernel.staged.clear()
    found = [event["seen"] for event in bench.events("breach")
             if event["rule"] == "field-unwritten" and event["point"] == subcode.name]
    if field.start > BODY or bench.getter.multi:  # else it is the input preply, here 0
        assert found == [f"{field.name} of {subcode.name} had the value from before the call"]


def test_the_first_field_is_also_an_input(bench: Bench) -> None:
    bench.kernel.copy = lambda made, before: before[:0] + made[:BODY] + before[BODY:BODY + 8] \
        + made[BODY + 8:] if made[0] == 2 else made
    bench.work(read(1, 0, 1), read(2, 0, 1))
    assert ("field-unwritten", 2, "EXEC") in breaches(bench)


def test_a_copy_that_is_too_short(bench: Bench) -> None:
    bench.kernel.copy = lambda made, before: made[:BODY + abi.CmdExec.timeout.offset] + before[
        BODY + abi.CmdExec.timeout.offset:]
    bench.work(read(1, 0, 1))
    event, *_ = bench.events("breach")
    assert event["seen"].startswith("sn, out_bufflen, timeout of EXEC had the value")


def test_bytes_that_look_like_poison(bench: Bench) -> None:
    odd = set_to(read(1, 0xA5, 1), "exec_cmd", sn=0xA5)
    bench.work(odd)
    assert breaches(bench) == []


@pytest.mark.parametrize(("counts", "rule"), [
    (lambda done, fetched: (SHORT, fetched), "field-unwritten"),
    (lambda done, fetched: (done + 1, fetched), "field-value"),
    (lambda done, fetched: (done, 99), "field-value"),
])
def test_the_numbers_of_multi(
    tmp_path: Path, counts: Callable[[int, int], tuple[int, int]], rule: str,
) -> None:
    bench = Bench(tmp_path, multi=True)
    bench.kernel.counts = counts
    bench.work(attach())
    assert breaches(bench)[0] == (rule, None, "REPLY_AND_GET_MULTI")
    bench.kernel.counts = lambda done, fetched: (done, fetched)
    bench.close()


def test_the_numbers_of_multi_after_a_refusal(tmp_path: Path) -> None:
    bench = Bench(tmp_path, multi=True)
    bench.work(attach())
    bench.kernel.refuse[2] = errno.EINVAL
    bench.work(*(read(handle, handle, 1) for handle in range(1, 6)))
    assert breaches(bench) == []
    bench.close()


def test_a_long_cdb_that_is_not_written(bench: Bench) -> None:
    long = command(9, Subcode.EXEC, "exec_cmd", cdb=bytes([0x7F]), data_direction=NONE, sess_h=1)
    long.exec_cmd.cdb_len = 32
    bench.work(long)
    assert breaches(bench) == [("field-unwritten", 9, "GET_EXTENDED_CDB")]


def test_options_that_are_not_written_or_not_as_set(bench: Bench) -> None:
    options = abi.Opt(memory_reuse_type=3, queue_alg=1)
    bench.device.rules.options(options)
    assert breaches(bench) == []
    bench.device.rules.options(abi.Opt(memory_reuse_type=3, queue_alg=1, qerr=POISON, tas=1))
    first, second = bench.events("breach")
    assert (first["rule"], first["seen"].split()[0]) == ("field-unwritten", "qerr")
    assert (second["rule"], second["seen"], second["allowed"]) == (
        "field-value", "tas 1", "0, as it was set")


def test_a_handle_for_a_preallocated_buffer(bench: Bench) -> None:
    bench.hold("EXEC", 1)
    bench.work(read(7, 0, 1))
    bench.device.rules.preallocated(8, 0x7F0000001000)
    assert breaches(bench) == []
    bench.device.rules.preallocated(0x1000, 0x7F0000001000)
    bench.device.rules.preallocated(7, 0x7F0000001000)
    assert breaches(bench) == [("field-unwritten", 0x1000, "PREALLOC_BUFFER"),
                               ("handle-twice", 7, "PREALLOC_BUFFER")]


# the test's own wrong answers, and commands that are not observed


def test_what_follows_from_a_wrong_answer_is_provoked(bench: Bench) -> None:
    bench.hold("EXEC", 2)
    bench.work(read(1, 0, 1), read(2, 0, 1))
    bench.device.answer(1, {}, 2, 1)  # for the other command
    bench.work(on_free(2, 0, cached=False), on_free(1, 0, cached=False))
    assert [(event["handle"], event["provoked"]) for event in bench.events("breach")] == [
        (2, True), (1, True)]


def test_a_buffer_of_a_wrong_answer_is_provoked(bench: Bench) -> None:
    bench.hold("EXEC", 1)
    bench.work(read(1, 0, 1))
    bench.device.answer(1, {"pbuf": 0x10000}, None, 1)
    bench.work(on_free(1, 0x10000, cached=True), cached_free(3, 0x10000))
    assert breaches(bench) == []


def test_a_duplicate_completion_is_provoked(bench: Bench) -> None:
    bench.device.misbehave(how="twice", count=1)
    bench.work(read(1, 0, 1), read(1, 0, 1))
    assert breaches(bench) == []
    assert bench.events("lied") == []


def test_commands_that_pass_unobserved(bench: Bench) -> None:
    kept = lent_read(bench, 1)
    bench.steps(False)
    bench.work(on_free(1, kept, cached=True), read(2, 0, 1, kept), attach(3, 9))
    bench.steps(True)
    bench.work(on_free(2, kept, cached=True), read(4, 0, 1, kept),
               set_to(read(5, 0, 1), "exec_cmd", sess_h=9))
    assert breaches(bench) == []


def test_options_that_change_leave_the_order_open(bench: Bench) -> None:
    bench.device.use({**bench.device.rules._options, "parse_type": ParseType.CALL})
    bench.work(read(1, 0, 1), parse(2), read(2, 0, 1))
    assert breaches(bench) == []


def test_a_kernel_that_breaks_a_rule_always(bench: Bench) -> None:
    bench.steps(False)
    bench.hold("PARSE", 1)  # so commands are observed, without an event for each step
    for handle in range(1, 200):
        bench.work(set_to(read(handle, 0, 1), "exec_cmd", sess_h=5),
                   on_free(handle, 0, cached=False))
    found = bench.events()
    assert sum(event["kind"] == "breach" for event in found) == witness_guest.MOST
    *_, last = (event["rules"] for event in found if event["kind"] == "breaches")
    assert last == {"session-unknown": 160}
