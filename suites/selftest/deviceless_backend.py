# SPDX-License-Identifier: GPL-2.0-or-later
"""A backend without a device that executes requests as the real backends do. Selftests only."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from targets.backend.control_guest import Channel, Holds


def main(argv: Sequence[str]) -> None:
    """Serve until "exit" is requested. ``argv``: content of "ready"; "crash" raises instead."""
    if "crash" in argv:
        raise RuntimeError("told to crash")
    channel = Channel()
    holds = Holds(channel)
    handlers: dict[str, Callable[..., Any]] = {
        "hold": holds.order, "release": holds.release, "echo": lambda **given: given,
        "arrive": lambda handle, opcode: holds.takes("EXEC", handle, opcode, "write"),
        "exit": os._exit,
    }
    channel.emit("ready", argv=list(argv))
    channel.flush()
    with suppress(EOFError):
        while True:
            select.select([channel.fd_in], [], [])
            channel.serve(handlers)
