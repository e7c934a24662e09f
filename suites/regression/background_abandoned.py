"""Not fixed in 3.11.0-pre (aa5cc2dd70f9): a backend that dies with commands in the background.

What is broken: SCST_EXEC_REPLY_BACKGROUND takes a reference of the command which the backend's
COMPLETED puts back (dev_user_process_reply_exec). When the backend closes the device before that,
nobody does: the command has its answer, so it is not among those that are unjammed, and it stays in
the device's table. The cleanup thread goes round until the table is empty, for ever; the release
of the device waits for it in D state. All of it as the specification wants it: a WRITE, on_free
IGNORE, no reuse of its memory.

What is told: a WRITE is answered in the background, and the backend closes its device. What is
asserted: what every teardown has to keep to.
"""

from __future__ import annotations

from fixtures.scenario import Plan
from fixtures.workload.commands import CommandJob
from fixtures.workload.stamps import LIGHT
from inject.point import Point, State
from targets.target import Device, Transport

PLAN = Plan(
    "scst", "backend-close", Transport.LOOPBACK, Point(State.BACKGROUND, 1, None),
    Device(options={"on_free_cmd_type": "IGNORE", "memory_reuse_type": "NONE"}), None,
    LIGHT, CommandJob("write", 1),
    "background-abandoned")
