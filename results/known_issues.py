# SPDX-License-Identifier: GPL-2.0-or-later
"""Known issues: understood failures, recognised by their signatures.

``suites/known_issues.toml`` holds the entries and explains their format. A failure is recognised by
its signature: the check, the kind of failure and the place; and, where that is the signature of
several defects, by facts about the commands (results.command_facts). A scenario's name can only
state that an issue is expected in it, so that its absence is noticed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import command_facts
from results.checkers import (
    deadline,
    integrity,
    kernel_health,
    ledger,
    operations,
    recovery,
    resources,
    teardown,
    threads,
)
from results.errors import WrongUsageError
from results.kernel_log.kinds import Kind
from results.verdict import Check, Signature, Verdict

if TYPE_CHECKING:
    from results.judge import Judgement

WILDCARDS = "*?[]!"
"""An anchor of these characters alone is refused: it would match everything."""


OVERWRITTEN_MEMORY = frozenset(map(str, (
    Kind.PAGE_FAULT, Kind.NULL_DEREFERENCE, Kind.GENERAL_PROTECTION, Kind.OOPS, Kind.BUG,
    Kind.LIST_CORRUPTION, Kind.SLAB_CORRUPTION, Kind.REFCOUNT, Kind.BAD_PAGE, Kind.PANIC,
    Kind.KASAN, Kind.KFENCE)))
"""Kinds of reports of a kernel whose memory was overwritten."""

OWN_SIGNATURE_ONLY = OVERWRITTEN_MEMORY | frozenset(map(str, (
    Kind.KMSAN, Kind.USERCOPY, Kind.MEMORY_LEAK)))
"""Kinds of reports of bad memory. Only an entry whose own signature names such a report explains
it; it is the consequence (``also``) of no issue."""

MAY_FOLLOW = frozenset((
    kernel_health.NAME, threads.NAME, ledger.NAME, deadline.NAME, integrity.NAME, teardown.NAME,
    recovery.NAME, resources.NAME, operations.NAME))
"""Checkers that may fail as a consequence of overwritten memory. A scenario's own expectations
are not among them."""


Found = tuple[str, Signature]
"""A check's name with one of its signatures."""


@dataclass(frozen=True)
class Pattern:
    """The required form of a check's signature.

    ``kinds``: its kind is one of these. ``anchors``: fnmatch patterns, each of which must match one
    of the signature's anchors.
    """

    check: str
    kinds: tuple[str, ...]
    anchors: tuple[str, ...]

    def matches(self, check: str, signature: Signature) -> bool:
        """Return whether a check's signature has this form."""
        return check == self.check and signature.kind in self.kinds and all(
            _any_matches((pattern,), signature.anchors) for pattern in self.anchors
        )

    def describe(self, signature: Signature) -> str:
        """Return the part of a matching signature that this pattern names, as text."""
        named = [word for word in signature.anchors if _any_matches(self.anchors, (word,))]
        return f"{self.check}: {signature.kind} ({', '.join(named)})"


