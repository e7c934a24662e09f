# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend of a LUN on a block device: serves a RAM disk as a network block device.

Runs in the guest; stdlib only. For a target without a protocol for user-space backends, such as
tgt, that opens a block device. Executes the commands of targets.backend.control_guest and
targets.backend.misbehaviour_guest, except the duplicate completion "twice": the kernel disconnects
a server that answers a request twice. There is one point, EXEC: the target is executing the
command, and its READ or WRITE of the block device has not been answered. The SCSI command itself
cannot be seen here: ``opcode`` is READ(10)'s or WRITE(10)'s. The target itself answers commands
without data of the medium (INQUIRY, TEST UNIT READY ...); this program does not receive them.

Events besides those of control_guest and witness_guest: ``gone`` (reason): the kernel has
disconnected.
"""

from __future__ import annotations

import argparse
import select
from collections.abc import Callable, Sequence
from typing import Any

from targets.backend.control_guest import Channel
from targets.backend.disk import GOOD, Access, Opcode, RamDisk
from targets.backend.execution_guest import Execution, Task
from targets.backend.misbehaviour_guest import How, Misbehaviour
from targets.backend.nbd_guest import SOURCE, Connection, NbdDevice, Request, Type
from targets.backend.witness_guest import Witness

OPCODES = {Type.READ: Opcode.READ_10, Type.WRITE: Opcode.WRITE_10}


class Server:
    """Serves one device until the test closes the channel or sends ``exit``."""

    def __init__(self, channel: Channel, disk: RamDisk, device: NbdDevice) -> None:
        self._channel = channel
        self._disk = disk
        self._device: NbdDevice | None = device
        self._connection: Connection = device.connection
        self._connection.watch(Witness(channel, SOURCE), disk.size, disk.block_size)
        self._execution: Execution[Request] = Execution(channel, disk, self._carry_out)
        self._poll = select.poll()
        self._exiting = False
        self._orders: dict[str, Callable[..., Any]] = {
            **self._execution.orders, "misbehave": self.misbehave,
            "release": self._execution.release,
            "close": self.close, "exit": self.exit, "serving": self.serving,
        }

    def run(self) -> None:
        """Serve."""
        self._poll.register(self._channel.fd_in, select.POLLIN)
        self._poll.register(self._connection, select.POLLIN)
        self._channel.emit("ready", size=self._disk.size, witness=True)
        while not self._exiting:
            self._channel.flush()
            for descriptor, _ in self._poll.poll():
                if descriptor == self._channel.fd_in:
                    self._serve_test()
                elif self._device is not None:
                    self._receive()
        self._channel.flush()

    def _serve_test(self) -> None:
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
        way, lba = request.kind.name.lower(), request.offset // self._disk.block_size
        access = Access(way, lba, request.offset, request.length)
        self._execution.receive(request, access, opcode=OPCODES[request.kind], direction=way,
                                lba=lba, length=access.length)

    def _carry_out(self, task: Task[Request], order: Misbehaviour | None) -> None:
        access, request, misbehaviours = task.access, task.what, self._execution.misbehaviours
        assert access is not None
        data: bytes | memoryview = b""
        if request.kind is Type.READ:
            data = misbehaviours.source(order, access)
        elif order is None or order.how is not How.SKIP:
            self._disk.data[access.offset:access.end] = request.data
            misbehaviours.spoil(order, access)
        try:
            self._connection.answer(request, data)
        except OSError as error:  # the kernel has disconnected; the next receive reports that
            self._channel.emit("refused", handle=task.handle, error=str(error))
        else:
            self._execution.step("answered", task.facts, status=GOOD)

    def misbehave(self, how: str, **of: Any) -> None:
        """Accept an order to misbehave. Raises ValueError for a duplicate completion."""
        if how == How.TWICE:
            raise ValueError("the kernel disconnects a server that answers a request twice")
        self._execution.misbehaviours.order(how, **of)

    def close(self) -> None:
        """Disconnect the device; held commands fail."""
        if self._device is not None:
            self._drop()
            self._channel.emit("closed")

    def _drop(self) -> None:
        assert self._device is not None
        self._poll.unregister(self._connection)
        self._execution.forget()
        self._device.close()
        self._device = None

    def exit(self) -> None:
        """End the process once the command is answered."""
        self._exiting = True

    def serving(self) -> bool:
        """Return whether the device is connected."""
        return self._device is not None


def main(argv: Sequence[str]) -> int:
    """Serve the device named by the arguments."""
    parser = argparse.ArgumentParser(prog="tgt-backend", description=__doc__)
    parser.add_argument("--device", required=True, help="the network block device: /dev/nbd0")
    parser.add_argument("--medium", required=True, help="file that keeps the data")
    parser.add_argument("--size", type=int, required=True, help="bytes")
    parser.add_argument("--block-size", type=int, default=512, help="bytes")
    options = parser.parse_args(argv)
    # tgt itself answers INQUIRY: the disk's identity is never used.
    with RamDisk(options.medium, options.size, options.block_size,
                 vendor="", product="", serial="") as disk:
        device = NbdDevice(options.device, options.size, options.block_size)
        Server(Channel(), disk, device).run()
    return 0
