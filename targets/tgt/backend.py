"""The backend of a tgt LUN: serves a RAM disk as a network block device.

Runs in the guest; stdlib only. Obeys the commands of targets.backend.control and
targets.backend.lies, all but the lie "twice": the kernel hangs up on who answers a request twice.
There is one point, EXEC: tgt is executing the command, and its READ or WRITE of the block device
has not been answered. Which SCSI command that was cannot be seen here: ``opcode`` is READ(10)'s or
WRITE(10)'s. Commands without data of the medium (INQUIRY, TEST UNIT READY ...) are tgt's own
affair and do not come here.

Beside the events listed there it emits ``gone``: reason: the kernel has disconnected.
"""

from __future__ import annotations

import argparse
import itertools
import select
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from targets.backend.control import Channel, Holds
from targets.backend.disk import GOOD, Access, Opcode, RamDisk
from targets.backend.lies import How, Lie, Lies
from targets.tgt.nbd import Connection, NbdDevice, Request, Type

POINT = "EXEC"

OPCODES = {Type.READ: Opcode.READ_10, Type.WRITE: Opcode.WRITE_10}


class Task(NamedTuple):
    """A request on its way."""

    handle: int
    request: Request
    access: Access
    facts: dict[str, Any]


class Server:
    """Serves one device until the test hangs up or says exit."""

    def __init__(self, channel: Channel, disk: RamDisk, device: NbdDevice) -> None:
        self._channel = channel
        self._disk = disk
        self._device: NbdDevice | None = device
        self._connection: Connection = device.connection
        self._holds = Holds(channel)
        self._held: dict[int, Task] = {}
        self._lies = Lies(channel, disk)
        self._dropped: list[Task] = []
        self._handles = itertools.count(1)
        self._poll = select.poll()
        self._exiting = False
        self._orders: dict[str, Callable[..., Any]] = {
            "hold": self._holds.order, "release": self.release, "close": self.close,
            "exit": self.exit, "serving": self.serving, "lie": self.lie, "truth": self._lies.stop,
        }

    def run(self) -> None:
        """Serve."""
        self._poll.register(self._channel.fd_in, select.POLLIN)
        self._poll.register(self._connection, select.POLLIN)
        self._channel.emit("ready", size=self._disk.size)
        while not self._exiting:
            self._channel.flush()
            for descriptor, _ in self._poll.poll():
                if descriptor == self._channel.fd_in:
                    self._obey()
                elif self._device is not None:
                    self._receive()
        self._channel.flush()

    def _obey(self) -> None:
        try:
            self._channel.serve(self._orders)
        except EOFError:
            self._exiting = True

    def _receive(self) -> None:
        try:
            request = self._connection.receive()
        except (EOFError, OSError) as error:
            self._channel.emit("gone", reason=str(error))
            self._drop()
            return
        handle, opcode = next(self._handles), OPCODES[request.kind]
        way = request.kind.name.lower()
        access = Access(way, request.offset // self._disk.block_size, request.offset,
                        request.length)
        facts = {"direction": way, "lba": access.lba, "bytes": access.length,
                 "handle": handle, "opcode": int(opcode)}
        self._channel.emit("step", point=POINT, action="received", **facts)
        task = Task(handle, request, access, facts)
        if self._holds.takes(POINT, handle, opcode, way):
            self._held[handle] = task
            self._channel.emit("step", point=POINT, action="held", **facts)
        else:
            self._execute(task)

    def _execute(self, task: Task) -> None:
        lie = None
        if self._lies.armed:
            lie = self._lies.pick(task.handle, task.facts["opcode"], task.access)
        if lie is not None and lie.how is How.DROP:
            self._dropped.append(task)
            return
        self._transfer(task, lie)
        self._channel.emit("step", point=POINT, action="answered", status=GOOD, **task.facts)

    def _transfer(self, task: Task, lie: Lie | None) -> None:
        """Move the data, and answer."""
        access, request = task.access, task.request
        if request.kind is Type.READ:
            self._connection.answer(request, self._lies.source(lie, access))
            return
        if lie is None or lie.how is not How.SKIP:
            self._disk.data[access.offset:access.end] = request.data
            self._lies.spoil(lie, access)
        self._connection.answer(request)

    def lie(self, how: str, **of: Any) -> None:
        """Take an order to lie."""
        if how == How.TWICE:
            raise ValueError("the kernel hangs up on who answers a request twice")
        self._lies.order(how, **of)

    def release(self) -> None:
        """Let held requests go on, oldest first, and before them those that were dropped."""
        held = [self._held.pop(handle, None) for handle in self._holds.release()]
        dropped: list[Task] = []
        if not self._lies.armed:
            dropped, self._dropped = self._dropped, dropped
        for task in (*dropped, *held):
            if task is not None and self._device is not None:
                self._execute(task)

    def close(self) -> None:
        """Disconnect the device; what is held fails."""
        if self._device is not None:
            self._drop()
            self._channel.emit("closed")

    def _drop(self) -> None:
        assert self._device is not None
        self._poll.unregister(self._connection)
        self._held.clear()
        self._dropped.clear()
        self._device.close()
        self._device = None

    def exit(self) -> None:
        """Leave once the command is answered."""
        self._exiting = True

    def serving(self) -> bool:
        """Tell whether the device is connected."""
        return self._device is not None


def main(argv: Sequence[str]) -> int:
    """Serve the device that the arguments name."""
    parser = argparse.ArgumentParser(prog="tgt-backend", description=__doc__)
    parser.add_argument("--device", required=True, help="the network block device: /dev/nbd0")
    parser.add_argument("--medium", required=True, help="file that keeps the data")
    parser.add_argument("--size", type=int, required=True, help="bytes")
    parser.add_argument("--block-size", type=int, default=512, help="bytes")
    options = parser.parse_args(argv)
    # tgt itself answers INQUIRY: the disk's identity is never asked for.
    with RamDisk(options.medium, options.size, options.block_size,
                 vendor="", product="", serial="") as disk:
        device = NbdDevice(options.device, options.size, options.block_size)
        Server(Channel(), disk, device).run()
    return 0
