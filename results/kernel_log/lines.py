# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of a console log: the text without stamps, caller ids, colours and broken bytes.

A line begins as kernel/printk/printk.c (print_prefix) writes it: ``[    1.234567]``, with
CONFIG_PRINTK_CALLER also ``[    T1]`` (a task) or ``[    C1]`` (a CPU). ``dmesg -r`` puts a ``<6>``
before it, journald the date, the host and ``kernel:``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Escape sequences of ECMA-48: CSI, OSC and the two-byte ones."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

STAMP = re.compile(r"\[ {0,4}(?P<time>\d{1,8}\.\d{6})\]")

HEAD = re.compile(
    r"(?:\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ kernel: )?"
    r"(?:<\d{1,3}>)?"
    rf"(?:{STAMP.pattern}|\[\w{{3}} \w{{3}} [ \d]\d \d\d:\d\d:\d\d \d{{4}}\])"
    r"(?: ?\[ *(?P<caller>[TC]\d+)\])?"
    r"(?: |$)"
)

STAMP_STEP_MAX = 60.0
"""Maximum seconds by which a stamp inside a line may be later than the line's own to count as
the stamp of a second message written into the first."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message. ``time``: seconds since boot, None without a stamp. ``caller``: as printed."""

    text: str
    time: float | None
    caller: str | None
    raw: str


def split(log: str | bytes) -> Iterator[Line]:
    """Yield the messages of a log; two messages written into one line are yielded as two."""
    text = log.decode("utf-8", errors="replace") if isinstance(log, bytes) else log
    for raw in re.split(r"\r*\n|\r+", text):
        clean = CONTROL.sub("", ANSI.sub("", raw))
        for part in _messages(clean):
            yield _line(part)


def _messages(line: str) -> Iterator[str]:
    begin = 0
    own = None
    for stamp in STAMP.finditer(line):
        time = float(stamp["time"])
        if _is_second(stamp.start() - begin, own, time):
            yield line[begin:stamp.start()]
            begin = stamp.start()
        own = time if own is None else own
    yield line[begin:]


def _is_second(offset: int, own: float | None, time: float) -> bool:
    """Return whether a stamp begins a second message, and is not quoted by the first."""
    return offset > 0 and (own is None or 0 <= time - own <= STAMP_STEP_MAX)


def _line(raw: str) -> Line:
    head = HEAD.match(raw)
    if head is None:
        return Line(raw, None, None, raw)
    time = head["time"]
    return Line(raw[head.end():], float(time) if time else None, head["caller"], raw)
