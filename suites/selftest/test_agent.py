# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's agent, run as a process of this host and driven by the harness's own connection."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fixtures.machine.agent_guest import CHANGING_CALLS, PR_SET_NAME, TaskScan, parse_stat
from fixtures.machine.connection import Connection
from fixtures.machine.remote import RemoteMachine
from results.errors import MachineLostError, TargetFailedError
from results.ladder import Ladder

PROJECT = Path(__file__).parents[2]
DEVICELESS = "suites.selftest.deviceless_backend"
SOON = 10.0
"""Seconds; no test needs as many unless the machine is very busy."""


@dataclass(frozen=True)
class LocalAgent:
    """The agent's process, and the host's end of its connection."""

    process: subprocess.Popen[bytes]
    line: socket.socket
    machine: RemoteMachine


@contextmanager
def local_agent() -> Iterator[LocalAgent]:
    """Run the agent behind a socket pair instead of a virtio port."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-c",
         f"from fixtures.machine import agent_guest; agent_guest.main({theirs.fileno()})"],
        cwd=PROJECT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True)
    theirs.close()
    connection = Connection(ours, "this host")
    try:
        yield LocalAgent(process, ours, RemoteMachine(connection, Ladder(step=SOON)))
    finally:
        connection.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its zygote, too
        process.wait()


@pytest.fixture(scope="module")
def agent() -> Iterator[LocalAgent]:
    """Provide one agent for all tests that leave it alive."""
    with local_agent() as running:
        yield running


@pytest.fixture
def machine(agent: LocalAgent) -> RemoteMachine:
    """Provide the machine in a new epoch, as each scenario does."""
    agent.machine.connection.sync(SOON)
    return agent.machine


class Received:
    """A program's events in order, its exit last."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def message(self, message: Mapping[str, Any]) -> None:
        self.all.append({key: value for key, value in message.items() if key != "t"})

    def exit(self, status: int) -> None:
        self.all.append(status)

    def wait(self, reached: Callable[[list[Any]], bool]) -> list[Any]:
        wait_until(lambda: reached(self.all))
        return self.all


