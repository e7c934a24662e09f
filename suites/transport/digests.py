"""What must come of a wrong digest (RFC 7143 7.8), and what targets make of it, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CLOSED = "closed"
REJECTED = "reject 0x02"
"""Data (payload) digest error (RFC 7143 11.17.1)."""

CRC_ERROR = "scsi response status 0x02 0b/47/05"
"""PROTOCOL SERVICE CRC ERROR (11.4.7.2)."""


@dataclass(frozen=True)
class Rule:
    """``words``: what must be; ``first``: what the target may say first, of which "" is nothing."""

    words: str
    first: tuple[str, ...]

    def met(self, said: tuple[str, ...]) -> bool:
        """Tell whether what was said is allowed."""
        return (said[0] if said else "") in self.first


HEADER = Rule("a header whose digest is wrong is dropped, or the connection", ("", CLOSED))
DATA = Rule("data whose digest is wrong are rejected, or the connection dropped",
            (REJECTED, CLOSED))
"""To drop the connection is what is left to a target at ErrorRecoveryLevel 0."""

IMMEDIATE = Rule("immediate data whose digest is wrong are rejected, or end the task",
                 (REJECTED, CLOSED, CRC_ERROR))
"""The standard has a Reject; the SCSI Response that ends the task tells the initiator as much."""

SOLICITED = Rule("data whose digest is wrong are rejected, asked for again, or end the task",
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
"""By the case's name (fixtures.initiator.raw.digests)."""

DOES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    **{target: dict.fromkeys(ALLOWED, (CLOSED,)) for target in ("lio", "tgt")},
    "scst": {
        **{name: (CLOSED,) for name in ALLOWED if name.startswith("header-")},
        **{name: (CRC_ERROR,) for name in ALLOWED if name.startswith("data-")},
        "data-nop": (),
    },
}
"""By target and case: all that it says. LIO (6.1) hangs up over all: it offers ErrorRecoveryLevel 0
only, as long as its TPG's parameter is not changed; so does tgt (1.0.85), and offers the same. SCST
(3.11.0-pre) says nothing to a NOP-Out."""
