# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands before a message: stamps, dates, hosts, levels, callers, margins.

Sources: printk itself; ``dmesg`` with -r, -x, -T, -H, -d and --time-format; syslog, rsyslog and
the journal's output formats; busybox's syslog; netconsole and /dev/kmsg; logcat; the callers of
vendors' kernels (Samsung, MediaTek, Huawei, Amlogic); loggers of serial consoles; ``grep -n``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

STAMP = re.compile(r"\[ {0,4}(?P<time>\d{1,8}\.\d{6})(?:[@,] ?\d+| *<[ +\d.]+>)?\]")
"""printk's stamp; some kernels add the CPU, and ``dmesg -d`` the time since the last message."""

DATE = r"""
    (?: (?:[^\W\d]{2,9}[.,]?\ )?                          # a weekday
        (?: \d{4}[-/]\d\d[-/]\d\d[T\ ]                    # 2025-10-02T
          | (?:\d{1,2}\.?\ )?[^\W\d]{2,9}\.?\ {1,2}\d{0,2},?\ ?(?:\d{4}\ )?  # Sep 21, 21. Sep
          | \d{1,2}\ ?\u6708\ {1,2}\d{1,2}\ )             # the ninth month, in Japanese
        \d\d:\d\d:\d\d(?:[.,]\d+)?
        (?:\ ?(?:Z\b|[+-]\d\d:?\d\d\b|[A-Z]{3,5}\b(?!:)))?(?:\ \d{4})?
      | \d{10}\.\d{3,6}                                   # journalctl -o short-unix
      | \d\d-\d\d\ \d\d:\d\d:\d\d\.\d+(?:\ +\d+\ +\d+\ [VDIWEF]\ (?:\w*\ *:)?)?  # logcat
    )
"""

PROGRAM = (
    r"(?:(?:[^\s\[<]\S*\ )?(?:\w+\.\w+\ )?kernel(?:(?:\[\d+\])?:|(?:\ -){3})\ ?)")
"""The host, which may have been taken out, busybox's facility and level, and the program; three
fields without a value follow in the syslog protocol."""

WALL_CLOCK = rf"""
    (?:\[(?:{DATE}|\w{{3}}\ ?[ \d]\d\ \d\d:\d\d|\d\d:\d\d:\d\d(?:[.,]\d+)?|\ *\+\d+\.\d{{6}})\])
"""
"""The stamps of ``dmesg -T`` and ``dmesg -H``, and of terminal programs."""

KMSG = r"(?:\d{1,3},\d+,(?P<micros>\d+),[-c+](?:,(?!ncfrag)[^;,]*)*(?:;|,(?=ncfrag)))"
"""/dev/kmsg, and the extended format of netconsole."""

CALLER = r"(?:\ ?\[\ *(?P<caller>[TC]\d+)(?:@\w+)?\])"

VENDOR = r"""
    (?: \ *[.-]?\(\d+\)\[\d+:[^\]]*\]                     # (2)[77:kworker/2:1]
      | \ ?\[\ *\d+:\ *[^\[\]:]+(?::[^\[\]:]+)?:\ *\d+\]  # [2: kworker/2:1:   77]
      | \ ?\[pid:\d+,cpu\d+,[^\]]*\]
      | \ ?c\d+\ +\d+(?=\ (?:\(|\S))                      # c2   77
    )
"""

LEVEL = r"(?:<\d{1,3}>)"

STRONG = rf"(?:\[\ {{0,4}}\d{{1,8}}\.\d{{6}}|{LEVEL}\S|{WALL_CLOCK}|{DATE}\ |{PROGRAM}|kern\ *:)"
"""Beginnings of a prefix that are no part of a margin."""

DATED = r"(?:\ +(?:\S+\ )?(?=\[\ {0,4}\d{1,8}\.\d{6}|<\d{1,3}>))"
"""A host may follow the date, and a stamp or a level then."""

MARGIN = (
    r"(?=[\s>|\u2502\u2503#*+\d-])[\s>|\u2502\u2503#*+-]*(?:\d+(?:[:-]\ ?|\ +(?=\[)))?")
"""Quotes, lists, and the numbers of lines."""

