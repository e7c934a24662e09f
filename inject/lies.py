"""The backend lies about one command.

No target can notice most of these; that the checkers do is what they are for.
"""

from __future__ import annotations

from dataclasses import dataclass

from inject.fault import PROCESS, Held, Needs, Subject
from results.errors import TargetFailedError


@dataclass(frozen=True)
class Lie:
    """Tell ``count`` commands a lie, and the truth again.

    ``how``: by targets.backend.lies. ``medium``: for misread, the file of the LUN whose data
    are given; None: those of another WRITE.
    """

    how: str
    count: int = 1
    direction: str | None = None
    medium: str | None = None
    breaks: bool = True
    errors: tuple[str, ...] = ()
    """With what I/O may fail after it: with nothing, the initiator is told that all is well."""
    ends_device: bool = False
    held: Held = Held.ANSWERED
    needs: Needs = PROCESS

    @property
    def name(self) -> str:
        """lie-HOW, and whether another LUN takes part."""
        return f"lie-{self.how}" + ("-other-lun" if self.medium else "")

    def fire(self, subject: Subject, deadline: float) -> None:
        """Let the held commands go on. The first READ or WRITE that can be is told the lie: one of
        them, unless another came in this moment.

        Returns once the lies are told. Raises TargetFailedError when they are not in time.
        """
        backend = subject.backend
        backend.lie(self.how, self.count, deadline=deadline, direction=self.direction,
                    medium=self.medium)
        backend.release(deadline)
        if not backend.wait_lied(self.count, deadline):
            raise TargetFailedError(
                f"no {self.count} commands came in {deadline:g} s that {self.name} could be told")

    def undo(self, subject: Subject, deadline: float) -> None:
        """Tell the truth. What was dropped stays dropped until the device is removed."""
        subject.backend.stop_lying(deadline)


CORRUPT = Lie("corrupt", direction="write")
"""One byte of an acknowledged WRITE's data is changed on the medium."""

SWAP = Lie("swap", direction="write")
"""Two acknowledged WRITEs' data change places on the medium."""

MISREAD = Lie("misread", direction="read")
"""A READ is answered with the data of another block."""

DROP = Lie("drop", direction="write")
"""A WRITE is neither carried out nor answered: the initiator's timers and the target's are left
to end it."""

TWICE = Lie("twice", direction="write", needs=Needs(backends=frozenset({"scst_user", "tcmu"})))
"""A WRITE is answered twice; the network block device behind tgt would hang up on who does."""

SKIP = Lie("skip", direction="write")
"""A WRITE is answered with GOOD, and nothing is written."""

LIES = (CORRUPT, SWAP, MISREAD, DROP, TWICE, SKIP)
