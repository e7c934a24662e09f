# SPDX-License-Identifier: GPL-2.0-or-later
"""Replies to TCMU over generic netlink (enum tcmu_genl_cmd, uapi/linux/target_core_user.h).

Runs in the guest; stdlib only.
"""

from __future__ import annotations

import socket
import struct

FAMILY = b"TCM-USER\0"
NETLINK_GENERIC = 16
GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 16, 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 1, 2
REQUEST_ACK = 5  # NLM_F_REQUEST | NLM_F_ACK
NLMSG_ERROR = 2

ADDED_DEVICE_DONE, REMOVED_DEVICE_DONE, RECONFIG_DEVICE_DONE = 4, 5, 6
ATTR_CMD_STATUS, ATTR_DEVICE_ID = 7, 8

REPLY_IN = 2.0
"""Seconds within which the kernel acknowledges a message; it does so before sendmsg returns."""


def attribute(kind: int, data: bytes, length: int | None = None) -> bytes:
    """Return an attribute; ``length``: a wrong one in its header, in place of its own."""
    own = 4 + len(data)
    return struct.pack("=HH", own if length is None else length, kind) + data + bytes(-own % 4)


def message(family: int, command: int, attributes: bytes) -> bytes:
    """Return a generic netlink message."""
    body = struct.pack("=BBH", command, 2, 0) + attributes
    return struct.pack("=IHHII", 16 + len(body), family, REQUEST_ACK, 1, 0) + body


def exchange(link: socket.socket, data: bytes) -> tuple[int, bytes]:
    """Send a message; return the kernel's errno (0: none), and the first message it sent back."""
    link.send(data)
    first = b""
    while True:
        answer = link.recv(65536)
        _, kind = struct.unpack_from("=IH", answer)
        if kind == NLMSG_ERROR:
            return -struct.unpack_from("=i", answer, 16)[0], first
        first = first or answer


def connect() -> tuple[socket.socket, int]:
    """Return a socket, and TCMU's family on it. Raises OSError when there is none."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC)
    link.settimeout(REPLY_IN)
    error, answer = exchange(link, message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY,
                                           attribute(CTRL_ATTR_FAMILY_NAME, FAMILY)))
    if error:
        raise OSError(error, "no netlink family of TCMU")
    at = 20
    while at < len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == CTRL_ATTR_FAMILY_ID:
            return link, struct.unpack_from("=H", answer, at + 4)[0]
        at += length + (-length % 4)
    raise OSError(0, "the netlink family of TCMU has no number")