@dataclass(frozen=True)
class KnownIssue:
    """An understood failure.

    ``signature``: all of these patterns match when it occurs. ``also``: patterns that may match in
    addition, and mean nothing alone. ``evidence``: patterns of facts about commands
    (results.command_facts) that the issue needs. ``absent``: patterns of facts that it excludes:
    with one of them the signature has another cause. ``versions``, ``kernels``: fnmatch patterns of
    the affected versions of the target and releases of the kernel (none: all). ``expected``:
    patterns of the scenarios that are expected to show it. ``only``: patterns of the scenarios in
    which the signature means this issue; elsewhere the same signature may have another cause (none:
    any scenario). ``link``: an address or a commit. ``wild``: the issue overwrites memory of
    others, so anything may fail. It then has no signature: in the scenarios of ``only``, a kernel
    report of a kind in ``OVERWRITTEN_MEMORY`` shows it, and explains the failures of the checkers
    in ``MAY_FOLLOW``.
    """

    id: str
    link: str
    summary: str = ""
    target: str = ""
    signature: tuple[Pattern, ...] = ()
    also: tuple[Pattern, ...] = ()
    evidence: tuple[Pattern, ...] = ()
    absent: tuple[Pattern, ...] = ()
    versions: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    wild: bool = False

    def applies(self, target: str, target_version: str | None, kernel_release: str) -> bool:
        """Return whether a target on a kernel has the issue.

        A pattern of ``versions`` may match the whole version or a word of it: a commit. A target of
        unknown version has no issue that is limited to some versions.
        """
        version = target_version or ""
        return (
            _any_matches((self.target,), (target,))
            and (not self.versions or _any_matches(self.versions, (version, *version.split())))
            and (not self.kernels or _any_matches(self.kernels, (kernel_release,)))
        )

    def means(self, scenario: str) -> bool:
        """Return whether the signature means this issue in a scenario."""
        return not self.only or _any_matches(self.only, (scenario,))

    def explains(self, checks: Sequence[Check], facts: Sequence[Signature] = ()) -> bool:
        """Return whether the checks with FAIL show this issue, all of it and nothing else."""
        failed = [check for check in checks if check.verdict is Verdict.FAIL]
        found = _found(checks)
        if self.wild:
            return any(name == kernel_health.NAME and each.kind in OVERWRITTEN_MEMORY
                       for name, each in found) and all(
                           check.name in MAY_FOLLOW for check in failed)
        return (
            all(check.signatures for check in failed)
            and all(_is_one_of((*self.signature, *self.also), *each) for each in found)
            and self.shown_by(found, facts)
        )

    def shown_by(self, found: Sequence[Found], facts: Sequence[Signature] = ()) -> bool:
        """Return whether all of its signature is among what the checks found.

        Its evidence is among the facts, too, and nothing that it excludes.
        """
        among = [(command_facts.NAME, each) for each in facts]
        return bool(self.signature) and all(
            any(want.matches(*each) for each in found) for want in self.signature
        ) and all(any(want.matches(*each) for each in among) for want in self.evidence
                  ) and not any(bar.matches(*each) for bar in self.absent for each in among)

    def matched(self, checks: Sequence[Check], facts: Sequence[Signature] = ()) -> tuple[str, ...]:
        """Return what the issue is recognised by, in words: one for each pattern that it needs."""
        found = [*_found(checks), *((command_facts.NAME, each) for each in facts)]
        if self.wild:
            return tuple(dict.fromkeys(
                f"{name}: {each.kind} ({each.anchors[0] if each.anchors else ''})"
                for name, each in found
                if name == kernel_health.NAME and each.kind in OVERWRITTEN_MEMORY))
        first = (next((want.describe(each) for name, each in found if want.matches(name, each)),
                      None) for want in (*self.signature, *self.evidence))
        return tuple(dict.fromkeys(words for words in first if words))


ENTRIES = Path(__file__).parents[1] / "suites" / "known_issues.toml"
"""The project's own known issues."""


def load(path: Path) -> tuple[KnownIssue, ...]:
    """Read a file of known issues. Raises WrongUsageError naming the file and the entry."""
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongUsageError(f"{path} cannot be read: {error}") from error
    if strangers := sorted(set(record) - {"issue"}):
        raise WrongUsageError(f"{path}: {strangers[0]!r} is not [[issue]]")
    issues: list[KnownIssue] = []
    for number, entry in enumerate(_tables(record, "issue", str(path)), 1):
        where = f"{path}: issue {entry.get('id') or number}"
        issue = _issue(entry, where)
        if any(issue.id == other.id for other in issues):
            raise WrongUsageError(f"{where} is there twice")
        issues.append(issue)
    return tuple(issues)


def apply(
    judgement: Judgement, issues: Sequence[KnownIssue], target: str, target_version: str | None,
    kernel_release: str,
) -> Judgement:
    """Return the judgement with the known issue that explains it, or that it shows to be fixed.

    ``target``: its name ("scst"). ``target_version``: version and commit separated by a blank, as
    the target's ``describe`` reports them, or None. ``kernel_release``: uname -r.
    """
    concerned = [each for each in issues if each.applies(target, target_version, kernel_release)]
    known: KnownIssue | None = None
    matched: tuple[str, ...] = ()
    checks, facts = judgement.checks, judgement.facts
    if judgement.verdict is Verdict.FAIL:
        meant = [each for each in concerned if each.means(judgement.scenario)]
        known = next((each for each in meant if each.explains(checks, facts)), None) \
            or together(meant, checks, facts)
        matched = known.matched(checks, facts) if known else ()
    elif judgement.verdict is Verdict.PASS:
        known = next(
            (each for each in concerned if _any_matches(each.expected, (judgement.scenario,))),
            None,
        )
    return replace(judgement, known=known, matched=matched)


def together(
    issues: Sequence[KnownIssue], checks: Sequence[Check], facts: Sequence[Signature] = (),
) -> KnownIssue | None:
    """Return the issues that explain the failed checks only together, as one; None if they do not.

    Each has to show all of its own signature and evidence: what one of them explains alone proves
    no other.
    """
    found = _found(checks)
    shown = [each for each in issues if each.shown_by(found, facts)]
    patterns = [pattern for each in shown for pattern in (*each.signature, *each.also)]
    whole = KnownIssue(
        ", ".join(each.id for each in shown),
        "; ".join(dict.fromkeys(each.link for each in shown)),
        signature=tuple(pattern for each in shown for pattern in each.signature),
        evidence=tuple(pattern for each in shown for pattern in each.evidence))
    complete = all(check.signatures for check in checks if check.verdict is Verdict.FAIL)
    return whole if len(shown) > 1 and complete and all(
        _is_one_of(patterns, *each) for each in found) else None


