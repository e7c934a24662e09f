"""The daemon of a target is stopped, or killed and started again; what was held is answered then.

- iscsi-scstd takes logins only: sessions that there are live in the kernel. While it is stopped
  their I/O goes on as ever, and nobody logs in; who has come meanwhile is let in once it goes on.
  When it is killed the kernel ends every session and deletes every target (targets.scst.daemon);
  an initiator is let in again when the target has been made anew.
- tgtd does all by itself: while it is stopped nothing is answered. That costs nothing in less than
  the initiator's timers; in more, commands are aborted and sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from inject.fault import ISCSI, SCST_HANDLERS, Needs
from inject.outcomes import RECOVERY_GRACE, TIMER
from inject.target_operation import DAEMON_KILLED, NBD, TargetOperation

SHORT, LONG = 1.5, 3.5
"""Seconds: with a login that is tried beside it, for one more, less than the initiator's command
timer of 4 s; and more, but less than the 6 s after which it gives a silent session up: a ping after
2 s, 2 s for its answer, 2 s for another session (fixtures.initiator.openiscsi)."""

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
    """What is left of the sessions there are while the daemon does not run."""

    GOES_ON = "goes on"
    STANDS_STILL = "stands still"
    GONE = "has gone"


WITHOUT: Mapping[str, Without] = {
    "scstd-stop": Without.GOES_ON,
    "scstd-kill": Without.GONE,
    "tgtd-stop": Without.STANDS_STILL,
    "tgtd-stop-long": Without.STANDS_STILL,
}
"""By fault."""
