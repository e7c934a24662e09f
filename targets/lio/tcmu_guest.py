# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCMU backend: serves a RAM disk over a uio device of target_core_user.

Runs in the guest; stdlib only. Executes the commands of targets.backend.control_guest and
targets.backend.misbehaviour_guest; TCMU has one point, EXEC: the command has been read from the
ring and not been answered. Besides the events of these two modules it emits

- ``tmr``: function, handles (of held commands) and aborted (number of commands): a task
  management request reported by TCMU; held commands stay held.
- ``gone``: reason: the kernel removed the device; the process continues.
- ``refused``: handle, error: a command cannot be answered, because a command that was answered
  twice has used up its entry.
- those of targets.backend.witness_guest.

A ``step`` may be "given up" in place of "answered": TCMU had ended the command by itself.
"""

from __future__ import annotations

import argparse
import mmap
import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targets.backend.control_guest import Channel
from targets.backend.disk import CHECK_CONDITION, GOOD, Access, RamDisk, direction, extent
from targets.backend.disk.sense import (
    LOGICAL_UNIT_COMMUNICATION_FAILURE,
    NOT_READY,
    bad_length,
    fixed_sense,
)
from targets.backend.execution_guest import Execution, Task
from targets.backend.misbehaviour_guest import How, Misbehaviour
from targets.backend.witness_guest import Witness
from targets.lio.ring_guest import TMR_NAMES, BrokenRingError, Command, Ring, TaskManagement
from targets.lio.ring_rules_guest import SOURCE

UIO_CLASS = Path("/sys/class/uio")

KICK = bytes(4)
"""Bytes that report a moved tail to the kernel (uio_write requires 4 bytes; tcmu_irqcontrol ignores
their value)."""

GIVEN_UP = fixed_sense(NOT_READY, LOGICAL_UNIT_COMMUNICATION_FAILURE)
"""Sense data with which the kernel ends timed-out commands (tcmu_check_expired_ring_cmd,
target_core_user.c)."""

ABOUT_TO = 0.2
"""A command counts as given up from this many seconds before its time-out on: TCMU's timer for the
command started before the command was read from the ring."""


class Uio:
    """An open uio device of TCMU and its shared memory; ``name`` as in sysfs.

    ``reset``: status with which to end an earlier backend's unanswered commands before the ring is
    read: 1 for BUSY, 2 for CHECK CONDITION; ``backstore`` is the device's configfs directory.
    Raises FileNotFoundError when there is no such device, OSError when it is in use.
    """

    def __init__(self, name: str, reset: int | None = None, backstore: str = "") -> None:
        entry = next(
            (entry for entry in UIO_CLASS.glob("uio*")
             if (entry / "name").read_text().strip() == name), None)
        if entry is None:
            raise FileNotFoundError(f"no uio device is named {name}")
        size = int((entry / "maps/map0/size").read_text(), 0)
        with ExitStack() as undo:
            self.fd = os.open(f"/dev/{entry.name}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            undo.callback(os.close, self.fd)
            if reset is not None:
                (Path(backstore) / "action/reset_ring").write_text(str(reset))
            self._map = mmap.mmap(self.fd, size)
            undo.callback(self._map.close)
            self.ring = Ring(self._map)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Close the device, with the mapping and its duplicate of the descriptor.

        With any of these left, the device remains open for the kernel.
        """
        self.ring.close()
        self._undo.close()

    def acknowledge(self) -> None:
        """Acknowledge a wake-up. Raises OSError when the kernel has removed the device."""
        with suppress(BlockingIOError):
            os.read(self.fd, 4)

    def kick(self) -> None:
        """Notify the kernel of answers."""
        self.ring.skip()
        os.write(self.fd, KICK)


@dataclass(frozen=True)
class Options:
    """The arguments of ``main``."""

    name: str
    medium: str
    size: int
    block_size: int
    vendor: str
    product: str
    serial: str
    reset_ring: int | None
    backstore: str
    time_out: float


