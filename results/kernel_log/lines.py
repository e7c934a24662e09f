# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of a console log: the text without stamps, caller ids, colours and broken bytes.

A line begins as kernel/printk/printk.c (print_prefix) writes it: ``[    1.234567]``, with
CONFIG_PRINTK_CALLER also ``[    T1]`` (a task) or ``[    C1]`` (a CPU). Programs, vendors' kernels
and loggers add to it, or put something in its place (``results.kernel_log.prefix``); a paste may be
wrapped, or escaped for HTML, Markdown or mail.
"""

from __future__ import annotations

import html
import itertools
import json
import quopri
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from results.kernel_log import prefix

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Escape sequences of ECMA-48: CSI, OSC and the two-byte ones."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b\ufeff]")

ESCAPED = re.compile(r"&lt;/?(?:TASK|IRQ|NMI|\d)|&gt;|&quot;|&#\d\d;")
"""A log that was escaped for HTML: the kernel's own messages have no such words."""

BREAK = re.compile(r"<br ?/?>\n?")
TAG = re.compile(r"</?(?:pre|p|code|div|span|tt|td|tr|li)(?: [^>]*)?>")
MARKDOWN = re.compile(r"\\([*_<>\[\]#`|~-])")

FRAGMENT = re.compile(r"ncfrag=(?P<at>\d+)/\d+;")
"""A part of a message that is longer than a packet (drivers/net/netconsole.c)."""

ORDER_MAX = 400
"""Lines at the beginning of a log by whose stamps it is seen whether the newest come first."""

HINT = "hung_task_timeout_secs"
HUNG = re.compile(r"INFO: task .* blocked for more than")
"""The third and the first line of a hung task's report: the order of lines with one stamp."""

STAMP_STEP_MAX = 60.0
"""Maximum seconds by which a stamp inside a line may be later than the line's own to count as
the stamp of a second message written into the first."""

FUNCTION = r"\s*(?:\? )?[A-Za-z_][\w.]*\+0x"
WRAPPED = tuple((re.compile(first), re.compile(then)) for first, then in (
    (r"(?:.*\s)?\[<[0-9a-fx]+>\](?: \?)?\s*$", FUNCTION),
    (r"WARNING: (?:CPU: \d+ PID: \d+ )?at\s*$", r"\s*\S+\.[chS]:\d+"),
    (r"WARNING: .*\bat \S+:\d+\s*$", FUNCTION),
    (r"BUG: K\w+SAN: .* in\s*$", FUNCTION),
    (r"(?:RIP|EIP|IP):(?: 0010:)?\s*$", r"\s*(?:\[<|[A-Za-z_][\w.]*\+0x)"),
    (r"CPU: \d+(?: UID: \d+)?\s*$", r"\s*(?:UID: \d+ )?PID: "),
    (r"CPU: .*PID: \d+\s*$", r"\s*Comm: \S"),
    (r"CPU: .*Comm:\s*$", r"\s*\S"),
    (r"INFO: task .*(?<!blocked)\s*$", r"\s*blocked "),
    (r"INFO: task .* blocked\s*$", r"\s*(?:in I/O wait )?for "),
    (r"BUG: unable to handle(?: kernel)?(?: NULL pointer| paging)?\s*$",
     r"\s*(?:kernel|NULL|page|paging|pointer|request|dereference)\b"),
    (r"(?:.*\bBUG: )?soft lockup - CPU#\d+ stuck for\s*$", r"\s*\d+s!"),
    (r".*BUG: soft lockup - CPU#\d+ stuck for \d+s!\s*$", r"\s*\[.+:\d+\]\s*$"),
    (r"Workqueue:\s*$", r"\s*\S"),
))
"""Ends of lines that a mail program has wrapped, each with the beginning of the next line."""

WRAPPABLE = ("BUG: ", "WARNING: ", "CPU: ", "INFO: task ", "RIP:", "EIP:", "IP:", "Workqueue:")
"""How such lines begin, but for those with an address or a soft lockup."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message.

    ``time``: seconds since boot, None without a stamp. ``caller``: as printed.
    """

    text: str
    time: float | None
    caller: str | None
    raw: str


def split(log: str | bytes) -> Iterator[Line]:
    """Yield the messages of a log; two messages written into one line are yielded as two."""
    return _rejoined(_lines(_decoded(log)))


