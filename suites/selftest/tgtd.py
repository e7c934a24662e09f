"""tgtd as a target of this host: in user space, on loopback, gone with the test."""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SIZE = 64 << 20
"""Bytes of the LUN's file."""

BLOCK = 512
LUN = 1
"""tgt's LUN 0 is its controller."""

ATTEMPTS = 5
"""To find a port that nobody takes before tgtd does."""

SOON = 10.0

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000
"""linux/ptrace.h and __WALL of linux/wait.h."""


@dataclass(frozen=True)
class Tgtd:
    """A running tgtd with one target, open to all, whose LUN 1 is a file in memory."""

    process: subprocess.Popen[bytes]
    folder: Path
    portal: str
    iqn: str

    def admin(self, *words: str) -> str:
        """Return what tgtadm says."""
        return _admin(self.folder, *words)

    def update(self, name: str, value: str) -> None:
        """Set what the target negotiates (tgtadm(8))."""
        self.admin("--op", "update", "--mode", "target", "--tid", "1", "-n", name, "-v", value)

    def sessions(self) -> int:
        """Return how many sessions there are."""
        return self.admin("--op", "show", "--mode", "target").count("I_T nexus: ")

    @contextmanager
    def workers_held(self) -> Iterator[None]:
        """Stop the threads that do the I/O, by ptrace(2), and none else: commands stay in EXEC."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        held = [int(each.name) for each in tasks.iterdir() if each.name != tasks.parent.name]
        deadline = time.monotonic() + SOON
        while not all(_idle(tasks / str(tid)) for tid in held):  # one may hold a lock
            assert time.monotonic() < deadline
            time.sleep(0.001)
        for tid in held:
            _ptrace(PTRACE_SEIZE, tid)
            _ptrace(PTRACE_INTERRUPT, tid)
            os.waitpid(tid, WALL)
        try:
            yield
        finally:
            for tid in held:
                try:
                    _ptrace(PTRACE_DETACH, tid)
                except ProcessLookupError:  # killed: its tracer is to reap it
                    with suppress(ChildProcessError):
                        os.waitpid(tid, WALL)


def _idle(task: Path) -> bool:
    """Tell whether a thread waits for work: futex(2), FUTEX_WAIT_BITSET as in pthread_cond_wait."""
    number, _, operation, *_ = (task / "syscall").read_text().split() + 2 * ["0"]
    return (number, int(operation, 16) & 0x7F) == ("202", 9)


def _ptrace(request: int, tid: int) -> None:
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.restype, ptrace.argtypes = ctypes.c_long, (
        ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    if ptrace(request, tid, None, None) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TGT_IPC_SOCKET": str(folder / "control")}


def _admin(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["tgtadm", "--lld", "iscsi", *words], env=_environment(folder), check=True, timeout=SOON,
        capture_output=True, text=True).stdout


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    for _ in range(ATTEMPTS):
        portal = f"127.0.0.1:{_free_port()}"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "tgtd", "-f", "--iscsi", f"portal={portal}"],
                env=_environment(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + SOON
        while process.poll() is None:
            with suppress(subprocess.CalledProcessError):
                _admin(folder, "--op", "show", "--mode", "system")
                return process, portal
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
            time.sleep(0.02)
    raise AssertionError(f"tgtd did not start: {(folder / 'log').read_text()[-500:]}")


@contextmanager
def running_tgtd() -> Iterator[Tgtd]:
    """Run a tgtd and leave nothing of it."""
    iqn = f"iqn.2026-11.faults.stf:{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="stf-tgtd-") as name:
        folder = Path(name)
        backing = folder / "lun"
        backing.touch()
        os.truncate(backing, SIZE)
        process, portal = _start(folder)
        try:
            target = ("--mode", "target", "--tid", "1")
            _admin(folder, "--op", "new", *target, "-T", iqn)
            _admin(folder, "--op", "new", "--mode", "logicalunit", "--tid", "1",
                   "--lun", str(LUN), "-b", str(backing))
            _admin(folder, "--op", "bind", *target, "-I", "ALL")
            yield Tgtd(process, folder, portal, iqn)
        finally:
            process.kill()
            process.wait()