class Server:
    """Serves one device until the test closes the channel or sends ``exit``.

    ``time_out``: seconds after which TCMU gives a command up, 0 for never.
    """

    def __init__(
        self, channel: Channel, disk: RamDisk, uio: Uio, *, time_out: float = 0.0,
    ) -> None:
        self._time_out = time_out
        self._channel = channel
        self._disk = disk
        self._uio: Uio | None = uio
        uio.ring.watch(Witness(channel, SOURCE))
        self._execution: Execution[Command] = Execution(channel, disk, self._carry_out)
        self._entries_short = False
        self._poll = select.poll()
        self._exiting = False
        self._orders: dict[str, Callable[..., Any]] = {
            **self._execution.orders, "release": self.release, "close": self.close,
            "exit": self.exit, "serving": self.serving, "ring": self.ring,
        }

    def run(self) -> None:
        """Serve."""
        assert self._uio is not None
        self._poll.register(self._channel.fd_in, select.POLLIN)
        self._poll.register(self._uio.fd, select.POLLIN)
        self._channel.emit("ready", size=self._disk.size, witness=True)
        self._drain()  # commands that came before the device was open caused no wake-up
        while not self._exiting:
            self._channel.flush()
            self._turn(self._poll.poll())
        self._channel.flush()

    def _turn(self, ready: list[tuple[int, int]]) -> None:
        for descriptor, _ in ready:
            if descriptor == self._channel.fd_in:
                try:
                    self._channel.serve(self._orders)
                except EOFError:
                    self._exiting = True
            elif self._uio is not None and descriptor == self._uio.fd:
                self._wake()

    def _wake(self) -> None:
        assert self._uio is not None
        try:
            self._uio.acknowledge()
            self._drain()
        except OSError as error:  # uio_read: EIO once the device is unregistered
            self._channel.emit("gone", reason=str(error))
            self._drop()

    def _drain(self) -> None:
        """Process all entries of the ring, then notify the kernel once."""
        assert self._uio is not None
        entries = 0
        for entries, entry in enumerate(self._uio.ring.take(), 1):  # noqa: B007
            if isinstance(entry, Command):
                self._receive(entry)
            else:
                self._note(entry)
        if entries:
            self._uio.kick()

    def _receive(self, command: Command) -> None:
        cdb = command.cdb
        access = self._disk.decode(cdb)
        if access is not None:
            self._execution.receive(command, access, opcode=cdb[0], direction=access.direction,
                                    lba=access.lba, length=access.length)
        else:
            self._execution.receive(command, None, opcode=cdb[0], direction=direction(cdb),
                                    lba=extent(cdb)[0],
                                    length=sum(length for _, length in command.iov))

    def _carry_out(self, task: Task[Command], order: Misbehaviour | None) -> None:
        assert self._uio is not None
        try:
            if self._given_up(task):
                self._uio.ring.complete(task.what.cmd_id, CHECK_CONDITION, GIVEN_UP)
                self._execution.step("given up", task.facts)
                return
            if task.access is None:
                status = self._control(self._uio.ring, task.what)
            else:
                status = self._transfer(self._uio.ring, task.what, task.access, order)
            self._execution.step("answered", task.facts, status=status)
            if order is not None and order.how is How.TWICE:
                self._answer_again(self._uio.ring, task)
        except BrokenRingError as error:
            if not self._entries_short:
                raise
            self._channel.emit("refused", handle=task.handle, error=str(error))

    def _given_up(self, task: Task[Command]) -> bool:
        """Return whether TCMU has ended a command by itself, or is about to.

        TCMU cannot revoke the command (tcmu_check_expired_ring_cmd, target_core_user.c): a handler
        that then carried it out would overwrite later writes. Its entry of the ring has to be
        completed all the same.
        """
        held = time.monotonic() - task.since
        return bool(self._time_out) and held > self._time_out - ABOUT_TO

    def _transfer(
        self, ring: Ring, command: Command, access: Access, order: Misbehaviour | None,
    ) -> int:
        """Move a READ's or WRITE's data, and answer it.

        LIO passes a CDB on with a buffer of the initiator's expected length, and does not compare
        the two. A buffer shorter than the CDB's length is refused, since a READ's initiator would
        not learn of the missing data.
        """
        room = sum(length for _, length in command.iov)
        if room < access.length:
            ring.complete(command.cmd_id, CHECK_CONDITION, bad_length().sense)
            return CHECK_CONDITION
        if access.direction == "read":
            data = self._execution.misbehaviours.source(order, access)
            if room > access.length:  # the pages still hold the data of earlier commands
                data = memoryview(bytes(data).ljust(room, b"\0"))
            self._scatter(ring, command, data)
            ring.complete(command.cmd_id, GOOD, b"",
                          access.length if room > access.length else None)
            return GOOD
        if order is None or order.how is not How.SKIP:
            self._gather(ring, command, access)
            self._execution.misbehaviours.spoil(order, access)
        ring.complete(command.cmd_id, GOOD)
        return GOOD

    def _answer_again(self, ring: Ring, task: Task[Command]) -> None:
        """Answer a command a second time, in the entry of another command."""
        self._entries_short = True
        ring.provoke()
        ring.complete(task.what.cmd_id, GOOD)
        self._execution.step("answered", task.facts, status=GOOD)

    def _control(self, ring: Ring, command: Command) -> int:
        way, data_out = direction(command.cdb), b""
        if way == "write":
            data_out = b"".join(
                bytes(ring.area[start:start + length]) for start, length in command.iov)
        status, data, sense = self._disk.control(command.cdb, data_out)
        read_len = None
        if way == "read":
            room = sum(length for _, length in command.iov)
            read_len = min(len(data), room)
            # The pages still hold the data of earlier commands.
            self._scatter(ring, command, memoryview(data.ljust(room, b"\0")))
        ring.complete(command.cmd_id, status, sense, read_len)
        return status

    def _gather(self, ring: Ring, command: Command, access: Access) -> None:
        """Copy a WRITE's data to the medium."""
        at, end, data, area = access.offset, access.end, self._disk.data, ring.area
        for start, piece in command.iov:
            length = min(piece, end - at)
            data[at:at + length] = area[start:start + length]
            at += length

    def _scatter(self, ring: Ring, command: Command, data: memoryview) -> None:
        """Copy data for the initiator to the command's buffers."""
        at, area = 0, ring.area
        for start, room in command.iov:
            piece = data[at:at + room]
            area[start:start + len(piece)] = piece
            at += room

    def _note(self, request: TaskManagement) -> None:
        handles = [handle for handle, task in self._execution.held.items()
                   if task.what.cmd_id in request.cmd_ids]
        self._channel.emit("tmr", function=TMR_NAMES.get(request.kind, str(request.kind)),
                           handles=handles, aborted=len(request.cmd_ids))

    def release(self) -> None:
        """Carry out held and dropped commands."""
        if self._execution.release() and self._uio is not None:
            self._uio.kick()

    def close(self) -> None:
        """Close the device; held commands stay unanswered."""
        if self._uio is not None:
            self._drop()
            self._channel.emit("closed")

    def _drop(self) -> None:
        assert self._uio is not None
        self._poll.unregister(self._uio.fd)
        self._execution.forget()
        self._uio.close()
        self._uio = None

    def exit(self) -> None:
        """End the process once the command is answered."""
        self._exiting = True

    def ring(self) -> dict[str, int]:
        """Return the ring's pointers, and the number of held commands."""
        if self._uio is None:
            raise ValueError("the device is closed")
        return {**self._uio.ring.pointers(), "held": len(self._execution.held)}

    def serving(self) -> bool:
        """Return whether the device is open."""
        return self._uio is not None


