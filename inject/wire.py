"""What an initiator sends is wrong: PDUs that break RFC 7143, digests that do not fit, commands
that do not mean what they say; or it ends in the middle of it.

Not done to the target's machine or backend but by an initiator of the story's own, while another
one's session to the same target must not suffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inject.fault import ISCSI, Held, Needs, Subject
from results.errors import WrongUsageError


@dataclass(frozen=True)
class Wire:
    """One kind of them; a story sends them (suites.transport.stories and broken, suites.commands).

    ``moment``, ``end``: when a session breaks, and how, if that is what it is.
    """

    name: str
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.ANSWERED
    errors: tuple[str, ...] = ()
    """With what another session's I/O may fail: with nothing."""
    moment: str = ""
    end: str = ""
    needs: Needs = ISCSI

    def fire(self, subject: Subject, deadline: float) -> None:
        """Raise WrongUsageError: nothing here sends PDUs."""
        raise WrongUsageError(f"{self.name} needs a story of its own, and an initiator")

    def undo(self, subject: Subject, deadline: float) -> None:
        """Nothing: the initiator hangs up by itself."""


MALFORMED = Wire("malformed-pdus")
DIGESTS = Wire("wrong-digests")
COMMANDS = Wire("odd-commands")

BREAKS: Mapping[str, tuple[str, ...]] = {
    "login-torn": ("close", "reset", "silent"),
    "login-begun": ("close", "reset", "silent"),
    "data-out": ("close", "reset", "silent"),
    "data-out-torn": ("close", "reset", "silent"),
    "data-in": ("close", "reset", "silent", "stuffed"),
}
"""Moments at which a session breaks, and how (fixtures.initiator.raw.broken has both). Its tasks
are terminated with it (RFC 7143 11.14.5), and its initiator port may make it anew at any time: what
the target still has of the old one goes then (session reinstatement, 6.3.5). One that is not read
from is not broken: it has only to wait."""

BROKEN: Mapping[str, Wire] = {
    f"broken-{moment}-{end}": Wire(f"broken-{moment}-{end}", moment=moment, end=end)
    for moment, ends in BREAKS.items() for end in ends}

WIRE = (MALFORMED, DIGESTS, COMMANDS, *BROKEN.values())
