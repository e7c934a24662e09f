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

CLAUSE = "SAM-6 5.3.1: GOOD is delivered whatever the backend did with the data"


@dataclass(frozen=True)
class Misbehaviour:
    """``count`` commands are carried out wrongly, then the backend behaves again.

    ``how``: by targets.backend.lies_guest. ``medium``: of a misdirected read, the file of the LUN
    whose data are given; None: those of another WRITE. ``errors``: with what I/O may fail after it:
    with nothing, the initiator receives GOOD.
    """

    how: str
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
        """lie-HOW, and whether another LUN takes part."""
        return f"lie-{self.how}" + ("-other-lun" if self.medium else "")

    def expected(
        self, state: State, traits: TargetTraits, direction: str = "none",
    ) -> Expected:
        """Every command ends well, and no I/O fails."""
        return ends_well(state, CLAUSE, errors=self.errors)

    def fire(self, context: FaultContext, deadline: float) -> None:
        """Let the held commands go on. The first matching READ or WRITE is carried out wrongly: one
        of them, unless another came in this moment.

        Returns once ``count`` commands were. Raises TargetFailedError when they are not in time.
        """
        backend = context.deployment.backend
        backend.misbehave(self.how, self.count, deadline=deadline, direction=self.direction,
                          medium=self.medium)
        backend.release(deadline)
        if not backend.wait_misbehaved(self.count, deadline):
            raise TargetFailedError(
                f"no {self.count} commands came in {deadline:g} s that {self.name} could be told")

    def undo(self, context: FaultContext, deadline: float) -> None:
        """Behave again. What was dropped stays dropped until the device is removed."""
        context.deployment.backend.behave(deadline)


CORRUPTED_WRITE = Misbehaviour("corrupt", direction="write")
"""One byte of an acknowledged WRITE's data is changed on the medium."""

SWAPPED_WRITES = Misbehaviour("swap", direction="write")
"""Two acknowledged WRITEs' data change places on the medium."""

MISDIRECTED_READ = Misbehaviour("misread", direction="read")
"""A READ is answered with the data of another block."""

UNANSWERED_WRITE = Misbehaviour("drop", direction="write")
"""A WRITE is neither carried out nor answered: the initiator's timers and the target's are left
to end it."""

DUPLICATE_COMPLETION = Misbehaviour(
    "twice", direction="write", needs=Needs(backends=frozenset({"scst_user", "tcmu"})))
"""A WRITE is answered twice. A network block device's kernel side disconnects a backend that does.
"""

LOST_WRITE = Misbehaviour("skip", direction="write")
"""A WRITE is answered with GOOD, and nothing is written."""

MISBEHAVIOURS = (CORRUPTED_WRITE, SWAPPED_WRITES, MISDIRECTED_READ, UNANSWERED_WRITE,
                 DUPLICATE_COMPLETION, LOST_WRITE)
