# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of a console log: the text without stamps, caller ids, colours and broken bytes.

A line begins as kernel/printk/printk.c (print_prefix) writes it: ``[    1.234567]``, with
CONFIG_PRINTK_CALLER also ``[    T1]`` (a task) or ``[    C1]`` (a CPU). Programs add to it, or put
something in its place: ``dmesg -r`` a ``<6>``, ``-x`` the facility and level, ``-T`` and ``-H`` the
time of day, syslog and the journal a date, the host and ``kernel:``; a paste may be indented,
quoted, or escaped for HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Escape sequences of ECMA-48: CSI, OSC and the two-byte ones."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

ESCAPED = re.compile(r"&lt;/?(?:TASK|IRQ|NMI|\d)|&gt;")
"""A log that was escaped for HTML: the kernel's own messages have no such words."""

STAMP = re.compile(r"\[ {0,4}(?P<time>\d{1,8}\.\d{6})\]")

DATE = (
    r"(?:\w{3} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?(?: \d{4})?"  # Sep 21 11:05:37
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)"
)
"""The date of syslog, of rsyslog and of ``journalctl -o short-iso``."""

PROGRAM = r"(?:(?:\S+ )?kernel(?:\[\d+\])?: )"
"""The host, which may have been taken out, and the program."""

WALL_CLOCK = (
    r"\[(?:\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}|\w{3} ?[ \d]\d \d\d:\d\d| *\+\d+\.\d{6})\]"
)
"""The stamps of ``dmesg -T`` and ``dmesg -H``."""

HEAD = re.compile(
    r"(?:[ \t>|]*(?=\[|<\d|\w{3} [ \d]\d \d\d:|\d{4}-\d\d-|kern +:))?"
    rf"(?P<date>{DATE} {PROGRAM})?"
    r"(?P<level><\d{1,3}>|kern *: ?\w+ *: )?"
    rf"(?P<stamp>{STAMP.pattern}|{WALL_CLOCK})?"
    rf"(?P<monotonic> {PROGRAM})?"
    r"(?: ?\[ *(?P<caller>[TC]\d+)\])?"
    r"(?: |$)?"
)
"""What stands before a message. Of its parts, one at least has to be there (``_line``)."""

GARBLED = re.compile(r".{0,60}?\]\[ *(?P<caller>[TC]\d+)\](?: |$)")
"""A stamp that another writer has damaged, with a caller id that is whole."""

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
    if ESCAPED.search(text):
        text = html.unescape(text)
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
    if head is None or not any(head[part] for part in ("date", "level", "stamp")):
        garbled = GARBLED.match(raw)
        if garbled is None:
            return Line(raw, None, None, raw)
        return Line(raw[garbled.end():], None, garbled["caller"], raw)
    time = head["time"]
    return Line(raw[head.end():], float(time) if time else None, head["caller"], raw)