def parse(argv: Sequence[str]) -> Options:
    """Return the parsed arguments. Raises SystemExit when they are wrong."""
    parser = argparse.ArgumentParser(prog="tcmu", description=__doc__)
    parser.add_argument("--name", required=True, help="name of the uio device")
    parser.add_argument("--medium", required=True, help="file that keeps the data")
    parser.add_argument("--size", type=int, required=True, help="bytes")
    parser.add_argument("--block-size", type=int, default=512, help="bytes")
    parser.add_argument("--vendor", required=True)
    parser.add_argument("--product", required=True)
    parser.add_argument("--serial", required=True)
    parser.add_argument("--time-out", type=float, default=0.0, help="seconds; 0: none")
    parser.add_argument("--reset-ring", type=int, choices=(1, 2), default=None)
    parser.add_argument("--backstore", default="", help="configfs directory of the device")
    return Options(**vars(parser.parse_args(argv)))


def main(argv: Sequence[str]) -> int:
    """Serve the device named by the arguments."""
    options = parse(argv)
    with RamDisk(options.medium, options.size, options.block_size,
                 vendor=options.vendor, product=options.product, serial=options.serial) as disk:
        uio = Uio(options.name, options.reset_ring, options.backstore)
        server = Server(Channel(), disk, uio, time_out=options.time_out)
        server.run()
        if server.serving():
            uio.close()
    return 0