HEAD = re.compile(rf"""
    (?P<margin>{MARGIN}(?={STRONG}))?
    (?P<priority><\d{{1,3}}>(?:1\ )?(?={DATE}))?
    (?P<date>{DATE}:?(?:\ +{PROGRAM}|{DATED}|\ |$))?
    (?P<time_of_day>\d\d:\d\d:\d\d(?:[.,]\d+)?\ +(?=\[\ {{0,4}}\d|{LEVEL}|{PROGRAM}))?
    (?P<program>{PROGRAM})?
    (?P<kmsg>{KMSG})?
    (?P<level><\d{{1,3}}>|(?:kern|user|daemon|syslog)\ *:\ ?\w+\ *:\ )?
    (?P<clock>{WALL_CLOCK}\ ?)?
    (?P<stamp>(?-x:{STAMP.pattern})(?P<monotonic>\ {PROGRAM})?)?
    {CALLER}?
    (?P<vendor>(?<=\])(?:{VENDOR}))?
    (?P<field>MESSAGE=)?
""", re.VERBOSE)
"""All that may stand before a message, in this order. The blank after it is not included."""

PARTS = ("priority", "date", "time_of_day", "program", "kmsg", "level", "clock", "stamp", "field")
"""Of these one at least has to be there; a margin or a caller alone is none."""

PRINTK = re.compile(
    rf"{STAMP.pattern}(?:\[ *(?P<caller>[TC]\d+)\])?+ ?+"
    r"(?!\[ *(?:\d+[:.]|[TC]\d|pid:)|[.-]?\(\d|\S* ?kernel|c\d)")
"""The usual case, which is tried first: a console may be flooded with 100 MB."""

CUT_STAMP = re.compile(
    r"\s*(?P<time>\d{1,8}\.\d{6})\](?:\[ *(?P<caller>[TC]\d+)\])? ?|\[ {0,4}\d{1,8}\.\d{0,5}\] ?")
"""The first line of a paste, without its bracket; a stamp without all of its fraction."""

GARBLED = re.compile(r".{0,60}?\]\[ *(?P<caller>[TC]\d+)\](?: |$)")
"""A stamp that another writer has damaged, with a caller id that is whole."""

DAMAGED = re.compile(r"(?P<rubbish>.{0,30}\[[^\]]{8,40})\] ")
"""The same without a caller id. Its digits show the stamp."""

TIME = re.compile(r"(?P<day>\d{1,2})?[T ]*(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)")


@dataclass(frozen=True, slots=True)
class Prefix:
    """``length``: characters before the message. ``stamp``: where printk's stamp begins."""

    length: int
    time: float | None = None
    caller: str | None = None
    stamp: int | None = None


NONE = Prefix(0)


def read(line: str) -> Prefix:
    """Return what stands before the message of a line."""
    usual = PRINTK.match(line)
    if usual:
        return Prefix(usual.end(), float(usual["time"]), usual["caller"], 0)
    head = HEAD.match(line)
    if not (head and head.end() and any(map(head.__getitem__, PARTS))):
        return _damaged(line)
    length = head.end() + _blank(line, head.end())
    if not head["stamp"] and "][" in line:
        garbled = _damaged(line[length:])
        return replace(garbled, length=length + garbled.length)
    time = float(head["time"]) if head["time"] else None
    if time is None and head["micros"]:
        time = int(head["micros"]) / 1e6
    return Prefix(length, time, head["caller"], head.start("stamp") if head["stamp"] else None)


def _blank(line: str, end: int) -> int:
    """Return 1 where one blank parts the prefix from the message, 0 otherwise."""
    return int(line.startswith(" ", end) and not line.endswith(" ", 0, end))


def clock(line: str) -> float | None:
    """Return the seconds of the month by the wall clock before a message, None without one."""
    head = HEAD.match(line)
    words = (head["date"] or head["clock"] or head["time_of_day"]) if head else None
    found = TIME.search(words or "")
    if found is None:
        return None
    day, *time = (int(found[part] or 0) for part in ("day", "hour", "minute", "second"))
    hour, minute, second = time
    return float(((day * 24 + hour) * 60 + minute) * 60 + second)


def _damaged(line: str) -> Prefix:
    cut = CUT_STAMP.match(line)
    if cut:
        return Prefix(cut.end(), float(cut["time"]) if cut["time"] else None, cut["caller"])
    garbled = GARBLED.match(line)
    if garbled:
        return Prefix(garbled.end(), caller=garbled["caller"])
    damaged = DAMAGED.match(line)
    if damaged and re.search(r"\d\.\d{5,}", re.sub(r"[^\d.]", "", damaged["rubbish"])):
        return Prefix(damaged.end())
    return NONE
