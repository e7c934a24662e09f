# SPDX-License-Identifier: GPL-2.0-or-later
"""libiscsi from Python, against tgtd on loopback; a relay changes PDUs where tgtd would not."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from types import FrameType

import pytest

from fixtures.initiator.libiscsi.abi import (
    HeaderDigest,
    ScsiStatus,
    TaskMgmtFunc,
    TaskMgmtResponse,
)
from fixtures.initiator.libiscsi.errors import LoginFailedError, SessionLostError
from fixtures.initiator.libiscsi.ledger_guest import Command, Ending, Request, TaskManagement
from fixtures.initiator.libiscsi.session_guest import Login, Session, wait
from fixtures.machine.initramfs import guest_code
from suites.selftest.test_agent import PROJECT
from suites.selftest.tgtd import BLOCK, LUN, SIZE, SOON, Tgtd, running_tgtd
from suites.selftest.wire import (
    ASYNC_MESSAGE,
    DATA_IN,
    DATA_OUT,
    LOGIN,
    LOGIN_RESPONSE,
    LOGOUT,
    R2T,
    REJECT,
    SCSI_COMMAND,
    SCSI_RESPONSE,
    TASK_MANAGEMENT,
    TASK_MANAGEMENT_RESPONSE,
    Relay,
    Way,
    opcode,
    text,
)

TUR = Request(bytes(6), lun=LUN)
"""TEST UNIT READY (SPC-4 6.47)."""

pytestmark = pytest.mark.filterwarnings("error")


def read(block: int, blocks: int = 8, *, room: int | None = None) -> Request:
    """Return a READ(10). ``room``: bytes of its buffer, by default those of its blocks."""
    return Request(struct.pack(">BxIxHx", 0x28, block, blocks),
                   blocks * BLOCK if room is None else room, b"", LUN)


def write(block: int, data: bytes, *, blocks: int | None = None) -> Request:
    """Return a WRITE(16). ``blocks``: its transfer length, by default that of its data."""
    count = len(data) // BLOCK if blocks is None else blocks
    return Request(struct.pack(">BxQIxx", 0x8A, block, count), 0, data, LUN)


def login(session: Session) -> None:
    """Take the unit attention of a new session."""
    done(session, TUR)


def done(session: Session, request: Request) -> Command:
    """Issue a command and return it when it has ended."""
    command = session.issue(request)
    assert session.wait([command], SOON)
    return command


def managed(session: Session, function: TaskMgmtFunc, command: Command | None = None
            ) -> TaskManagement:
    """Request a task management function and return it when it has ended."""
    each = session.manage(function, lun=LUN, command=command)
    assert session.wait([each], SOON)
    return each


def balanced(session: Session) -> bool:
    """Return whether a session's ledger is consistent and no command is left open."""
    return (session.ledger.pending == len(session.pending) == 0 and not session.ledger.faults
            and not session.open)


def until(reached: Callable[[], bool]) -> None:
    """Wait until a condition of another process or thread holds."""
    deadline = time.monotonic() + SOON
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def accept_and_close(server: socket.socket) -> None:
    """Close the first incoming connection."""
    server.accept()[0].close()


def descriptors() -> int:
    """Return the number of this process's open descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


def rss() -> int:
    """Return this process's resident bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def shared() -> Iterator[Tgtd]:
    """Provide a tgtd for all tests, which leave its state unchanged."""
    with running_tgtd() as running:
        yield running


@pytest.fixture
def tgtd() -> Iterator[Tgtd]:
    """Provide a tgtd of the test's own."""
    with running_tgtd() as running:
        yield running


@pytest.fixture
def session(shared: Tgtd) -> Iterator[Session]:
    """Provide a session; check at the end that each command has ended exactly once."""
    with Session(Login(shared.portal, shared.iqn), SOON) as opened:
        login(opened)
        yield opened
    assert balanced(opened)


