# SPDX-License-Identifier: GPL-2.0-or-later
"""tgtd as a target of this host: in user space, on loopback, removed with the test."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fixtures.machine.tools import tool

SIZE = 64 << 20
"""Bytes of the LUN's file."""

BLOCK = 512
LUN = 1
"""tgt's LUN 0 is its controller."""

ATTEMPTS = 5
"""Attempts to find a port that no other process takes before tgtd does."""

SOON = 10.0

PTRACE_DETACH, PTRACE_SYSCALL, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 24, 0x4206, 0x4207
PTRACE_O_TRACESYSGOOD = 1
SYSCALL_STOP = signal.SIGTRAP | 0x80
"""Status of a stop at a system call with PTRACE_O_TRACESYSGOOD (linux/ptrace.h)."""

WALL, WNOTHREAD = 0x40000000, 0x20000000
"""linux/wait.h: include threads; only those that this thread traces."""

READ_AND_WRITE = ("17", "18")
"""pread64 and pwrite64: arch/x86/entry/syscalls/syscall_64.tbl."""


@dataclass(frozen=True)
class Tgtd:
    """A running tgtd with one target, open to all, whose LUN 1 is a file in memory."""

    process: subprocess.Popen[bytes]
    folder: Path
    portal: str
    iqn: str

    def admin(self, *words: str) -> str:
        """Run tgtadm and return its output."""
        return _admin(self.folder, *words)

    def update(self, name: str, value: str) -> None:
        """Set a negotiated parameter of the target (tgtadm(8))."""
        self.admin("--op", "update", "--mode", "target", "--tid", "1", "-n", name, "-v", value)

    def sessions(self) -> int:
        """Return the number of sessions."""
        return self.admin("--op", "show", "--mode", "target").count("I_T nexus: ")

    @contextmanager
    def io_held(self) -> Iterator[None]:
        """Hold its workers at the entry of reads and writes of the LUN's file, by ptrace(2)."""
        with Tracer(self.process.pid):
            yield


class Tracer:
    """A thread that traces a process's threads but the first, and holds them in pread and pwrite.

    Threads that wait for work are not held: pthread_cond_signal waits for such waiters.
    """

    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self._traced = {int(each.name) for each in self._tasks.iterdir()} - {pid}
        self._held: set[int] = set()
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._trace)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._ready.wait(SOON)

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _trace(self) -> None:
        for tid in self._traced:
            _ptrace(PTRACE_SEIZE, tid, PTRACE_O_TRACESYSGOOD)
            _ptrace(PTRACE_INTERRUPT, tid)
        self._ready.set()
        while not self._over.is_set():
            if not self._next(os.WNOHANG):
                time.sleep(0.0005)
        for tid in self._traced - self._held:
            _ptrace(PTRACE_INTERRUPT, tid)
        while self._traced - self._held and self._next(0):
            pass
        for tid in self._held:
            _ptrace(PTRACE_DETACH, tid)

    def _next(self, options: int) -> bool:
        """Resume or hold the next stopped thread; return whether a thread had stopped."""
        try:
            tid, status = os.waitpid(-1, WALL | WNOTHREAD | options)
        except ChildProcessError:  # all threads have been killed
            self._traced.clear()
            self._held.clear()
            return False
        if not tid:
            return False
        if not os.WIFSTOPPED(status):
            self._traced.discard(tid)
            self._held.discard(tid)
        elif self._over.is_set() or (
                os.WSTOPSIG(status) == SYSCALL_STOP and self._call(tid) in READ_AND_WRITE):
            self._held.add(tid)
        else:
            _ptrace(PTRACE_SYSCALL, tid)
        return True

    def _call(self, tid: int) -> str:
        with suppress(OSError):
            return (self._tasks / f"{tid}/syscall").read_text().split()[0]
        return ""


def _ptrace(request: int, tid: int, data: int = 0) -> None:
    """Make a ptrace(2) request; ignore a thread that has been killed."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.restype, ptrace.argtypes = ctypes.c_long, (
        ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    if ptrace(request, tid, None, data) != 0 and ctypes.get_errno() != errno.ESRCH:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TGT_IPC_SOCKET": str(folder / "control")}


def _admin(folder: Path, *words: str) -> str:
    return subprocess.run(
        [tool("tgtadm"), "--lld", "iscsi", *words], env=_environment(folder), check=True,
        timeout=SOON, capture_output=True, text=True).stdout


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    for _ in range(ATTEMPTS):
        portal = f"127.0.0.1:{_free_port()}"
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", tool("tgtd"), "-f", "--iscsi",
                 f"portal={portal}"],
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
    """Run a tgtd and remove all its traces."""
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
