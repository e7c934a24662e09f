# SPDX-License-Identifier: GPL-2.0-or-later
"""The defects found: suites/known_issues.toml, with the comment above each entry as its recipe."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from docs_build.markup import code, plain, table
from results.known_issues import ENTRIES, KnownIssue, Pattern, load

NAMES: Mapping[str, str] = {"scst": "SCST", "lio": "LIO", "tgt": "tgt",
                            "*": "Initiator and kernel, with any target"}
"""A target's name in a heading."""

ENTRY = "[[issue]]"

ID = re.compile(r'^id = "(.+)"$', re.MULTILINE)


def recipes(text: str) -> dict[str, str]:
    """Return the comment directly above each entry, by the entry's id; "" for none."""
    found: dict[str, str] = {}
    before, *entries = text.split(f"\n{ENTRY}\n")
    for entry in entries:
        name = ID.search(entry)
        assert name is not None, f"an entry has no id: {entry[:80]!r}"
        found[name[1]] = _comment(before)
        before = entry
    return found


def _comment(text: str) -> str:
    """Return the comment that a text ends with, as one line."""
    lines: list[str] = []
    for line in reversed(text.splitlines()):
        if not line.startswith("#"):
            break
        lines.insert(0, line.lstrip("# "))
    return " ".join(lines)


def by_target() -> Iterator[tuple[str, list[KnownIssue]]]:
    """Yield each target with its issues, the one with the most first."""
    issues = load(ENTRIES)
    for target, _ in Counter(issue.target for issue in issues).most_common():
        yield target, [issue for issue in issues if issue.target == target]


def heading(target: str) -> str:
    """Return a target's name for a heading."""
    return NAMES.get(target, target)


def counts() -> str:
    """Return a table of the number of defects by target."""
    found = [(heading(target), len(issues)) for target, issues in by_target()]
    return table(["found in", "defects"], [
        *([plain(name), str(number)] for name, number in found),
        ["all", str(sum(number for _, number in found))]])


def markdown() -> str:
    """Return a section for each target, with its defects."""
    recipe = recipes(ENTRIES.read_text(encoding="utf-8"))
    parts = [counts()]
    for target, issues in by_target():
        parts.append(f"## {heading(target)}")
        parts += [_section(issue, recipe[issue.id]) for issue in issues]
    return "\n\n".join(parts)


def _section(issue: KnownIssue, recipe: str) -> str:
    facts = [
        ("versions", _patterns(issue.versions) or "all that were tested"),
        ("kernels", _patterns(issue.kernels) or "all that were tested"),
        ("seen as", "<br>".join(map(_seen_as, issue.signature)) or plain(
            "any report of corrupted memory: it writes over memory of others")),
        *(("and", "<br>".join(map(_fact, found))) for found in [issue.evidence] if found),
        *(("but not", "<br>".join(map(_fact, found))) for found in [issue.absent] if found),
        ("scenarios", _patterns(issue.expected or issue.only) or "any"),
        ("source", _link(issue.link)),
    ]
    text = f"{plain(recipe)}\n\n" if recipe else ""
    return (f"### {issue.id}\n\n**{plain(issue.summary)}**\n\n{text}"
            + table(["", ""], [[name, value] for name, value in facts]))


def _patterns(patterns: Sequence[str]) -> str:
    return ", ".join(map(code, patterns))


def _seen_as(pattern: Pattern) -> str:
    return (f"{code(pattern.check)}: {plain(' or '.join(pattern.kinds))}, "
            f"{_patterns(pattern.anchors)}")


def _fact(pattern: Pattern) -> str:
    return f"a command {plain(' or '.join(pattern.kinds))}: {_patterns(pattern.anchors)}"


def _link(link: str) -> str:
    return f"<{link}>" if link.startswith("https://") else code(link)
