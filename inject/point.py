"""Points: where in a command's life a fault fires. A state and a count, never a sleep."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a command is when its backend holds it, by the names of scst_user's subcommands.

    TCMU hands a command over once, ready to be executed: it knows EXEC only.
    """

    PARSE = "PARSE"
    ALLOC_MEM = "ALLOC_MEM"
    EXEC = "EXEC"
    ON_FREE_CMD = "ON_FREE_CMD"
    ON_CACHED_MEM_FREE = "ON_CACHED_MEM_FREE"


@dataclass(frozen=True)
class Point:
    """``count`` commands held in ``state``: those with one of ``opcodes`` and ``direction``.

    ``direction``: "write", "read", "none", or None for any. ``opcodes``: None for any.
    """

    state: State = State.EXEC
    count: int = 4
    direction: str | None = "write"
    opcodes: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"{self.state.lower().replace('_', '-')}-{self.direction or 'any'}{self.count}"