def _found(checks: Sequence[Check]) -> list[Found]:
    return [(check.name, each) for check in checks if check.verdict is Verdict.FAIL
            for each in check.signatures]


def _any_matches(patterns: Iterable[str], words: Sequence[str]) -> bool:
    return any(fnmatchcase(word, pattern) for pattern in patterns for word in words)


def _is_one_of(patterns: Iterable[Pattern], check: str, signature: Signature) -> bool:
    return any(pattern.matches(check, signature) for pattern in patterns)


def _issue(entry: Mapping[str, Any], where: str) -> KnownIssue:
    _refuse_strangers(entry, {each.name for each in fields(KnownIssue)}, where)
    _require_words(entry, ("id", "link", "summary", "target"), where)
    signature = _patterns(entry, "signature", where)
    wild = entry.get("wild", False)
    if not isinstance(wild, bool) or (wild and (
            entry.keys() & {"signature", "also", "evidence", "absent"} or not entry.get("only"))):
        raise WrongUsageError(
            f"{where}: wild is true or false; if true there is an \"only\", and no signature")
    if not signature and not wild:
        raise WrongUsageError(
            f"{where} has no signature: nothing is known by a scenario's name alone")
    _refuse_reports(also := _patterns(entry, "also", where), f"{where}: also")
    evidence, absent = (_facts(entry, name, where) for name in ("evidence", "absent"))
    if absent and not evidence:
        raise WrongUsageError(
            f"{where} has absent, but no evidence: a record without facts would do")
    lists = {name: _words(entry.get(name, []), f"{where}: {name}")
             for name in ("versions", "kernels", "expected", "only")}
    return KnownIssue(
        entry["id"], entry["link"], entry["summary"], entry["target"], signature,
        also, evidence, absent, **lists, wild=wild)


def _refuse_reports(also: Iterable[Pattern], where: str) -> None:
    """Raise WrongUsageError for a consequence that may be another defect's own report."""
    for pattern in also:
        if pattern.check == kernel_health.NAME and (
                kinds := sorted(OWN_SIGNATURE_ONLY.intersection(pattern.kinds))):
            raise WrongUsageError(
                f"{where} has a {kinds[0]} report ({', '.join(pattern.anchors)}): a report of bad "
                "memory is a consequence of no issue; name it in a signature, if need be in an "
                "entry of its own")


def _facts(entry: Mapping[str, Any], name: str, where: str) -> tuple[Pattern, ...]:
    """Return patterns of facts, whose tables have a kind and an anchor, and no check."""
    tables = [{"check": command_facts.NAME, **each} for each in _tables(entry, name, where)]
    found = tuple(_pattern(each, f"{where}: {name}") for each in tables)
    for pattern in found:
        if pattern.check != command_facts.NAME or set(pattern.kinds) - set(command_facts.KINDS):
            raise WrongUsageError(f"{where}: {name} is no fact about a command: its kind is one of "
                                  f"{', '.join(command_facts.KINDS)}")
    return found


def _patterns(entry: Mapping[str, Any], name: str, where: str) -> tuple[Pattern, ...]:
    return tuple(
        _pattern(each, f"{where}: {name}") for each in _tables(entry, name, where)
    )


def _pattern(entry: Mapping[str, Any], where: str) -> Pattern:
    _refuse_strangers(entry, {"check", "kind", "anchor"}, where)
    _require_words(entry, ("check",), where)
    kinds, anchors = (_one_or_more(entry.get(name), f"{where}: {name}")
                      for name in ("kind", "anchor"))
    if not kinds:
        raise WrongUsageError(f"{where} has no kind")
    if not anchors or not all(each.strip(WILDCARDS) for each in anchors):
        raise WrongUsageError(f"{where} has no anchor: a function, a task, a title, an operation")
    return Pattern(entry["check"], kinds, anchors)


def _refuse_strangers(entry: Mapping[str, Any], names: Set[str], where: str) -> None:
    if strangers := sorted(set(entry) - names):
        raise WrongUsageError(f"{where} has {strangers[0]!r}, which it cannot have")


def _require_words(entry: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in names:
        if not isinstance(entry.get(name), str) or not entry[name].strip():
            raise WrongUsageError(f"{where} has no {name}")


def _tables(entry: Mapping[str, Any], name: str, where: str) -> list[Mapping[str, Any]]:
    tables = entry.get(name, [])
    if isinstance(tables, dict):
        tables = [tables]
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise WrongUsageError(f"{where}: {name} is not a table")
    return tables


def _one_or_more(value: object, where: str) -> tuple[str, ...]:
    return _words([value] if isinstance(value, str) and value.strip() else value or [], where)


def _words(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise WrongUsageError(f"{where} is not a list of patterns")
    return tuple(value)
