# SPDX-License-Identifier: GPL-2.0-or-later
"""Results of commands: status, sense data, and the exception that carries them."""

from __future__ import annotations

import struct
from typing import NamedTuple

GOOD, CHECK_CONDITION, BUSY, TASK_SET_FULL = 0x00, 0x02, 0x08, 0x28
"""Status codes: SAM-5 5.3.1."""

NO_SENSE, NOT_READY, ILLEGAL_REQUEST, MISCOMPARE = 0x0, 0x2, 0x5, 0xE
"""Sense keys: SPC-4 table 53."""

LOGICAL_UNIT_COMMUNICATION_FAILURE = 0x0800
PARAMETER_LIST_LENGTH_ERROR = 0x1A00
MISCOMPARE_DURING_VERIFY = 0x1D00
INVALID_OPCODE = 0x2000
LBA_OUT_OF_RANGE = 0x2100
INVALID_FIELD_IN_CDB = 0x2400
INVALID_FIELD_IN_PARAMETER_LIST = 0x2600
SAVING_PARAMETERS_NOT_SUPPORTED = 0x3900
"""Additional sense codes, qualifier in the low byte: SPC-4 table 54."""


class Answer(NamedTuple):
    """A command's result: SCSI status, data for the initiator, sense data."""

    status: int
    data: bytes = b""
    sense: bytes = b""


class CheckConditionError(Exception):
    """The command ends with CHECK CONDITION. ``code``: ASC and ASCQ in one number."""

    def __init__(
        self, key: int, code: int, *, field: tuple[int, int] | None = None,
        information: int | None = None,
    ) -> None:
        super().__init__(f"{key:02x}/{code >> 8:02x}/{code & 0xFF:02x}")
        self.sense = fixed_sense(key, code, field=field, information=information)


def fixed_sense(
    key: int, code: int = 0, *, field: tuple[int, int] | None = None,
    information: int | None = None,
) -> bytes:
    """Return fixed format sense data (SPC-4 4.5.3), 18 bytes.

    ``field``: the wrong byte, as (1 in the CDB or 0 in the parameters, offset). ``information``:
    value of the INFORMATION field.
    """
    valid = information is not None and information < 1 << 32
    specific = b"\0\0\0"
    if field is not None:  # sense key specific data: SKSV, C/D, field pointer
        specific = struct.pack(">BH", 0x80 | field[0] << 6, field[1])
    return struct.pack(
        ">BxBIB4xHx3s", 0x70 | valid << 7, key, (information or 0) if valid else 0, 10, code,
        specific)


def bad_opcode() -> CheckConditionError:
    """Return the error of an unsupported operation code."""
    return CheckConditionError(ILLEGAL_REQUEST, INVALID_OPCODE, field=(1, 0))


def bad_cdb(byte: int) -> CheckConditionError:
    """Return the error of a CDB with an invalid ``byte``."""
    return CheckConditionError(ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB, field=(1, byte))


def bad_parameter(byte: int) -> CheckConditionError:
    """Return the error of a parameter list with an invalid ``byte``."""
    return CheckConditionError(
        ILLEGAL_REQUEST, INVALID_FIELD_IN_PARAMETER_LIST, field=(0, byte))


def bad_length() -> CheckConditionError:
    """Return the error of a parameter list that ends too early."""
    return CheckConditionError(ILLEGAL_REQUEST, PARAMETER_LIST_LENGTH_ERROR)


def out_of_range(lba: int) -> CheckConditionError:
    """Return the error of a command from ``lba`` on that goes beyond the last block."""
    return CheckConditionError(ILLEGAL_REQUEST, LBA_OUT_OF_RANGE, information=lba)


def miscompare(offset: int) -> CheckConditionError:
    """Return the error of different data; ``offset``: of the first byte that differs."""
    return CheckConditionError(MISCOMPARE, MISCOMPARE_DURING_VERIFY, information=offset)
