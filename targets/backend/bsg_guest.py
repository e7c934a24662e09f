# SPDX-License-Identifier: GPL-2.0-or-later
"""SCSI commands to a device that has no driver: SG_IO on its node in /dev/bsg (linux/bsg.h).

Runs in the guest; stdlib only.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

SG_IO = 0x2285
TIMEOUT_MS = 30_000
"""Longer than any bound of a case: the midlayer's error handling does not take part."""

INQUIRY_PROCESSOR = bytes((3, 0, 6, 2, 31, 0, 0, 0)) + b"STF     INTERFACE       0001"
"""Standard INQUIRY data (SPC-4 6.6.2) of a processor device: Linux has no driver for it."""


class SgIoV4(ctypes.Structure):
    """struct sg_io_v4 of linux/bsg.h."""

    _fields_ = (
        ("guard", ctypes.c_int32), ("protocol", ctypes.c_uint32),
        ("subprotocol", ctypes.c_uint32), ("request_len", ctypes.c_uint32),
        ("request", ctypes.c_uint64), ("request_tag", ctypes.c_uint64),
        ("request_attr", ctypes.c_uint32), ("request_priority", ctypes.c_uint32),
        ("request_extra", ctypes.c_uint32), ("max_response_len", ctypes.c_uint32),
        ("response", ctypes.c_uint64), ("dout_iovec_count", ctypes.c_uint32),
        ("dout_xfer_len", ctypes.c_uint32), ("din_iovec_count", ctypes.c_uint32),
        ("din_xfer_len", ctypes.c_uint32), ("dout_xferp", ctypes.c_uint64),
        ("din_xferp", ctypes.c_uint64), ("timeout", ctypes.c_uint32), ("flags", ctypes.c_uint32),
        ("usr_ptr", ctypes.c_uint64), ("spare_in", ctypes.c_uint32),
        ("driver_status", ctypes.c_uint32), ("transport_status", ctypes.c_uint32),
        ("device_status", ctypes.c_uint32), ("retry_delay", ctypes.c_uint32),
        ("info", ctypes.c_uint32), ("duration", ctypes.c_uint32),
        ("response_len", ctypes.c_uint32), ("din_resid", ctypes.c_int32),
        ("dout_resid", ctypes.c_int32), ("generated_tag", ctypes.c_uint64),
        ("spare_out", ctypes.c_uint32), ("padding", ctypes.c_uint32),
    )


def node(address: str) -> Path:
    """Return the node of a SCSI device, by its host, channel, target and LUN ("2:0:0:1")."""
    return Path("/dev/bsg") / address


def issue(address: str, cdb: bytes, *, written: int = 0, read: int = 0) -> int:
    """Issue a command and return its SCSI status. Raises OSError.

    ``written``, ``read``: bytes of data to and from the device.
    """
    request = ctypes.create_string_buffer(cdb, len(cdb))
    sense = ctypes.create_string_buffer(96)
    data = ctypes.create_string_buffer(max(written, read, 1))
    header = SgIoV4(
        guard=ord("Q"), request_len=len(cdb), request=ctypes.addressof(request),
        max_response_len=len(sense), response=ctypes.addressof(sense), timeout=TIMEOUT_MS,
        dout_xfer_len=written, dout_xferp=ctypes.addressof(data) if written else 0,
        din_xfer_len=read, din_xferp=ctypes.addressof(data) if read else 0)
    fd = os.open(node(address), os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, SG_IO, header)
    finally:
        os.close(fd)
    return int(header.device_status)


def wait_node(address: str, seconds: float) -> bool:
    """Wait until a SCSI device has appeared; return whether it has."""
    end = time.monotonic() + seconds
    while not node(address).exists() and time.monotonic() < end:
        time.sleep(0.005)
    return node(address).exists()


def delete(address: str) -> None:
    """Remove a SCSI device from the initiator; do nothing if there is none."""
    with suppress(OSError):
        fd = os.open(f"/sys/class/scsi_device/{address}/device/delete", os.O_WRONLY)
        try:
            os.write(fd, b"1")
        finally:
            os.close(fd)
