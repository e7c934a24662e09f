# SPDX-License-Identifier: GPL-2.0-or-later
"""The progress display of a run."""

from __future__ import annotations

import os
import pty
import select
import struct
from collections.abc import Callable
from fcntl import ioctl
from itertools import pairwise
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from fixtures.progress import LiveLine, Progress, about
from results import past_durations
from results.judge import Judgement
from results.known_issues import KnownIssue
from results.store import Run
from results.verdict import Check, Figure, Verdict


def judged(verdict: Verdict = Verdict.PASS, known: KnownIssue | None = None) -> Judgement:
    """Return a judgement."""
    return Judgement("a", (Check("ledger", verdict, "words"),), known=known)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Provide a clock."""
    return Clock()


def run(watched: Progress, clock: Clock, name: str, seconds: float,
        found: Judgement | None = None) -> None:
    """Run a scenario of some seconds."""
    watched.begins(name)
    clock.now += seconds
    watched.ends(found)


def test_a_log_has_a_plain_line_for_each(clock: Clock) -> None:
    output: list[str] = []
    watched = Progress(output.append, clock=clock)
    watched.expect(["a", "b", "c", "d"], {})
    run(watched, clock, "a", 7.0, judged())
    run(watched, clock, "b", 8.0, judged(Verdict.FAIL))
    run(watched, clock, "c", 9.0, judged(Verdict.FAIL, KnownIssue("pool", "link")))
    run(watched, clock, "d", 1.0, None)
    assert output == [
        "1 of 4: PASS a in 7.0 s; 1 PASS; about 21 s left",
        "2 of 4: FAIL b in 8.0 s; 1 PASS, 1 FAIL; about 16 s left",
        "3 of 4: KNOWN c in 9.0 s; 1 PASS, 1 KNOWN, 1 FAIL; about 7 s left",
        "4 of 4: no verdict d in 1.0 s; 1 PASS, 1 KNOWN, 1 FAIL",
    ]
    assert "\x1b" not in "".join(output)


def test_time_left_is_that_of_past_runs(clock: Clock) -> None:
    watched = Progress(lambda words: None, clock=clock)
    watched.expect(["a", "b", None, "c"], {"a": 10.0, "b": 60.0, "c": 30.0})
    assert watched.left() == 10 + 60 + 30 + 30  # the median for the unknown scenario
    run(watched, clock, "a", 12.0, judged())
    assert watched.left() == 60 + 12 + 30  # now this run's mean
    watched.begins("b")
    clock.now += 20.0
    assert watched.left() == 40 + 12 + 30
    clock.now += 300.0
    assert watched.left() == 0


def test_the_time_left_does_not_jump(clock: Clock) -> None:
    """As observed: a boot, then short scenarios, and a long one in between."""
    watched = Progress(lambda words: None, clock=clock)
    watched.expect([str(number) for number in range(60)], {})
    shown = []
    for number in range(60):
        run(watched, clock, str(number), {0: 40.0, 5: 70.0}.get(number, 9.0), judged())
        shown.append(watched.left() or 0.0)
    assert all(after < before for before, after in pairwise(shown[1:5]))
    assert shown[5] < 1.3 * shown[4]
    assert all(after < 1.3 * before + 9 for before, after in pairwise(shown[5:]))


def test_nothing_is_guessed() -> None:
    watched = Progress(lambda words: None)
    watched.expect(["a", "b"], {})
    assert watched.left() is None
    watched.begins("a")
    assert watched.words() == "0 of 2 | boot 0 s: a"


@pytest.mark.parametrize(("seconds", "words"), [
    (0.0, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (3600.0, "60 min"), (9000.0, "2 h 30 min"),
    (7260.0, "2 h 01 min")])
def test_durations(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_past_wall_times(tmp_path: Path) -> None:
    for seconds in (5.0, 7.5):
        old = Run.begin(tmp_path, {})
        old.path.rename(tmp_path / f"2026010{int(seconds)}T000000Z-000000")
        old = Run(tmp_path / f"2026010{int(seconds)}T000000Z-000000")
        found = Judgement("a", (), measured={"wall_time": Figure(seconds, "s")})
        old.scenario("a").save(found)
        old.scenario("torn").verdict.write_text('{"figures": {"wall_time": {"va')
    Run.begin(tmp_path, {})
    assert past_durations.wall_times(tmp_path, ["a", "b", "torn"]) == {"a": 7.5}
    assert past_durations.wall_times(tmp_path / "none", ["a"]) == {}


def drawn(act: Callable[[LiveLine], None], columns: int = 80) -> str:
    """Return the output of a live line on a real terminal of 24 rows."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(theirs, "w") as terminal:
        line = LiveLine(terminal)
        act(line)
        line.close()
        output = b""
        while select.select([ours], [], [], 0.3)[0]:  # a kernel worker delivers it in pieces
            output += os.read(ours, 1 << 16)
        return output.decode()


def test_the_live_line_keeps_the_last_row() -> None:
    output = drawn(lambda line: line.show(lambda: "3 of 9 | teardown 2 s: lio\x1b[2J"))
    assert "\x1b[1;23r" in output  # scrolled output uses the rows above
    assert "\x1b[24;1H\x1b[2K\x1b[7m3 of 9 | teardown 2 s: lio?[2J\x1b[0m" in output
    assert output.endswith("\x1b[r\x1b[24;1H\x1b[2K\x1b8")  # the region is reset; nothing follows


def test_the_live_line_is_cut_and_never_wraps() -> None:
    assert f"\x1b[7m{'x' * 39}\x1b[0m" in drawn(lambda line: line.show(lambda: "x" * 500), 40)


def test_a_terminal_that_has_gone_does_not_end_the_run() -> None:
    ours, theirs = pty.openpty()
    terminal = os.fdopen(theirs, "w")
    line = LiveLine(terminal)
    os.close(ours)
    line.show(lambda: "words")
    terminal.close()
    line.draw()
    line.close()
