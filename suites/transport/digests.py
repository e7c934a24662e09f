# SPDX-License-Identifier: GPL-2.0-or-later
"""Allowed responses to a wrong header or data digest (RFC 7143 7.8), as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CLAUSE = "RFC 7143 7.8"

CLOSED = "closed"
REJECTED = "reject 0x02"
"""Data (payload) digest error (RFC 7143 11.17.1)."""

CRC_ERROR = "scsi response status 0x02 0b/47/05"
"""PROTOCOL SERVICE CRC ERROR (11.4.7.2)."""


@dataclass(frozen=True)
class Rule:
    """An expectation for one kind of digest error.

    ``words``: the expectation's text. ``first``: first responses that meet it; "": no response.
    """

    words: str
    first: tuple[str, ...]

    def met(self, answers: tuple[str, ...]) -> bool:
        """Return whether a target's responses are allowed."""
        return (answers[0] if answers else "") in self.first


HEADER = Rule("a header whose digest is wrong is dropped, or the connection", ("", CLOSED))
DATA = Rule("data whose digest is wrong are rejected, or the connection dropped",
            (REJECTED, CLOSED))
"""At ErrorRecoveryLevel 0 a target may drop the connection."""

IMMEDIATE = Rule("immediate data whose digest is wrong are rejected, or end the task",
                 (REJECTED, CLOSED, CRC_ERROR))
"""The standard requires a Reject. A SCSI Response that ends the task carries the same information.
"""

SOLICITED = Rule("data whose digest is wrong are rejected, requested again, or end the task",
                 (REJECTED, CLOSED, "r2t", CRC_ERROR))

ALLOWED: Mapping[str, Rule] = {
    "header-nop": HEADER,
    "header-command": HEADER,
    "header-immediate-data": HEADER,
    "header-data-out": HEADER,
    "data-nop": DATA,
    "data-immediate-data": IMMEDIATE,
    "data-data-out": SOLICITED,
    "data-immediate-data-erl1": IMMEDIATE,
    "data-data-out-erl1": SOLICITED,
}
"""Rules by the name of the case (fixtures.initiator.raw.digests_guest)."""