def wait_until(reached: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after SOON seconds."""
    end = time.monotonic() + SOON
    while not reached():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


# --- verbs ---------------------------------------------------------------------------------------


def test_it_says_which_kernel_runs_and_what_time_it_is(machine: RemoteMachine) -> None:
    assert machine.release == os.uname().release
    assert machine.now() == pytest.approx(time.monotonic(), abs=0.5)


def test_files_and_directories(machine: RemoteMachine, tmp_path: Path) -> None:
    top = f"{tmp_path}/a/b/c"
    machine.mkdir(top)
    machine.mkdir(top)
    machine.write(f"{top}/z", "first words")
    machine.write(f"{top}/z", "words\n")
    assert machine.read(f"{top}/z") == "words\n"
    machine.symlink("nowhere", f"{top}/link")
    assert machine.exists(f"{top}/link")
    assert not machine.exists(f"{top}/nowhere")
    assert machine.listdir(top) == ["link", "z"]
    assert machine.listdir(f"{top}/nowhere") == []
    machine.unlink(f"{top}/link")
    machine.unlink(f"{top}/z")
    machine.rmdir(top)
    assert list((tmp_path / "a/b").iterdir()) == []


@pytest.mark.parametrize(("verb", "arguments", "number"), [
    ("read", ("{}/none",), errno.ENOENT),
    ("read", ("{}",), errno.EISDIR),
    ("write", ("{}/none/x", ""), errno.ENOENT),
    ("write", ("/proc/self/none", "x"), errno.ENOENT),
    ("write", ("/dev/full", "x"), errno.ENOSPC),
    ("rmdir", ("{}/full",), errno.ENOTEMPTY),
    ("symlink", ("a", "{}/full"), errno.EEXIST),
    ("unlink", ("{}/none",), errno.ENOENT),
    ("run", (["no-such-program"],), errno.ENOENT),
])
def test_an_error_arrives_as_the_kernel_raised_it(
    machine: RemoteMachine, tmp_path: Path, verb: str, arguments: tuple[Any, ...], number: int,
) -> None:
    (tmp_path / "full/inside").mkdir(parents=True)
    placed = [word.format(tmp_path) if isinstance(word, str) else word for word in arguments]
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        getattr(machine, verb)(*placed)
    assert raised.value.errno == number
    assert type(raised.value) is type(OSError(number, ""))
    with pytest.raises(OSError, match=os.strerror(number)):
        machine.begin(verb, *placed).result(SOON)


def test_a_verb_that_is_none_is_no_failure_of_the_target(machine: RemoteMachine) -> None:
    with pytest.raises(MachineLostError, match=r"AttributeError.*do_dance"):
        machine.call("dance")


def test_a_program_runs_to_its_end(machine: RemoteMachine) -> None:
    done = machine.run(["sh", "-c", "cat; echo oh >&2; exit 3"], stdin="in\n", check=False)
    assert (done.status, done.stdout, done.stderr) == (3, "in\n", "oh\n")
    assert machine.run(["sh", "-c", "kill -9 $$"], check=False).status == -signal.SIGKILL
    with pytest.raises(TargetFailedError, match="ended with status 3: oh"):
        machine.run(["sh", "-c", "echo oh >&2; exit 3"])


# --- long-running programs ------------------------------------------------------------------------


def test_lines_are_streamed_and_the_exit_comes_last(machine: RemoteMachine) -> None:
    script = """echo plain; echo '{"t": 1, "kind": "step"}'; printf 'last words' >&2; exit 3"""
    for _ in range(20):  # the exit must not overtake the program's last lines
        received = Received()
        process = machine.spawn("sh", argv=["sh", "-c", script], on_message=received.message,
                                on_exit=received.exit)
        assert process.wait(SOON) == 3
        assert received.wait(lambda all: 3 in all) == [
            {"kind": "text", "text": "plain"}, {"kind": "step"},
            {"kind": "text", "text": "last words"}, 3]


def test_a_module_is_spoken_to(machine: RemoteMachine) -> None:
    received = Received()
    process = machine.spawn("a-name-of-more-than-15", module=DEVICELESS, argv=["--lun", "0"],
                            on_message=received.message, on_exit=received.exit)
    assert received.wait(bool) == [{"kind": "ready", "argv": ["--lun", "0"]}]
    assert machine.read(f"/proc/{process.pid}/comm") == "a-name-of-more-\n"
    process.send({"id": 1, "do": "echo", "word": "ä"})
    received.wait(lambda all: len(all) == 2)
    assert received.all[1] == {"kind": "reply", "id": 1, "ok": True, "result": {"word": "ä"}}
    assert process.status is None
    process.signal(signal.SIGTERM)
    assert process.wait(SOON) == -signal.SIGTERM
    assert received.all[2:] == [-signal.SIGTERM]
    with pytest.raises(ProcessLookupError):
        process.signal(signal.SIGTERM)


def test_lines_to_a_program_do_not_overtake_each_other(machine: RemoteMachine) -> None:
    received = Received()
    process = machine.spawn("cat", argv=["cat"], on_message=received.message, on_exit=received.exit)
    for number in range(300):
        process.send({"t": 1, "kind": "line", "number": number})
    received.wait(lambda all: len(all) == 300)
    assert [each["number"] for each in received.all] == list(range(300))
    process.signal(signal.SIGTERM)
    process.wait(SOON)


@pytest.mark.parametrize(("module", "argv", "status", "words"), [
    (DEVICELESS, ["crash"], 70, "RuntimeError: told to crash"),
    ("suites.selftest.none", [], 70, "ModuleNotFoundError: No module named"),
    ("targets.lio.tcmu_guest", ["--nonsense"], 2, "usage: "),
])
def test_a_module_that_ends_says_why(
    machine: RemoteMachine, module: str, argv: list[str], status: int, words: str,
) -> None:
    for _ in range(5):
        received = Received()
        process = machine.spawn("x", module=module, argv=argv, on_message=received.message,
                                on_exit=received.exit)
        assert process.wait(SOON) == status
        events = received.wait(lambda all: status in all)
        assert events[-1] == status
        assert words in "\n".join(each["text"] for each in events[:-1])


def test_what_was_said_before_anyone_listened_is_not_lost(machine: RemoteMachine) -> None:
    pid = machine.call("spawn", name="sh", module=None, argv=["sh", "-c", "echo 1; echo 2"])
    machine.run(["true"])
    received: list[Any] = []
    machine.connection.listen(pid, received.append)
    wait_until(lambda: any("exit" in message for message in received))
    assert [message["line"]["text"] for message in received[:-1]] == ["1", "2"]


def test_a_program_that_does_not_end_in_time(machine: RemoteMachine) -> None:
    process = machine.spawn("cat", argv=["cat"])
    with pytest.raises(MachineLostError, match=f"process {process.pid} has not ended"):
        process.wait(0.05)
    process.signal(signal.SIGKILL)
    assert process.wait(SOON) == -signal.SIGKILL


# --- blocking calls ------------------------------------------------------------------------------


def test_a_request_that_blocks_blocks_no_other(machine: RemoteMachine, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pending = machine.begin("read", str(fifo))
    assert machine.exists(str(fifo))
    with pytest.raises(TimeoutError, match=r"read .*fifo on this host has not ended after 0\.05 s"):
        pending.result(0.05)
    assert not pending.done
    assert pending.seconds is None
    fifo.write_text("at last")
    assert pending.result(SOON) == "at last"
    assert pending.done
    assert pending.seconds is not None
    assert pending.seconds > 0.05


def test_a_call_that_is_late_means_that_the_machine_is_lost(
    machine: RemoteMachine, tmp_path: Path,
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(MachineLostError, match=r"has not ended after 0\.05 s"):
        machine.read(str(fifo), deadline=0.05)
    fifo.write_text("")


def full_pipe(fifo: Path) -> int:
    """Return a descriptor of a full FIFO."""
    end = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(end, bytes(4096))
    return end


@pytest.mark.skipif(not Path("/proc/self/syscall").exists(), reason="no /proc/PID/syscall here")
def test_who_waits_in_a_call_that_changes_something(
    machine: RemoteMachine, tmp_path: Path,
) -> None:
    fifo, other = tmp_path / "fifo", tmp_path / "other"
    os.mkfifo(fifo)
    os.mkfifo(other)
    reader = full_pipe(fifo)
    try:
        reading = machine.begin("read", str(other))  # waits, too, but changes nothing
        writing = machine.begin("write", str(fifo), "x")
        wait_until(lambda: machine.waiting() == ["write"])
    finally:
        os.close(reader)
    with pytest.raises(BrokenPipeError):
        writing.result(SOON)
    assert machine.waiting() == []
    other.write_text("")
    reading.result(SOON)


# --- the connection ------------------------------------------------------------------------------


def send(agent: LocalAgent, *messages: Mapping[str, Any]) -> None:
    agent.line.sendall(b"".join(json.dumps(message).encode() + b"\n" for message in messages))


def test_requests_of_an_earlier_epoch_are_not_executed(
    agent: LocalAgent, machine: RemoteMachine, tmp_path: Path,
) -> None:
    machine.write(f"{tmp_path}/before", "")
    epoch = machine.connection._epoch
    request = {"id": 1 << 40, "do": "write"}
    machine.connection.sync(SOON)
    send(agent, {**request, "epoch": epoch, "args": {"path": f"{tmp_path}/old", "text": ""}},
         {**request, "epoch": epoch + 1, "args": {"path": f"{tmp_path}/now", "text": ""}})
    wait_until((tmp_path / "now").exists)
    machine.run(["true"])
    assert machine.listdir(str(tmp_path)) == ["before", "now"]


def test_what_was_on_its_way_at_a_restore_has_no_answer(
    machine: RemoteMachine, tmp_path: Path,
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pending = machine.begin("read", str(fifo))
    machine.connection.sync(SOON)
    with pytest.raises(MachineLostError):
        pending.result(SOON)
    fifo.write_text("late")
    assert machine.run(["echo", "in time"]).stdout == "in time\n"


@pytest.mark.parametrize("garbage", [
    b"\xff\xfe{]]\n", b"[]\n5\nnull\n\"x\"\n", b"\n\n", b"{\"epoch\": 1, \"do\": \"run\"}\n",
    b"{\"epoch\": 1, \"id\": 5, \"do\": \"write\", \"args\": {\"path\": \"/tm",
])
def test_garbage_is_survived(agent: LocalAgent, machine: RemoteMachine, garbage: bytes) -> None:
    agent.line.sendall(garbage)  # the last one: a line cut by a restore; sync() begins a new line
    machine.connection.sync(SOON)
    assert machine.run(["echo", "still here"]).stdout == "still here\n"
    assert machine.waiting() == []


def test_when_the_line_closes_nobody_waits_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with local_agent() as agent:
        machine = agent.machine
        machine.connection.sync(SOON)
        waiting = [machine.begin("read", f"{tmp_path}/fifo") for _ in range(3)]
        os.killpg(agent.process.pid, signal.SIGKILL)
        began = time.monotonic()
        for pending in waiting:
            with pytest.raises(MachineLostError, match="this host is gone"):
                pending.result(SOON)
            with pytest.raises(MachineLostError, match="this host is gone"):
                _ = pending.done
        with pytest.raises(MachineLostError, match="this host is gone"):
            machine.read("/proc/self/comm")
        assert time.monotonic() - began < SOON


def test_an_agent_without_its_zygote_ends_although_a_request_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with local_agent() as agent:
        agent.machine.connection.sync(SOON)
        pending = agent.machine.begin("read", f"{tmp_path}/fifo")
        children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children")
        os.kill(int(children.read_text()), signal.SIGKILL)
        with pytest.raises(MachineLostError, match="this host is gone"):
            pending.result(SOON)
        assert agent.process.wait(SOON) == 1


# --- watchers ------------------------------------------------------------------------------------


def test_a_watcher_reports_until_it_is_stopped(machine: RemoteMachine) -> None:
    news: list[Any] = []
    machine.connection.watch("tasks", news.append)
    machine.call("watch_tasks", period=0.02)
    wait_until(lambda: len(news) >= 2)
    machine.call("unwatch", name="tasks")
    seen = len(news)
    assert set(news[0]) == {"watch", "t", "interval", "threads", "blocked", "cost"}
    assert all(first["t"] < second["t"] for first, second in pairwise(news))
    machine.run(["sleep", "0.1"])
    assert len(news) == seen


def test_a_watchers_last_news_arrive_before_it_has_stopped(machine: RemoteMachine) -> None:
    news: list[Any] = []
    machine.connection.watch("tasks", news.append)
    machine.call("watch_tasks", period=3600)
    machine.call("unwatch", name="tasks")
    assert len(news) == 1
    machine.call("unwatch", name="tasks")


# --- tasks ---------------------------------------------------------------------------------------


def stat_line(
    pid: int, comm: str, state: str = "S", *, parent: int = 1, ticks: int = 0, threads: int = 1,
) -> str:
    """Return a line of /proc/PID/stat (proc(5)); ``ticks`` is split over user and system."""
    user = ticks // 2
    return (f"{pid} ({comm}) {state} {parent} 0 0 0 -1 69238880 0 0 0 0 {user} {ticks - user} 0 0 "
            f"20 0 {threads} 0 24 0 0 18446744073709551615 0 0 0 0 0 0 0 2147483647 0 1 0 0 0\n")


@pytest.mark.parametrize("comm", ["fio", "kworker/0:1H", "a b", ") D 2 (", "((x) y)", ""])
def test_comm_may_hold_anything(comm: str) -> None:
    line = stat_line(7, comm, "D", parent=2, ticks=11, threads=3)
    assert parse_stat(line) == (comm, "D", 2, 11, 3)


def stage(top: Path, line: str, **files: str) -> None:
    """Add a task to a fake /proc."""
    top.mkdir(parents=True, exist_ok=True)
    (top / "stat").write_text(line)
    for name, text in files.items():
        (top / name).write_text(text)


def test_a_scan_tells_who_worked_and_who_is_blocked(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    stage(tmp_path / "2", stat_line(2, "kthreadd", parent=0))
    stage(tmp_path / "40", stat_line(40, "scst (usr) 1", "R", parent=2, ticks=5 * tick))
    stage(tmp_path / "41", stat_line(41, "idle", parent=2, ticks=9 * tick))
    stage(tmp_path / "50", stat_line(50, "sh", ticks=7), wchan="")
    (tmp_path / "51").mkdir()  # the task exited after the directory was read
    (tmp_path / "uptime").write_text("1 1")
    scan = TaskScan(str(tmp_path))
    assert scan()["threads"] == []
    stage(tmp_path / "40", stat_line(40, "scst (usr) 1", "R", parent=2, ticks=5 * tick + 3))
    stage(tmp_path / "50", stat_line(50, "sh", ticks=90))
    stage(tmp_path / "60", stat_line(60, "rm", "D"), wchan="tcmu_x",
          stack="[<0>] tcmu_wait+0x1/0x2\n[<0>] ksys+0x3/0x4\n")
    stage(tmp_path / "70", stat_line(70, "fio", threads=3))
    stage(tmp_path / "70/task/70", stat_line(70, "fio"))
    stage(tmp_path / "70/task/71", stat_line(71, "fio job", "D"))
    (tmp_path / "70/task/72").mkdir()
    found = scan()
    assert 0 <= found["threads"][0].pop("over") < SOON
    assert found["threads"][0].pop("waited") == 0
    assert found["threads"] == [
        {"pid": 40, "comm": "scst (usr) 1", "state": "R", "cpu": round(3 / tick, 3)}]
    blocked = sorted(found["blocked"], key=lambda task: int(task["pid"]))
    assert blocked == [
        {"pid": 60, "comm": "rm", "state": "D", "wchan": "tcmu_x",
         "stack": ["tcmu_wait+0x1/0x2", "ksys+0x3/0x4"]},
        {"pid": 71, "comm": "fio job", "state": "D", "wchan": "", "stack": []}]


HEADERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/linux/prctl.h")


@pytest.mark.skipif(not all(file.exists() for file in HEADERS), reason="no kernel headers here")
def test_the_kernels_numbers() -> None:
    calls, options = (dict(
        line.split()[1:3] for line in file.read_text().splitlines()
        if line.startswith("#define ") and len(line.split()) > 2) for file in HEADERS)
    assert {int(calls[f"__NR_{name}"]) for name in
            ("write", "mkdir", "rmdir", "unlink", "symlink")} == CHANGING_CALLS
    assert int(options["PR_SET_NAME"]) == PR_SET_NAME
