# SPDX-License-Identifier: GPL-2.0-or-later
"""tgtd, the daemon: a process in the snapshot, found by its pid file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from signal import Signals

from inject.waiting import wait_until
from results.errors import TargetFailedError
from targets.daemon import Daemon
from targets.machine import Machine
from targets.tgt import admin

PID_FILE = "/run/tgtd.pid"
LOG = "/run/tgtd.log"

SPARE_PORTAL = "127.0.0.1:3261"
"""Portal that the daemon is started with; no initiator uses it. Without it tgtd would listen on
every address (iscsi_tcp_init, usr/iscsi/iscsi_tcp.c). The initiators' portal is made once there is
a target: an initiator that logs in again earlier finds a closed port and retries, instead of a
response that there is no such target."""

EXIT_FILE = "/run/tgtd.exit"
"""File in which the shell records the daemon's end: its status, or 128 plus the signal."""

MEANT_FILE = "/run/tgtd.meant"
"""File that exists once the daemon's end was requested."""

COMMAND = (f"rm -f {EXIT_FILE} {MEANT_FILE}; "
           f"tgtd -f --iscsi portal={SPARE_PORTAL} >> {LOG} 2>&1 & "
           f"echo $! > {PID_FILE}; wait $!; echo $? > {EXIT_FILE}.new; "
           f"mv {EXIT_FILE}.new {EXIT_FILE}")
"""In the foreground, as in Debian's tgt.service: a tgtd that daemonizes itself forks a logger,
which outlives a SIGKILL."""

LAST_WORDS = 160
"""Characters of its log that are reported with its end."""

ANSWER = 3.0
"""Seconds in which a working tgtd answers a query."""


TGTD = Daemon("tgtd", PID_FILE, MEANT_FILE)


def answers(machine: Machine) -> bool:
    """Return whether the daemon responds."""
    return admin.show(machine, ANSWER, "sys") is not None


def start(machine: Machine, deadline: float) -> None:
    """Start the daemon and wait until it responds. Raises TargetFailedError."""
    machine.spawn("tgtd", argv=["sh", "-c", COMMAND])
    if not wait_until(lambda: answers(machine), deadline):
        raise TargetFailedError(f"tgtd did not come up in {deadline:g} s")


def died(machine: Machine) -> str:
    """Return a description of the daemon's unrequested end; "" if there was none."""
    if machine.exists(MEANT_FILE):
        return ""
    if not TGTD.running(machine):  # the shell records the end a moment later
        wait_until(lambda: machine.exists(EXIT_FILE), ANSWER)
    if not machine.exists(EXIT_FILE):
        return ""
    status = int(machine.read(EXIT_FILE))
    killed_by = {128 + each: each.name for each in Signals}
    how = killed_by.get(status, f"status {status}")
    words = machine.read(LOG).strip().rpartition("\n")[2][:LAST_WORDS]
    return f"tgtd died by itself: {how}; the last in its log: {words}"


@contextmanager
def reporting_death(machine: Machine) -> Iterator[None]:
    """Add the daemon's end to the message of a failure within, if it died by itself."""
    try:
        yield
    except TargetFailedError as error:
        if words := died(machine):
            raise TargetFailedError(f"{words}; {error}") from error
        raise


def require_alive(machine: Machine) -> None:
    """Raise TargetFailedError if the daemon died by itself."""
    if words := died(machine):
        raise TargetFailedError(words)


def stop(machine: Machine, deadline: float) -> None:
    """End the daemon by an administrator's order: it must not have a target any more."""
    if TGTD.running(machine):
        machine.write(MEANT_FILE, "delete")
        admin.give(machine, deadline, admin.order("delete", "sys"))
        TGTD.wait_gone(machine, deadline)
    with suppress(FileNotFoundError):
        machine.unlink(PID_FILE)


def revive(machine: Machine, deadline: float) -> str:
    """Ensure that a daemon runs and responds: continue a stopped one, replace a dead one.

    Returns the result of ``died``.
    """
    words = died(machine)
    if TGTD.running(machine):
        TGTD.send(machine, "CONT")
        if answers(machine):
            return words
        TGTD.send(machine, "KILL")
        TGTD.wait_gone(machine, deadline)
    start(machine, deadline)
    return words
