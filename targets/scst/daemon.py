# SPDX-License-Identifier: GPL-2.0-or-later
"""iscsi-scstd, which handles the logins of iSCSI-SCST; established sessions are the kernel's.

The daemon holds /dev/iscsi-scst-ctl open. When that is closed, as at the daemon's death, the kernel
closes every connection and deletes every target (iscsi_release, iscsi-scst/kernel/config.c), and
the daemon is not gone before that is done. A stopped daemon handles no logins, and leaves requests
from sysfs unanswered (for 31 s: iscsi_sysfs_send_event, target.c).
"""

from __future__ import annotations

from contextlib import suppress

from targets.daemon import Daemon
from targets.machine import Machine
from targets.scst.prefix import DAEMON, TREE
from targets.scst.sysfs import TARGETS

SCSTD = Daemon("iscsi-scstd", "/run/iscsi-scstd.pid")


def start(machine: Machine) -> None:
    """Start the daemon; it listens when this returns."""
    machine.run([f"{TREE}/{DAEMON}", "-a", machine.address])


def enable(machine: Machine) -> None:
    """Make the daemon accept logins. Raises OSError."""
    machine.write(f"{TARGETS}/iscsi/enabled", "1")


def stop(machine: Machine, deadline: float) -> None:
    """End the daemon if it runs, and wait until it has gone. Raises TargetFailedError."""
    if not machine.exists(SCSTD.pid_file):
        return
    SCSTD.send(machine, "CONT")
    SCSTD.send(machine, "TERM")
    SCSTD.wait_gone(machine, deadline)
    with suppress(FileNotFoundError):
        machine.unlink(SCSTD.pid_file)
