"""Writes one after another, each the moment the one before it has ended, well or not.

Runs in the guest; stdlib only. Argument: {"writes": [[path, offset, bytes], ...], "stops": bool}
as JSON. It opens all of them, says ``ready``, and writes when a line comes in; if it ``stops``,
each write waits for a line of its own. Lines out have "t" (CLOCK_MONOTONIC, ns) and
"kind": ``wrote`` (number from 1, error: errno name or null), and ``end`` once all have ended.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import sys
import time
from typing import Any


def tell(kind: str, **data: Any) -> None:
    """Write one event."""
    os.write(1, (json.dumps({"t": time.monotonic_ns(), "kind": kind, **data}) + "\n").encode())


def write(descriptor: int, offset: int, length: int) -> str | None:
    """Write past the page cache; return an errno's name, or None."""
    room = mmap.mmap(-1, length)
    room.write(b"\x5a" * length)
    try:
        os.pwrite(descriptor, room, offset)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return None


def main() -> None:
    """Do it."""
    job = json.loads(sys.argv[1])
    writes = [(os.open(path, os.O_WRONLY | os.O_DIRECT), offset, length)
              for path, offset, length in job["writes"]]
    tell("ready")
    for number, (descriptor, offset, length) in enumerate(writes, 1):
        if number == 1 or job["stops"]:
            sys.stdin.readline()
        tell("wrote", number=number, error=write(descriptor, offset, length))
    tell("end")


if __name__ == "__main__":
    main()
