"""The usual story with an initiator that waits for a target to come back."""

from __future__ import annotations

from dataclasses import replace

from fixtures import story
from fixtures.initiator.openiscsi import OpenIscsi, Timeouts
from fixtures.stage import Stage

PATIENT = replace(Timeouts(), replacement=60)
"""A daemon is started and told of its target in 1.5 s, and in 6 s on a busy machine: I/O waits."""


def lose_device(stage: Stage) -> None:
    """Tell it."""
    stage.initiator = OpenIscsi(PATIENT)
    story.lose_device(stage)
