# SPDX-License-Identifier: GPL-2.0-or-later
"""The wait for PDUs: extended as long as PDUs arrive, and no longer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from fixtures.workload.pdus import QUIET, all_sent
from fixtures.workload.program import DiskProgram


@dataclass
class Sender:
    """Emits one PDU event per wait, ``left`` times; then it ends, or falls silent."""

    left: int
    ends: bool
    emitted: int = 0
    running: bool = True
    waits: list[float] = field(default_factory=list)

    def event_count(self, kind: str) -> int:
        assert kind == "pdu"
        return self.emitted

    def wait_for(self, reached: Callable[[], bool], deadline: float) -> bool:
        self.waits.append(deadline)
        self.running = not (self.ends and not self.left)
        if self.left:
            self.left, self.emitted = self.left - 1, self.emitted + 1
        return reached()

    def wait(self, deadline: float) -> Mapping[str, Any] | None:
        return None if self.running else {}


@pytest.mark.parametrize(("ends", "waits"), [(True, 500 + 1), (False, 500 + 1)])
def test_it_is_waited_for_as_long_as_something_becomes_of_one(ends: bool, waits: int) -> None:
    sender = Sender(500, ends)
    assert all_sent(cast(DiskProgram, sender)) is ends
    assert sender.waits == [QUIET] * waits


def test_a_dead_target_is_given_up_at_once() -> None:
    sender = Sender(0, False)
    assert not all_sent(cast(DiskProgram, sender))
    assert sender.waits == [QUIET]
