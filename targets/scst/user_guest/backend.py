# SPDX-License-Identifier: GPL-2.0-or-later
"""The scst_user backend: RAM disks behind /dev/scst_user, controlled by the test's commands.

Runs in the guest; stdlib only. Its argument is targets.scst.user_spec's JSON: one device or
several; the first is the device under test. Beside the commands of targets.backend.control_guest
and targets.backend.misbehaviour_guest it takes those below. All take ``device``, a name; without it
hold, release and close mean all devices, the others the first.

================  ============================================================================
do                arguments and effect
================  ============================================================================
release           nudge (default true): make a thread fetch again, since the kernel wakes no
                  thread for the next subcommands of released commands
serving           result: whether the device is open
steps             on: whether ``step`` events are sent (they cost most of the throughput)
answer            handle (null: of the oldest held command), count, fields, as_handle, times:
                  carry held commands out and answer them wrongly, with fields of
                  targets.scst.user_guest.wrong, or with another command's handle, or several times.
                  Result: for each, handle and errors (the kernel's result of each reply: an errno's
                  name or null). A command is no longer held then; if the answer did not end it,
                  it can be answered again by its handle, and ``release`` answers it correctly
background        on: answer all but READs first with SCST_EXEC_REPLY_BACKGROUND, then finally
write_same        by: self, kernel or descriptors: the component that carries WRITE SAME out
flush_cache       SCST_USER_FLUSH_CACHE: make the kernel drop the buffers it keeps. It waits for
                  the commands in flight; event ``flushed``
capacity_changed  SCST_USER_DEVICE_CAPACITY_CHANGED; event ``capacity_changed``
prealloc          bytes, count, clustered: SCST_USER_PREALLOC_BUFFER; event ``preallocated`` with
                  handles
set_options       options: SCST_USER_SET_OPTIONS, other options unchanged; event ``options_set``
get_options       result: SCST_USER_GET_OPTIONS, in numbers
threads           count: of the threads that fetch commands, 0: no thread does; event ``threads``
multi             on: fetch several commands at a time; event ``multi``
unregister        SCST_USER_UNREGISTER_DEVICE, which only unblocks the threads; the
                  descriptor stays open; event ``unregistered``
register          spec: a device as in the argument; fields left out are those of the earlier
                  device of that name. Illegal values are passed to the kernel. Event
                  ``registered``, with words if the kernel refused
fork              a child keeps the descriptors open and sleeps; result: its pid
exit              exit at once, with the threads in the kernel
================  ============================================================================

Commands that may block have a thread of their own. Their result comes at their end, or after a
second: done, and then error (an errno's name or null) and seconds; ``close`` has these for each of
its ``devices``. Their end is always an event with the same fields; that of ``close`` is ``closed``.

Points are the names of the subcommands: PARSE, ALLOC_MEM, EXEC, ON_FREE_CMD, ON_CACHED_MEM_FREE,
TASK_MGMT_RECEIVED, TASK_MGMT_DONE, ATTACH_SESS, DETACH_SESS, EXT_COPY_REMAP. Besides the events of
results.events it emits ``session`` (action: attached or detached, session, lun, initiator,
target), ``tmr`` (stage: received or done, function, session, handles), ``refused`` (handle, error:
errno name) when the kernel does not accept an answer, ``misanswered`` (point, handle, as_handle,
fields, errors) for each ``answer``, ``continued`` after SIGCONT (the kernel restarts the ioctls,
and so gives itself their answers again), and those of targets.backend.witness_guest.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from targets.backend.control_guest import Channel
from targets.scst.user_guest.getter import CALL_OUT
from targets.scst.user_guest.server import Server, start
from targets.scst.user_spec import ProcessSpec


def main(argv: Sequence[str] | None = None) -> None:
    """Register the devices and serve them.

    Exits with one line that names the reason when it cannot.
    """
    argument, = sys.argv[1:] if argv is None else argv
    try:
        spec = ProcessSpec.parse(argument)
    except (ValueError, TypeError, KeyError) as error:
        raise SystemExit(f"the argument is wrong: {error}") from error
    signal.signal(CALL_OUT, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forked children need no wait(2)
    channel = Channel()
    server = Server(channel, spec.version_string)
    signal.signal(signal.SIGCONT, server.note_continuation)
    start(server, spec.devices)
    channel.emit("ready", device=spec.devices[0].name, pid=os.getpid(), witness=True,
                 devices=[device.name for device in spec.devices])
    channel.flush()
    server.run()
    os._exit(0)


if __name__ == "__main__":
    main()
