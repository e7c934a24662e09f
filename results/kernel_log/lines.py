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
from results.kernel_log.body import is_stack

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Escape sequences of ECMA-48: CSI, OSC and the two-byte ones."""

SHOWN = re.compile(r"(?:\^\[|#033)\[[\d;]*[mK]|(?:\^M|#015)+$")
"""Escape sequences and returns that ``cat -v`` or rsyslog made visible."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b\ufeff]")

ESCAPED = re.compile(r"&lt;/?(?:TASK|IRQ|NMI|\d)|&gt;|&quot;|&#(?:x[0-9a-f]{2}|\d\d);")
"""A log that was escaped for HTML: the kernel's own messages have no such words."""

BREAK = re.compile(r"<br ?/?>\n?")
TAG = re.compile(r"</?(?:pre|p|code|div|span|tt|td|tr|li)(?: [^>]*)?>")
MARKDOWN = re.compile(r"\\([*_<>\[\]#`|~-])")

FRAGMENT = re.compile(r"ncfrag=(?P<at>\d+)/\d+;")
"""A part of a message that is longer than a packet (drivers/net/netconsole.c)."""

ORDER_MAX = 400
"""Lines at the beginning of a log by whose stamps it is seen whether the newest come first."""

TRACE = re.compile(r".*\bCall [Tt]race:\s*$")
"""The line before a stack's first frame: the order of lines with one stamp."""

JSON_TEXTS = ("MESSAGE", "log", "message", "msg")
"""Fields with a message: journalctl, Docker, and forwarders of logs."""

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
    if text.startswith("{"):
        text = _from_object(text)
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


def _from_object(text: str) -> str:
    """Return the console in a JSON document (``aws ec2 get-console-output``), or the text."""
    try:
        values = json.loads(text).values()
    except ValueError:
        return text
    return max((each for each in values if isinstance(each, str) and "\n" in each.strip()),
               key=len, default=text)


def _lines(text: str) -> Iterator[Line]:
    lines = re.split(r"\r*\n|\r+", text)
    if _newest_first(lines):
        lines.reverse()
    for raw in lines:
        clean = _clean(raw)
        if clean.startswith("{") and clean.endswith("}"):
            yield from _from_json(clean)
        else:
            yield from _messages(clean)


def _clean(raw: str) -> str:
    """Return a line without what a terminal, an editor or a markup language added to it."""
    clean = CONTROL.sub("", ANSI.sub("", raw)).replace("\xa0", " ")
    if "^" in clean or "#0" in clean:
        clean = SHOWN.sub("", clean)
    if "\\" in clean:
        clean = MARKDOWN.sub(r"\1", clean)
    return clean.strip("`") if clean.endswith("`") else clean


def _newest_first(lines: list[str]) -> bool:
    """Return whether a log is in the order of ``journalctl -r``."""
    stamps = [each for line in lines[:ORDER_MAX] if (each := _when(_clean(line))) is not None]
    steps = [after - before for before, after in itertools.pairwise(stamps)]
    rises, falls = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    if rises + falls > 1:
        return falls > 2 * rises
    texts = [line.text for raw in lines[:ORDER_MAX] for line in _messages(_clean(raw))]
    follows, precedes = 0, 0
    for before, text, after in zip(texts, texts[1:], texts[2:], strict=False):
        if TRACE.match(text):
            follows += is_stack(after)
            precedes += is_stack(before) and not is_stack(after)
    return precedes > follows


def _when(line: str) -> float | None:
    """Return the seconds since boot or, without a stamp, since the month began."""
    time = prefix.read(line).time
    return prefix.clock(line) if time is None else time


def _from_json(raw: str) -> Iterator[Line]:
    """Yield the messages of an entry of a log with one JSON object in each line."""
    try:
        entry = json.loads(raw)
    except ValueError:
        yield from _messages(raw)
        return
    micros = str(entry.get("_SOURCE_MONOTONIC_TIMESTAMP", ""))
    time = int(micros) / 1e6 if micros.isdigit() else None
    text = next((str(entry[field]) for field in JSON_TEXTS if field in entry), raw)
    for part in text.rstrip("\n").split("\n"):
        for line in _messages(_clean(part)):
            yield line if line.time is not None else replace(line, time=time)


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
    return Line(raw[found.length:], found.time, found.caller, raw)


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
