"""tgtd, the daemon: a process in the snapshot, found by its pid file."""

from __future__ import annotations

from contextlib import suppress

from results.errors import TargetFailedError
from targets.machine import Machine
from targets.scst.sysfs import wait_until
from targets.tgt import admin

PID_FILE = "/run/tgtd.pid"
LOG = "/run/tgtd.log"

SPARE_PORTAL = "127.0.0.1:3261"
"""tgtd without a portal would listen on every address (iscsi_tcp_init, usr/iscsi/iscsi_tcp.c).
Initiators are given another one, once there is a target: one that logs in again before finds a
closed door and knocks on, instead of hearing that there is no such target."""

COMMAND = f"echo $$ > {PID_FILE}; exec tgtd -f --iscsi portal={SPARE_PORTAL} >> {LOG} 2>&1"
"""In the foreground, as Debian's tgt.service has it; one that goes to the background by itself
forks a logger, which outlives a SIGKILL."""

ANSWER = 3.0
"""Seconds in which a tgtd that is well shows what it has."""


def pid(machine: Machine) -> int:
    """Return the daemon's process id, of the one that ran last."""
    return int(machine.read(PID_FILE))


def running(machine: Machine) -> bool:
    """Whether it is there, in whatever state."""
    return machine.exists(PID_FILE) and machine.exists(f"/proc/{pid(machine)}")


def answers(machine: Machine) -> bool:
    """Whether it obeys."""
    return admin.show(machine, ANSWER, "sys") is not None


def start(machine: Machine, deadline: float) -> None:
    """Start it and wait until it obeys. Raises TargetFailedError."""
    machine.spawn("tgtd", argv=["sh", "-c", COMMAND])
    if not wait_until(lambda: answers(machine), deadline):
        raise TargetFailedError(f"tgtd did not come up in {deadline:g} s")


def send(machine: Machine, signal: str) -> None:
    """Send it a signal, by its name without SIG; fine if it has gone."""
    machine.run(["kill", f"-{signal}", str(pid(machine))], check=False)


def wait_gone(machine: Machine, deadline: float) -> None:
    """Wait until it has gone, with all its threads. Raises TargetFailedError."""
    if not wait_until(lambda: not running(machine), deadline):
        raise TargetFailedError(f"tgtd has not gone after {deadline:g} s")


def stop(machine: Machine, deadline: float) -> None:
    """End it as its administrator does: it has to have no target any more."""
    if running(machine):
        admin.give(machine, deadline, admin.order("delete", "sys"))
        wait_gone(machine, deadline)
    with suppress(FileNotFoundError):
        machine.unlink(PID_FILE)


def revive(machine: Machine, deadline: float) -> None:
    """See that there is one and that it obeys: continue a stopped one, replace a dead one."""
    if running(machine):
        send(machine, "CONT")
        if answers(machine):
            return
        send(machine, "KILL")
        wait_gone(machine, deadline)
    start(machine, deadline)
