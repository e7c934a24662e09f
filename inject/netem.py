"""What a network does to packets without coming apart: delay, loss, duplicates, another order.

TCP makes up for all of it (RFC 9293 3.8, RFC 6298): a target and its initiator see commands that
take longer, and nothing else. By tc-netem(8), on the interface that initiator and target reach each
other by, in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inject.fault import ISCSI, Held, Needs, Subject
from results.errors import WrongUsageError


@dataclass(frozen=True)
class Netem:
    """One treatment. ``how``: in the words of tc-netem(8).

    ``patience``: seconds beyond the ladder's that a command may take. ``drops``: whether packets
    are lost, which the interface counts.
    """

    what: str
    how: str
    patience: float
    drops: bool = False
    breaks: bool = True
    ends_device: bool = False
    held: Held = Held.KEPT
    errors: tuple[str, ...] = ()
    needs: Needs = ISCSI

    @property
    def name(self) -> str:
        """Its name in scenario ids."""
        return f"netem-{self.what}"

    def fire(self, subject: Subject, deadline: float) -> None:
        """Raise WrongUsageError: no target has the network in its hands."""
        raise WrongUsageError(f"{self.name} needs a story of its own")

    def undo(self, subject: Subject, deadline: float) -> None:
        """Nothing: the story undoes it."""


LOST_TWICE = 3.0
"""Seconds that a segment may be late which is lost three times: retransmission timers of 0.2, 0.4,
0.8 s (TCP_RTO_MIN, include/net/tcp.h), and as much again for its answer."""

NETEMS: Mapping[str, Netem] = {each.name: each for each in (
    Netem("delay", "delay 40ms 10ms", 1.0),
    Netem("loss", "loss 3%", LOST_TWICE, drops=True),
    Netem("burst-loss", "loss gemodel 1% 30%", 2 * LOST_TWICE, drops=True),
    Netem("duplicate", "duplicate 20%", 0.0),
    Netem("reorder", "delay 20ms reorder 60% 50%", 1.0),
)}
"""By name."""