def _decoded(log: str | bytes) -> str:
    text = log if isinstance(log, str) else _from_bytes(log)
    if "=3D" in text and "\n====" not in text and re.search(r"=\r?\n", text):
        text = quopri.decodestring(text.encode()).decode(errors="replace")
    if ESCAPED.search(text):
        text = html.unescape(text)
    if "<br" in text or "<pre" in text or "<code" in text:
        text = TAG.sub("", BREAK.sub("\n", text))
    return text


def _from_bytes(log: bytes) -> str:
    wide = log.startswith((b"\xff\xfe", b"\xfe\xff")) and 3 * log.count(0) > len(log)
    return log.decode("utf-16" if wide else "utf-8", errors="replace")


def _lines(text: str) -> Iterator[Line]:
    lines = re.split(r"\r*\n|\r+", text)
    if _newest_first(lines):
        lines.reverse()
    for raw in lines:
        clean = _clean(raw)
        if clean.startswith("{") and '"MESSAGE"' in clean:
            yield from _from_json(clean)
            continue
        yield from _messages(clean)


def _clean(raw: str) -> str:
    return CONTROL.sub("", ANSI.sub("", raw)).replace("\xa0", " ")


def _newest_first(lines: list[str]) -> bool:
    """Return whether a log is in the order of ``journalctl -r``."""
    stamps = [each for line in lines[:ORDER_MAX] if (each := _when(_clean(line))) is not None]
    steps = [after - before for before, after in itertools.pairwise(stamps)]
    rises, falls = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    if rises + falls > 1:
        return falls > 2 * rises
    hint = next((at for at, line in enumerate(lines[:ORDER_MAX]) if HINT in line), None)
    return hint is not None and HUNG.search("".join(lines[hint + 1:hint + 2])) is not None and (
        not any(HUNG.search(line) for line in lines[:hint]))


def _when(line: str) -> float | None:
    """Return the seconds since boot or, without a stamp, since the month began."""
    time = prefix.read(line).time
    return prefix.clock(line) if time is None else time


def _from_json(raw: str) -> Iterator[Line]:
    """Yield the messages of an entry of ``journalctl -o json``."""
    try:
        entry = json.loads(raw)
    except ValueError:
        return
    micros = str(entry.get("_SOURCE_MONOTONIC_TIMESTAMP", ""))
    time = int(micros) / 1e6 if micros.isdigit() else None
    for text in str(entry.get("MESSAGE", "")).split("\n"):
        yield Line(text, time, None, raw)


def _messages(line: str) -> Iterator[Line]:
    begin = 0
    own = None
    found = prefix.read(line)
    for stamp in prefix.STAMP.finditer(line):
        time, part = float(stamp["time"]), line[begin:stamp.start()]
        if _is_second(len(part), own, time) and found.stamp != stamp.start():
            yield _line(part, prefix.read(part))
            begin = stamp.start()
            found = prefix.read(line[begin:])
        own = time if own is None else own
    yield _line(line[begin:], found)


def _is_second(offset: int, own: float | None, time: float) -> bool:
    """Return whether a stamp begins a second message, and is not quoted by the first."""
    return offset > 0 and (own is None or 0 <= time - own <= STAMP_STEP_MAX)


def _line(raw: str, found: prefix.Prefix) -> Line:
    text = raw[found.length:]
    if "\\" in text:
        text = MARKDOWN.sub(r"\1", text)
    return Line(text, found.time, found.caller, raw)


def _rejoined(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield the messages; the parts of a message that was wrapped or sent in parts are one."""
    waiting: Line | None = None
    for each in lines:
        fragment = FRAGMENT.match(each.text)
        line = replace(each, text=each.text[fragment.end():]) if fragment else each
        if waiting is None:
            waiting = line
        elif fragment and fragment["at"] != "0":
            waiting = _together(waiting, line, "")
        elif _is_wrapped(waiting.text, line.text):
            waiting = _together(waiting, line, " ")
        else:
            yield waiting
            waiting = line
    if waiting is not None:
        yield waiting


def _together(first: Line, then: Line, between: str) -> Line:
    text = then.text if not between else then.text.strip()
    return replace(first, text=(first.text.rstrip() if between else first.text) + between + text,
                   raw=f"{first.raw}{between}{then.raw}")


def _is_wrapped(first: str, then: str) -> bool:
    if not (first.startswith(WRAPPABLE) or "[<" in first or "soft lockup" in first):
        return False
    return any(begin.match(then) and end.match(first) for end, begin in WRAPPED)
