# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend behind a block device, with the test at the kernel's end of its socket."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from targets.backend import nbd_guest
from targets.backend.block_guest import Server
from targets.backend.control_guest import Channel
from targets.backend.disk import RamDisk
from targets.backend.nbd_guest import REPLY, REPLY_MAGIC, REQUEST, REQUEST_MAGIC, Connection, Type

HEADER = Path("/usr/include/linux/nbd.h")
BLOCK = 512


class Kernel:
    """The kernel's side: issues requests, collects replies; and the test's own request channel."""

    def __init__(self, folder: Path) -> None:
        self.end, ours = socket.socketpair()
        self.end.settimeout(5)
        self.connection = Connection(ours)
        self.disk = RamDisk(str(folder / "medium"), 64 * BLOCK, BLOCK, vendor="", product="",
                            serial="")
        orders, self._orders = os.pipe()
        events, out = os.pipe()
        self._events = os.fdopen(events)
        self._numbers = iter(range(1000))
        self._server = Server(Channel(orders, out), self.disk, self)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        self.wait("ready")

    def close(self) -> None:
        """Close the connection, as NbdDevice does."""
        self.connection.close()

    def stop(self) -> None:
        """Close the request channel and wait for the server's end."""
        os.close(self._orders)
        self._thread.join(5)
        self._events.close()
        self.end.close()

    def issue(self, kind: int, cookie: int, block: int, blocks: int, data: bytes = b"") -> None:
        """Send a request of the block device."""
        self.end.sendall(
            REQUEST.pack(REQUEST_MAGIC, 0, kind, cookie, block * BLOCK, blocks * BLOCK) + data)

    def answer(self, bytes_read: int = 0) -> tuple[int, bytes]:
        """Return the next reply's cookie and data."""
        magic, error, cookie = REPLY.unpack(self.end.recv(REPLY.size, socket.MSG_WAITALL))
        assert (magic, error) == (REPLY_MAGIC, 0)
        return cookie, self.end.recv(bytes_read, socket.MSG_WAITALL) if bytes_read else b""

    def wait(self, kind: str, **data: Any) -> dict[str, Any]:
        """Return the next event of a kind with these data."""
        for line in self._events:
            event: dict[str, Any] = json.loads(line)
            if event["kind"] == kind and all(event.get(name) == value
                                             for name, value in data.items()):
                return event
        raise AssertionError(f"no {kind}")

    def give(self, do: str, **arguments: Any) -> int:
        """Send a request of the test and return its number."""
        number = next(self._numbers)
        os.write(self._orders, json.dumps({"id": number, "do": do, **arguments}).encode() + b"\n")
        return number

    def order(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request of the test and return the reply."""
        return self.wait("reply", id=self.give(do, **arguments))


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """Provide a server with both its ends."""
    made = Kernel(tmp_path)
    yield made
    made.stop()


def test_what_is_written_is_read(kernel: Kernel) -> None:
    kernel.issue(Type.WRITE, 7, 3, 2, b"x" * 2 * BLOCK)
    assert kernel.answer() == (7, b"")
    kernel.issue(Type.READ, 8, 4, 2)
    assert kernel.answer(2 * BLOCK) == (8, b"x" * BLOCK + bytes(BLOCK))
    step = kernel.wait("step", action="answered", direction="read")
    assert (step["point"], step["lba"], step["bytes"], step["opcode"]) == ("EXEC", 4, 1024, 0x28)


def test_writes_are_held_and_reads_pass(kernel: Kernel) -> None:
    kernel.order("hold", point="EXEC", count=2, direction="write")
    for cookie in (1, 2, 3):
        kernel.issue(Type.WRITE, cookie, cookie, 1, bytes([cookie]) * BLOCK)
    kernel.issue(Type.READ, 4, 1, 1)
    assert kernel.answer()[0] == 3
    assert kernel.answer(BLOCK) == (4, bytes(BLOCK))
    assert kernel.wait("held")["count"] == 2
    kernel.order("release")
    assert [kernel.answer()[0] for _ in "12"] == [1, 2]
    assert bytes(kernel.disk.data[BLOCK:3 * BLOCK]) == b"\1" * BLOCK + b"\2" * BLOCK


def test_what_is_held_when_it_closes_is_never_answered(kernel: Kernel) -> None:
    kernel.order("hold", point="EXEC", count=1)
    kernel.issue(Type.WRITE, 1, 0, 1, bytes(BLOCK))
    kernel.wait("held")
    assert kernel.order("serving")["result"] is True
    kernel.order("close")
    assert kernel.end.recv(1) == b""
    kernel.order("release")
    assert kernel.order("serving")["result"] is False


@pytest.mark.parametrize("disconnects", [True, False])
def test_the_kernel_disconnects(kernel: Kernel, disconnects: bool) -> None:
    if disconnects:
        kernel.issue(Type.DISC, 0, 0, 0)
    else:
        kernel.end.shutdown(socket.SHUT_WR)
    assert "the kernel has" in kernel.wait("gone")["reason"]
    assert kernel.order("serving")["result"] is False


def test_misbehaviours(kernel: Kernel) -> None:
    twice = kernel.order("misbehave", how="twice", count=1, direction="write")
    assert "disconnects" in twice["error"]
    kernel.order("misbehave", how="skip", count=1, direction="write")
    kernel.issue(Type.WRITE, 1, 0, 1, b"x" * BLOCK)
    assert kernel.answer()[0] == 1
    assert bytes(kernel.disk.data[:BLOCK]) == bytes(BLOCK)
    kernel.order("misbehave", how="drop", count=1, direction="write")
    kernel.issue(Type.WRITE, 2, 0, 1, b"y" * BLOCK)
    kernel.wait("lied", how="drop")
    kernel.order("behave")
    kernel.order("release")
    assert kernel.answer()[0] == 2
    assert bytes(kernel.disk.data[:BLOCK]) == b"y" * BLOCK


BREACHES: dict[str, tuple[str, list[dict[str, int]]]] = {
    "magic": ("request-magic", [{"magic": 1}]),
    "type": ("request-type", [{"kind": 5}]),
    "flags": ("request-type", [{"kind": Type.READ, "flags": 1}]),
    "beyond the end": ("request-place", [{"kind": Type.READ, "at": 64 * BLOCK}]),
    "no whole block": ("request-place", [{"kind": Type.READ, "length": 100}]),
    "no bytes": ("request-place", [{"kind": Type.READ, "length": 0}]),
    "after the disconnect": ("after-disconnect", [
        {"kind": Type.DISC}, {"kind": Type.READ}]),
}


@pytest.mark.parametrize(("rule", "requests"), BREACHES.values(), ids=BREACHES)
def test_a_kernel_that_breaks_the_protocol(
    kernel: Kernel, rule: str, requests: list[dict[str, int]],
) -> None:
    kernel.end.sendall(b"".join(
        REQUEST.pack(each.get("magic", REQUEST_MAGIC), each.get("flags", 0),
                     each.get("kind", Type.READ), 1, each.get("at", 0), each.get("length", BLOCK))
        for each in requests))
    event = kernel.wait("breach")
    assert (event["rule"], event["provoked"]) == (rule, False)


def test_a_cookie_that_comes_twice(kernel: Kernel) -> None:
    kernel.order("hold", point="EXEC", count=1, direction="read")
    for cookie in (7, 8, 7):
        kernel.issue(Type.READ, cookie, 1, 1)
    event = kernel.wait("breach")
    assert (event["rule"], event["handle"], event["point"]) == ("handle-twice", 7, "READ")


def test_a_kernel_that_keeps_to_the_protocol(kernel: Kernel) -> None:
    for cookie in (1, 2, 1):
        kernel.issue(Type.WRITE, cookie, 63, 1, bytes(BLOCK))
        assert kernel.answer()[0] == cookie
    kernel.issue(Type.DISC, 0, 0, 0)
    kinds = []
    for line in kernel._events:
        event = json.loads(line)
        kinds.append(event["kind"])
        if event["kind"] == "watched" and event["entries"] == 4:
            break
    assert "breach" not in kinds


@pytest.mark.skipif(not HEADER.exists(), reason="linux-libc-dev is not installed")
def test_numbers_are_the_headers() -> None:
    text = HEADER.read_text()
    ioctls = dict(re.findall(r"#define (NBD_\w+)\s+_IO\( ?0xab, (\d+) ?\)", text))
    names = [name for name in vars(nbd_guest) if name.startswith("NBD_")]
    assert names
    for name in names:
        assert getattr(nbd_guest, name) == 0xAB00 + int(ioctls[name]), name
    for name, value in (("REQUEST", REQUEST_MAGIC), ("REPLY", REPLY_MAGIC)):
        assert f"#define NBD_{name}_MAGIC {value:#x}" in text
    for kind in Type:
        assert re.search(rf"NBD_CMD_{kind.name} = {kind.value}\b", text)


def test_an_answer_that_nobody_hears(kernel: Kernel) -> None:
    kernel.order("hold", point="EXEC", count=1)
    kernel.issue(Type.WRITE, 1, 0, 1, b"x" * BLOCK)
    kernel.wait("held")
    kernel.end.shutdown(socket.SHUT_RD)
    kernel.give("release")
    assert "Broken pipe" in kernel.wait("refused", handle=1)["error"]
    assert kernel.order("serving")["ok"]
