# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon of a target is stopped, or killed and restarted; held commands are answered then.

- iscsi-scstd handles logins only: existing sessions live in the kernel. While the daemon is stopped
  their I/O continues, and no login completes; pending logins complete once the daemon continues.
  When it is killed the kernel ends every session and deletes every target (targets.scst.daemon); an
  initiator can log in again when the target has been recreated.
- tgtd handles logins and commands: while it is stopped it answers none. No I/O fails during a stop
  that is shorter than the initiator's timers; during a longer one the initiator aborts commands and
  sends them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from inject.fault import ISCSI, SCST_HANDLERS, Needs
from inject.outcomes import RECOVERY_GRACE, TIMER
from inject.target_operation import DAEMON_KILLED, NBD, TargetOperation

SHORT, LONG = 1.5, 3.5
"""Durations of a stop in seconds.

The scenario adds a login attempt of one second. With it, SHORT is less than the initiator's command
timer of 4 s; LONG is more than that timer, but less than the 6 s after which the initiator gives a
silent session up: a ping after 2 s, 2 s for its answer, 2 s for another session
(fixtures.initiator.openiscsi).
"""

SCST_ISCSI: Needs = SCST_HANDLERS & ISCSI

IN_KERNEL = "README of iSCSI-SCST: iscsi-scstd takes logins; sessions live in the kernel"

DAEMONS: tuple[TargetOperation, ...] = (
    TargetOperation("scstd-stop", "daemon-stop", further=SCST_ISCSI, seconds=SHORT, errors=(),
                    clause=IN_KERNEL),
    TargetOperation("scstd-kill", "daemon-kill", further=SCST_ISCSI, clause=DAEMON_KILLED,
                    grace=RECOVERY_GRACE),
    TargetOperation("tgtd-stop", "daemon-stop", further=NBD, seconds=SHORT, errors=()),
    TargetOperation("tgtd-stop-long", "daemon-stop", further=NBD, seconds=LONG, errors=(),
                    clause=TIMER, grace=RECOVERY_GRACE),
)


class Without(StrEnum):
    """State of existing sessions while the daemon does not run."""

    GOES_ON = "goes on"
    STANDS_STILL = "stands still"
    GONE = "has gone"


WITHOUT: Mapping[str, Without] = {
    "scstd-stop": Without.GOES_ON,
    "scstd-kill": Without.GONE,
    "tgtd-stop": Without.STANDS_STILL,
    "tgtd-stop-long": Without.STANDS_STILL,
}
"""State of existing sessions, by fault."""
