"""iscsi-scstd, which takes the logins of iSCSI-SCST; what has logged in is the kernel's.

It holds /dev/iscsi-scst-ctl open. When that is closed, as it is when the daemon is killed, the
kernel closes every connection and deletes every target (iscsi_release, iscsi-scst/kernel/config.c),
and the daemon is not gone before that has been done. A daemon that is stopped takes no logins, and
leaves unanswered what sysfs asks of it (for 31 s: iscsi_sysfs_send_event, target.c).
"""

from __future__ import annotations

from contextlib import suppress

from targets.daemon import Daemon
from targets.machine import Machine
from targets.scst.prefix import DAEMON, TREE
from targets.scst.sysfs import TARGETS

SCSTD = Daemon("iscsi-scstd", "/run/iscsi-scstd.pid")


def start(machine: Machine) -> None:
    """Start it; it listens when this returns."""
    machine.run([f"{TREE}/{DAEMON}", "-a", machine.address])


def enable(machine: Machine) -> None:
    """Have it take logins. Raises OSError."""
    machine.write(f"{TARGETS}/iscsi/enabled", "1")


def stop(machine: Machine, deadline: float) -> None:
    """End it, if it runs, and wait until it has gone. Raises TargetFailedError."""
    if not machine.exists(SCSTD.pid_file):
        return
    SCSTD.send(machine, "CONT")
    SCSTD.send(machine, "TERM")
    SCSTD.wait_gone(machine, deadline)
    with suppress(FileNotFoundError):
        machine.unlink(SCSTD.pid_file)