@pytest.fixture
def relay(shared: Tgtd) -> Iterator[Relay]:
    """Provide an editable relay to the shared target."""
    with Relay(shared.portal) as running:
        yield running


@pytest.fixture
def wired(shared: Tgtd, relay: Relay) -> Iterator[Session]:
    """Provide a session over the relay."""
    with Session(Login(relay.portal, shared.iqn), SOON) as opened:
        login(opened)
        yield opened


# --- commands -------------------------------------------------------------------------------------

def test_data_come_back(session: Session) -> None:
    data = os.urandom(64 * BLOCK)
    before = time.monotonic_ns()
    written = done(session, write(128, data))
    got = done(session, read(128, 64))
    assert (written.status, got.status, got.data) == (0, 0, data)
    assert got.ended is not None
    assert before < written.issued < got.issued < got.ended < time.monotonic_ns()
    assert 0 < (got.seconds or 0) < SOON
    assert (got.underflow, got.overflow, got.sense) == (0, 0, b"")


def test_a_check_condition(session: Session) -> None:
    command = done(session, Request(b"\xff" + bytes(5), lun=LUN))
    assert command.ending is Ending.ANSWERED
    assert command.status == ScsiStatus.CHECK_CONDITION
    assert command.triple == {"key": 5, "asc": 0x20, "ascq": 0}
    assert command.sense[0] == 0x70
    out_of_range = done(session, read(SIZE // BLOCK))
    assert out_of_range.triple == {"key": 5, "asc": 0x21, "ascq": 0}


@pytest.mark.parametrize("length", [1, 6, 7, 10, 12, 16])
def test_a_cdb_of_any_length(wired: Session, relay: Relay, length: int) -> None:
    cdb = (b"\xc1" + bytes(range(1, 16)))[:length]
    assert done(wired, Request(cdb, lun=LUN)).status == ScsiStatus.CHECK_CONDITION
    assert relay.sent(Way.INITIATOR, SCSI_COMMAND)[-1][32:48] == cdb.ljust(16, b"\0")


@pytest.mark.parametrize("request_", [
    Request(b""), Request(bytes(17)), Request(bytes(6), read=8, write=b"data")])
def test_what_the_library_has_not(session: Session, request_: Request) -> None:
    with pytest.raises(ValueError, match="1 to 16 bytes, data one way"):
        session.issue(request_)


@pytest.mark.parametrize(("request_", "underflow", "overflow"), [
    (Request(bytes.fromhex("12000000ff00"), 255, b"", LUN), 255 - 66, 0),
    (read(0, 8, room=16 * BLOCK), 8 * BLOCK, 0),
    (read(0, 8, room=2 * BLOCK), 0, 6 * BLOCK),
    (write(0, bytes(4 * BLOCK), blocks=2), 2 * BLOCK, 0),
], ids=["inquiry", "room to spare", "no room", "too much"])
def test_residuals(session: Session, request_: Request, underflow: int, overflow: int) -> None:
    command = done(session, request_)
    assert (command.status, command.underflow, command.overflow) == (0, underflow, overflow)
    assert len(command.data) == max(0, request_.read - underflow)


def test_hundreds_in_flight(session: Session) -> None:
    blocks = [os.urandom(BLOCK) for _ in range(600)]
    most = 0
    got: dict[bytes, bytes] = {}

    def ended(command: Command) -> None:
        nonlocal most
        most = max(most, len(session.pending))
        got[command.request.cdb] = command.data

    assert session.drive((write(n, block) for n, block in enumerate(blocks)), 300, SOON)
    requests = [read(n, 1) for n in range(len(blocks))]
    assert session.drive(requests, 300, SOON, ended)
    assert [got[request.cdb] for request in requests] == blocks
    assert most > 200
    assert session.ledger.statuses == {0: 1200, 2: 1}


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_drive_ends_with_its_last_command(session: Session, depth: int) -> None:
    began = time.monotonic()
    assert session.drive([read(n) for n in range(3)], depth, SOON)
    assert session.drive([], depth, SOON)
    assert time.monotonic() - began < SOON / 2


def test_more_than_there_is_time_for(shared: Tgtd, session: Session) -> None:
    with shared.io_held():
        assert not session.drive(repeat(read(0), 8), 4, 0.1)
        assert [len(session.pending), session.ledger.pending] == [4, 4]
    assert session.wait(session.pending, SOON)


# --- task management ------------------------------------------------------------------------------

IN_TGT = {
    TaskMgmtFunc.ABORT_TASK: TaskMgmtResponse.TASK_DOES_NOT_EXIST,
    TaskMgmtFunc.ABORT_TASK_SET: TaskMgmtResponse.FUNC_COMPLETE,
    TaskMgmtFunc.CLEAR_ACA: TaskMgmtResponse.TMF_NOT_SUPPORTED,
    TaskMgmtFunc.CLEAR_TASK_SET: TaskMgmtResponse.TMF_NOT_SUPPORTED,
    TaskMgmtFunc.LUN_RESET: TaskMgmtResponse.FUNC_COMPLETE,
    TaskMgmtFunc.TARGET_WARM_RESET: TaskMgmtResponse.TMF_NOT_SUPPORTED,
    TaskMgmtFunc.TARGET_COLD_RESET: TaskMgmtResponse.TMF_NOT_SUPPORTED,
}
"""Responses of tgt 1.0.85 for commands in EXEC: it completes them first, so no task is left."""


def ask(session: Session, function: TaskMgmtFunc, command: Command) -> TaskManagement:
    """Request a function that is meant to end a command."""
    if function is TaskMgmtFunc.ABORT_TASK:
        return session.manage(function, command=command)
    return session.manage(function, lun=LUN)


@pytest.mark.parametrize("function", TaskMgmtFunc)
def test_what_tgt_answers(shared: Tgtd, session: Session, function: TaskMgmtFunc) -> None:
    with shared.io_held():
        commands = [session.issue(read(n)) for n in range(4)]
        requested = ask(session, function, commands[1])
        waits = IN_TGT[function] is not TaskMgmtResponse.TMF_NOT_SUPPORTED
        assert session.wait([requested], 0.1) is not waits
    assert session.wait([requested, *commands], SOON)
    assert (requested.ending, requested.response) == (Ending.ANSWERED, IN_TGT[function])
    assert {command.ending for command in commands} == {Ending.ANSWERED}
    assert requested.seconds is not None


@pytest.mark.parametrize("function", [
    each for each in TaskMgmtFunc if each is not TaskMgmtFunc.CLEAR_ACA])
def test_what_a_function_ends(wired: Session, relay: Relay, function: TaskMgmtFunc) -> None:
    """The relay holds the responses to four commands back and answers FUNCTION COMPLETE."""
    kept: list[bytes] = []

    def edit(way: Way, pdu: bytes) -> list[bytes]:
        if way is Way.TARGET and opcode(pdu) == DATA_IN and len(kept) < 4:
            kept.append(pdu)
            return []
        if opcode(pdu) == TASK_MANAGEMENT_RESPONSE:
            return [pdu[:2] + b"\0" + pdu[3:]]
        return [pdu]

    relay.edit = edit
    commands = [wired.issue(read(n)) for n in range(4)]
    until(lambda: len(kept) == 4)
    requested = ask(wired, function, commands[1])
    later = wired.issue(read(9))
    assert wired.wait([requested, later], SOON)
    ended = [commands[1]] if function is TaskMgmtFunc.ABORT_TASK else commands
    assert [command.ending for command in commands] == [
        Ending.ABORTED if command in ended else None for command in commands]
    assert {command.ended for command in ended} == {requested.ended}
    assert later.ending is Ending.ANSWERED
    # An aborted command that is answered afterwards has ended twice.
    relay.edit = lambda way, pdu: [*kept, pdu] if way is Way.TARGET else [pdu]
    done(wired, TUR)
    assert len(wired.ledger.faults) == len(ended)
    assert wired.ledger.faults[0] == f"{ended[0]} was aborted, and then answered with status 0x0"
    assert (wired.ledger.pending, wired.pending) == (0, [])


def test_abort_task_needs_a_command(session: Session) -> None:
    with pytest.raises(ValueError, match="ABORT TASK alone is of a command"):
        session.manage(TaskMgmtFunc.ABORT_TASK)


# --- login and logout -----------------------------------------------------------------------------

@pytest.mark.parametrize("digest", HeaderDigest)
def test_header_digests(tgtd: Tgtd, digest: HeaderDigest) -> None:
    """The relay checks the digest of every header once header digests are negotiated."""
    tgtd.update("HeaderDigest", "CRC32C,None")
    with (Relay(tgtd.portal) as relay,
          Session(Login(relay.portal, tgtd.iqn, header_digest=digest), SOON) as session):
        login(session)
        data = os.urandom(256 * BLOCK)
        assert done(session, write(0, data)).status == 0
        assert done(session, read(0, 256)).data == data
    offered = text(relay.sent(Way.INITIATOR, LOGIN)[0])["HeaderDigest"]
    agreed = text(relay.sent(Way.TARGET, LOGIN_RESPONSE)[-1])["HeaderDigest"]
    assert offered == digest.name.replace("NONE", "None").replace("_", ",")
    assert agreed in offered.split(",")  # tgt uses its own preference, not the initiator's
    assert balanced(session)


@pytest.mark.parametrize("immediate_data", [True, False])
@pytest.mark.parametrize("initial_r2t", [True, False])
def test_how_data_go_out(tgtd: Tgtd, immediate_data: bool, initial_r2t: bool) -> None:
    """RFC 7143 13.10 and 13.11: data with the command, unsolicited, or solicited by R2T."""
    tgtd.update("InitialR2T", "No")
    with (Relay(tgtd.portal) as relay,
          Session(Login(relay.portal, tgtd.iqn, immediate_data=immediate_data,
                        initial_r2t=initial_r2t), SOON) as session):
        login(session)
        data = os.urandom(256 * BLOCK)
        assert done(session, write(0, data)).status == 0
        assert done(session, read(0, 256)).data == data
    command = relay.sent(Way.INITIATOR, SCSI_COMMAND)[1]
    data_out = relay.sent(Way.INITIATOR, DATA_OUT)
    unsolicited = [pdu for pdu in data_out if pdu[20:24] == b"\xff" * 4]
    assert bool(int.from_bytes(command[5:8])) is immediate_data
    assert bool(unsolicited) is not initial_r2t
    assert relay.sent(Way.TARGET, R2T)
    assert balanced(session)


def test_two_sessions(shared: Tgtd) -> None:
    address = Login(shared.portal, shared.iqn)
    with Session(address, SOON) as one, Session(address, SOON) as other:
        assert shared.sessions() == 2
        assert one.isid != other.isid
        assert not os.get_inheritable(one.fileno())
        commands = [session.issue(TUR) for session in (one, other) for _ in range(20)]
        assert wait((one, other), lambda: all(command.ending for command in commands), SOON)
        assert one.ledger == other.ledger
    assert balanced(one)
    assert balanced(other)
    assert shared.sessions() == 0


def test_reinstatement(shared: Tgtd, wired: Session, relay: Relay) -> None:
    """RFC 7143 6.3.5: a login with the same ISID ends the existing session.

    tgt does so for logins through the security negotiation stage (login_security_done, iscsid.c),
    when the session's commands have ended: here the relay holds their responses back.
    """
    relay.edit = lambda way, pdu: [] if opcode(pdu) == DATA_IN else [pdu]
    commands = [wired.issue(read(n)) for n in range(8)]
    address = Login(shared.portal, shared.iqn, isid=wired.isid, user="nobody", password="asks")
    with Session(address, SOON) as newer:
        began = time.monotonic()
        assert wired.wait(commands, SOON)
        assert time.monotonic() - began < 1
        assert (wired.open, newer.open, shared.sessions()) == (False, True, 1)
        login(newer)
    assert {command.ending for command in commands} == {Ending.LOST}
    assert balanced(wired)


@pytest.mark.parametrize(("password", "status"), [("right-password", None), ("wrong", 0x0201)])
def test_chap(tgtd: Tgtd, password: str, status: int | None) -> None:
    tgtd.admin("--mode", "account", "--op", "new", "--user", "someone",
               "--password", "right-password")
    tgtd.admin("--mode", "account", "--op", "bind", "--tid", "1", "--user", "someone")
    address = Login(tgtd.portal, tgtd.iqn, user="someone", password=password)
    if status is None:
        with Session(address, SOON) as session:
            login(session)
        assert balanced(session)
        return
    with pytest.raises(LoginFailedError, match="Authentication failure") as refused:
        Session(address, SOON)
    assert refused.value.status == status


@pytest.mark.parametrize(("place", "target", "words", "status"), [
    ("shared", "iqn.2026-11.faults.stf:none", r"does not let .* in to .*: .*not found", 0x0203),
    ("closed", "iqn.x", r"^127.0.0.1:\d+ cannot be reached: .*Connection refused", None),
    ("silent", "iqn.x", r"^127.0.0.1:\d+ does not let .*: no answer in time$", None),
    ("hangs up", "iqn.x", r"^127.0.0.1:\d+ .*: the target closed the connection$", None),
    ("nonsense", "iqn.x", r"^300.0.0.1:1 cannot be reached: ", None),
])
def test_no_session(
    shared: Tgtd, place: str, target: str, words: str, status: int | None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        portal = f"127.0.0.1:{server.getsockname()[1]}"
        portals = {"shared": shared.portal, "nonsense": "300.0.0.1:1"}
        if place == "closed":
            server.close()
        elif place == "hangs up":
            threading.Thread(target=accept_and_close, args=(server,)).start()
        before, began = descriptors(), time.monotonic()
        with pytest.raises(LoginFailedError, match=words) as refused:
            Session(Login(portals.get(place, portal), target), 0.5)
        assert time.monotonic() - began < 1.5
        assert refused.value.status == status
        assert "\n" not in str(refused.value)
        assert descriptors() == before


def test_a_logout_that_is_not_answered(tgtd: Tgtd) -> None:
    before = descriptors()
    session = Session(Login(tgtd.portal, tgtd.iqn), SOON)
    tgtd.process.send_signal(signal.SIGSTOP)
    command = session.issue(TUR)
    began = time.monotonic()
    assert not session.close(0.3)
    assert 0.3 <= time.monotonic() - began < 1
    assert (command.ending, command.seconds is not None) == (Ending.UNANSWERED, True)
    assert balanced(session)
    assert descriptors() == before
    tgtd.process.send_signal(signal.SIGCONT)
    until(lambda: tgtd.sessions() == 0)


def test_a_logout_with_commands_in_flight(shared: Tgtd) -> None:
    with shared.io_held():
        with Session(Login(shared.portal, shared.iqn), 0.3) as session:
            login(session)
            commands = [session.issue(read(n)) for n in range(8)]
        assert {command.ending for command in commands} == {Ending.UNANSWERED}
    assert balanced(session)
    session.close(SOON)
    with pytest.raises(SessionLostError, match=r"^the session has been closed$"):
        session.issue(TUR)


def test_cut_while_it_logs_out(wired: Session, relay: Relay) -> None:
    def edit(way: Way, pdu: bytes) -> list[bytes]:
        if opcode(pdu) == LOGOUT:
            relay.cut()
        return [] if opcode(pdu) == DATA_IN else [pdu]

    relay.edit = edit
    commands = [wired.issue(read(n)) for n in range(8)]
    began = time.monotonic()
    assert not wired.close(SOON)
    assert time.monotonic() - began < 1
    assert {command.ending for command in commands} == {Ending.LOST}
    assert balanced(wired)


# --- errors ---------------------------------------------------------------------------------------

def test_the_target_is_killed(tgtd: Tgtd) -> None:
    before = descriptors()
    with Session(Login(tgtd.portal, tgtd.iqn), SOON) as session:
        login(session)
        with tgtd.io_held():
            commands = [session.issue(read(n)) for n in range(300)]
            requested = session.manage(TaskMgmtFunc.LUN_RESET, lun=LUN)
            tgtd.process.kill()
            began = time.monotonic()
            assert session.wait([requested, *commands], SOON)
            assert time.monotonic() - began < 1
        assert {requested.ending, *(command.ending for command in commands)} == {Ending.LOST}
        assert session.lost
        with pytest.raises(SessionLostError):
            session.issue(TUR)
    assert balanced(session)
    assert descriptors() == before


def test_cut_while_it_is_driven(wired: Session, relay: Relay) -> None:
    ended: list[Command] = []

    def see(command: Command) -> None:
        ended.append(command)
        if len(ended) == 500:
            relay.cut()

    assert not wired.drive(repeat(read(0)), 64, SOON, see)
    assert len(ended) == len({id(command) for command in ended}) == wired.ledger.issued - 1
    assert [command.ending for command in ended].count(Ending.LOST) > 0
    assert balanced(wired)


def test_cut_while_data_go_out(wired: Session, relay: Relay) -> None:
    def edit(way: Way, pdu: bytes) -> list[bytes]:
        if opcode(pdu) == R2T:
            relay.cut()
        return [pdu]

    relay.edit = edit
    requests = [write(n, bytes(1 << 20)) for n in range(16)]
    wired.drive(requests, len(requests), SOON)
    assert wired.ledger.endings == {Ending.LOST: 16}
    assert balanced(wired)


def test_answered_before_its_data_were_sent(wired: Session, relay: Relay) -> None:
    """A target may end a WRITE, here with BUSY, while its solicited data are in flight."""
    def edit(way: Way, pdu: bytes) -> list[bytes]:
        if opcode(pdu) != R2T:
            return [pdu]
        answer = bytes([SCSI_RESPONSE, 0x80, 0, ScsiStatus.BUSY]) + bytes(12) + pdu[16:20]
        return [pdu, answer + bytes(4) + pdu[24:36] + bytes(12)]

    relay.edit = edit
    commands = [wired.issue(write(n * 512, os.urandom(256 << 10))) for n in range(32)]
    assert wired.wait(commands, SOON)
    assert {command.status for command in commands} == {ScsiStatus.BUSY}
    relay.edit = lambda way, pdu: [pdu]
    assert done(wired, read(0)).status == 0
    assert wired.close(SOON)
    assert balanced(wired)


def reject(request: bytes, response: bytes) -> bytes:
    """Return a Reject of a request (RFC 7143 11.17), in place of its response."""
    head = bytes([REJECT, 0x80, 4, 0, 0, 0, 0, 48]) + bytes(8) + b"\xff" * 4 + bytes(4)
    return head + response[24:36] + bytes(12) + request[:48]


def test_a_command_that_is_rejected(wired: Session, relay: Relay) -> None:
    relay.edit = lambda way, pdu: [
        reject(relay.sent(Way.INITIATOR, SCSI_COMMAND)[-1], pdu)
        if opcode(pdu) == SCSI_RESPONSE else pdu]
    command = done(wired, TUR)
    assert (command.ending, command.status) == (Ending.REJECTED, None)
    assert "Protocol Error" in command.words
    assert wired.close(SOON)
    assert balanced(wired)


def test_a_function_that_is_rejected(wired: Session, relay: Relay) -> None:
    relay.edit = lambda way, pdu: [
        reject(relay.sent(Way.INITIATOR, TASK_MANAGEMENT)[-1], pdu)
        if opcode(pdu) == TASK_MANAGEMENT_RESPONSE else pdu]
    requested = managed(wired, TaskMgmtFunc.LUN_RESET)
    assert (requested.ending, requested.response) == (Ending.REJECTED, None)
    assert "Protocol Error" in requested.words
    assert wired.close(SOON)


def test_a_status_that_there_is_not(wired: Session, relay: Relay) -> None:
    relay.edit = lambda way, pdu: [
        pdu[:3] + b"\x22" + pdu[4:] if opcode(pdu) == SCSI_RESPONSE else pdu]
    command = done(wired, TUR)
    assert (command.ending, command.words) == (Ending.REJECTED, "Unknown SCSI status :34.")
    assert balanced(wired)


def test_a_target_that_asks_for_a_logout(shared: Tgtd, wired: Session, relay: Relay) -> None:
    """RFC 7143 11.9.1, event 1: the library logs out and does not complete commands in flight."""
    def edit(way: Way, pdu: bytes) -> list[bytes]:
        if opcode(pdu) != SCSI_RESPONSE:
            return [pdu]
        head = bytes([ASYNC_MESSAGE, 0x80]) + bytes(14) + b"\xff" * 8
        return [pdu, head + pdu[24:36] + b"\1" + bytes(11)]

    with shared.io_held():
        commands = [wired.issue(read(n)) for n in range(4)]
        relay.edit = edit
        commands.append(wired.issue(Request(b"\xff" + bytes(5), lun=LUN)))
        assert wired.wait(commands, SOON)
    assert [command.ending for command in commands] == [*4 * [Ending.LOST], Ending.ANSWERED]
    assert balanced(wired)


class AlarmError(Exception):
    """Raised by the signal handler."""


def test_what_is_raised_in_callbacks_is_seen(session: Session) -> None:
    """Exceptions raised in the library's callbacks reach the caller.

    The signals arrive during the library's work, by its CPU time; their handler runs in callbacks.
    """
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise AlarmError(frame.f_code.co_name if frame else "")

    before = signal.signal(signal.SIGPROF, interrupt)
    in_callbacks = 0
    try:
        for round_ in range(1000):
            with pytest.raises(AlarmError) as raised:
                signal.setitimer(signal.ITIMER_PROF, 0.0005 + round_ % 10 * 0.0001)
                session.drive(repeat(read(0)), 32, SOON)
            in_callbacks += str(raised.value) == "_command_came"
            if in_callbacks >= 10:
                break
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert in_callbacks >= 10
    assert session.wait(session.pending, SOON)


# --- cost -----------------------------------------------------------------------------------------

def test_nothing_leaks(shared: Tgtd) -> None:
    address = Login(shared.portal, shared.iqn)
    before = descriptors()
    with Session(address, SOON) as session:
        login(session)
        assert session.drive(repeat(read(0), 5000), 32, SOON)
        memory = rss()
        assert session.drive(repeat(read(0), 20_000), 32, 60)
        assert rss() - memory < 1 << 20
        assert session.ledger.statuses == {0: 25_000, 2: 1}
    for _ in range(20):
        Session(address, SOON).close(SOON)
    memory = rss()
    for _ in range(100):
        with Session(address, SOON) as session:
            session.issue(TUR)
    assert rss() - memory < 1 << 20
    assert descriptors() == before


def test_the_guest_can_import_it(tmp_path: Path) -> None:
    """The standard library and the guest's part of the project suffice for the import."""
    for name, content in guest_code(PROJECT):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); " + (
        "from fixtures.initiator.libiscsi import session_guest; print(session_guest.__file__)")
    found = subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True,
                           capture_output=True, text=True).stdout
    assert found.startswith(str(tmp_path))
