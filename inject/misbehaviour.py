# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend misbehaves once: it loses, corrupts, misdirects or duplicates a command.

No target can notice most of these: the checkers have to.
"""

from __future__ import annotations

from dataclasses import dataclass

from inject.contract import FaultContext
from inject.fault import PROCESS, Expected, Held, Needs
from inject.outcomes import ends_well
from inject.point import State
from inject.traits import TargetTraits
from results.errors import TargetFailedError

WRITTEN = ("SBC-4 5.40: a WRITE that ended with GOOD has written its data to its blocks, and to no "
           "other ones; only a read of these blocks can show that it has not")
KEPT = ("SBC-4 4.15.4: the data of a WRITE that ended with GOOD are kept, in a cache or on the "
        "medium; only a read of its blocks can show that they are not")
READ_BACK = ("SBC-4 5.16: a READ transfers the data of its own blocks; only their content can show "
             "that it has not")
COMPLETED = "SAM-5, Execute Command: every command ends with a status or with a delivery failure"
ONCE = "SAM-5, Send Command Complete: a command ends once, with the first of its answers"


@dataclass(frozen=True)
class Misbehaviour:
    """``count`` commands carried out wrongly; then the backend behaves correctly again.

    ``how``: a kind of targets.backend.misbehaviour_guest. ``medium``: for a misdirected read, the
    file of the LUN whose data are returned; None: the data of another WRITE. ``clause``: the clause
    that the misbehaviour violates, and that leaves the target no other end of the command.
    ``errors``: errno names with which I/O may fail afterwards: none, as the initiator receives
    GOOD.
    """

    how: str
    clause: str
    count: int = 1
    direction: str | None = None
    medium: str | None = None
    breaks: bool = True
    errors: tuple[str, ...] = ()
    ends_device: bool = False
    held: Held = Held.ANSWERED
    needs: Needs = PROCESS

    @property
    def name(self) -> str:
        """``lie-HOW``, with a suffix when another LUN takes part: the name in scenario ids."""
        return f"lie-{self.how}" + ("-other-lun" if self.medium else "")

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Return GOOD for every command, and no errors of I/O."""
        return ends_well(state, self.clause, errors=self.errors)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Release the held commands; carry the next ``count`` matching READs or WRITEs out wrongly.

        The first of these is a held command unless a new one arrives at this moment. Returns once
        ``count`` commands were carried out wrongly. Raises TargetFailedError when they are not in
        time.
        """
        backend = context.deployment.backend
        backend.misbehave(self.how, self.count, deadline=deadline, direction=self.direction,
                          medium=self.medium)
        backend.release(deadline)
        if not backend.wait_misbehaved(self.count, deadline):
            raise TargetFailedError(
                f"{self.name}: fewer than {self.count} commands of its kind in {deadline:g} s")

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Behave correctly again. Dropped commands stay dropped until the device is removed."""
        context.deployment.backend.behave(deadline)


CORRUPTED_WRITE = Misbehaviour("corrupt", WRITTEN, direction="write")
"""One byte of an acknowledged WRITE's data is changed on the medium."""

SWAPPED_WRITES = Misbehaviour("swap", WRITTEN, direction="write")
"""Two acknowledged WRITEs' data change places on the medium."""

MISDIRECTED_READ = Misbehaviour("misread", READ_BACK, direction="read")
"""A READ is answered with the data of another block."""

UNANSWERED_WRITE = Misbehaviour("drop", COMPLETED, direction="write")
"""A WRITE is neither carried out nor answered: the timers of initiator and target have to end it.
"""

DUPLICATE_COMPLETION = Misbehaviour(
    "twice", ONCE, direction="write", needs=Needs(backends=frozenset({"scst_user", "tcmu"})))
"""A WRITE is answered twice. A network block device's kernel side disconnects a backend that does
this."""

LOST_WRITE = Misbehaviour("skip", KEPT, direction="write")
"""A WRITE is answered with GOOD, and nothing is written."""

MISBEHAVIOURS = (CORRUPTED_WRITE, SWAPPED_WRITES, MISDIRECTED_READ, UNANSWERED_WRITE,
                 DUPLICATE_COMPLETION, LOST_WRITE)
