"""What an initiator sends is wrong: PDUs that break RFC 7143, digests that do not fit, commands
that do not mean what they say.

Not done to the target's machine or backend but by an initiator of the story's own, while another
one's session to the same target must not suffer.
"""

from __future__ import annotations

from dataclasses import dataclass

from inject.fault import Held, Needs, Subject
from results.errors import WrongUsageError

ISCSI = Needs(transports=frozenset({"iscsi"}))


@dataclass(frozen=True)
class Wire:
    """One kind of them; the story (suites.transport.stories, suites.commands.story) sends them."""

    name: str
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.ANSWERED
    errors: tuple[str, ...] = ()
    """With what another session's I/O may fail: with nothing."""
    needs: Needs = ISCSI

    def fire(self, subject: Subject, deadline: float) -> None:
        """Raise WrongUsageError: nothing here sends PDUs."""
        raise WrongUsageError(f"{self.name} needs a story of its own, and an initiator")

    def undo(self, subject: Subject, deadline: float) -> None:
        """Nothing: the initiator hangs up by itself."""


MALFORMED = Wire("malformed-pdus")
DIGESTS = Wire("wrong-digests")
COMMANDS = Wire("odd-commands")

WIRE = (MALFORMED, DIGESTS, COMMANDS)
