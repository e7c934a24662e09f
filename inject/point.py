# SPDX-License-Identifier: GPL-2.0-or-later
"""Points: where in a command's life a fault fires. A state and a count, never a sleep."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The state of a command, by the names of scst_user's subcommands.

    TCMU passes a command on once, ready to be executed: it has EXEC only. QUEUED and BACKGROUND are
    no subcommands: QUEUED is a command that the backend has not fetched; BACKGROUND is one whose
    EXEC was answered with SCST_EXEC_REPLY_BACKGROUND and is not yet completed.
    """

    QUEUED = "QUEUED"
    PARSE = "PARSE"
    ALLOC_MEM = "ALLOC_MEM"
    EXEC = "EXEC"
    BACKGROUND = "BACKGROUND"
    ON_FREE_CMD = "ON_FREE_CMD"
    ON_CACHED_MEM_FREE = "ON_CACHED_MEM_FREE"
    TASK_MGMT_RECEIVED = "TASK_MGMT_RECEIVED"
    TASK_MGMT_DONE = "TASK_MGMT_DONE"
    ATTACH_SESS = "ATTACH_SESS"
    DETACH_SESS = "DETACH_SESS"
    EXT_COPY_REMAP = "EXT_COPY_REMAP"

    @property
    def held_at(self) -> str | None:
        """The subcommand at which a backend holds a command for this state; None: at none."""
        if self is State.QUEUED:
            return None
        return "EXEC" if self is State.BACKGROUND else self.value


COMMANDS = frozenset({
    State.QUEUED, State.PARSE, State.ALLOC_MEM, State.EXEC, State.BACKGROUND, State.ON_FREE_CMD,
    State.EXT_COPY_REMAP})
"""States that a command can reach: EXT_COPY_REMAP by EXTENDED COPY only, the others by any kind."""

TASK_MANAGEMENT = frozenset({State.TASK_MGMT_RECEIVED, State.TASK_MGMT_DONE})
SESSION = frozenset({State.ATTACH_SESS, State.DETACH_SESS})

ANSWERED = frozenset({State.BACKGROUND, State.ON_FREE_CMD})
"""States in which the initiator has its answer already."""


@dataclass(frozen=True)
class Point:
    """``count`` commands held in ``state``, filtered by ``opcodes`` and ``direction``.

    ``direction``: "write", "read", "none", or None for any. ``opcodes``: None for any.
    """

    state: State = State.EXEC
    count: int = 4
    direction: str | None = "write"
    opcodes: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """The state's name in scenario ids."""
        return self.state.lower().replace("_", "-")

    def __str__(self) -> str:
        return f"{self.name}-{self.direction or 'any'}{self.count}"


NOTHING_HELD = Point(count=0, direction=None)
"""For faults that need no command at a point."""
