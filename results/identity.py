# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether two runs had the same target: the parts of run.json, compared.

A part is a file of target or kernel (targets.identity). A build id alone is not all of it: every
recorded fact must be equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

Parts = Mapping[str, Mapping[str, str]]

NAMED_MAX = 3
"""Number of further differing parts that are named."""

DIGITS = 12
"""Hexadecimal digits of build ids and identities that are shown."""


def parts_of(record: Mapping[str, Any]) -> Parts:
    """Return the parts in a run's record, by name; those without a release belong to all kernels.

    A file of an installed target replaces the loaded module of the same name.
    """
    target = record.get("target")
    files = target.get("parts") if isinstance(target, dict) else None
    loaded = record.get("parts")
    files, loaded = (each if isinstance(each, dict) else {} for each in (files, loaded))
    installed = {name.replace("-", "_") for name in files}
    return {**{name: part for name, part in loaded.items() if isinstance(part, dict)
               and name.replace("-", "_") not in installed},
            **{name: part for name, part in files.items() if isinstance(part, dict)}}


def identity(parts: Parts, release: str | None, releases: Iterable[str]) -> str | None:
    """Return a short name of the target on one kernel; None when no part is recorded.

    ``releases``: of all kernels of the run; parts of the others do not count. Equal names mean
    equal targets.
    """
    others = tuple(f"{each}/" for each in releases if each != release)
    own = {name: dict(part) for name, part in parts.items() if not name.startswith(others)}
    if not own:
        return None
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:DIGITS]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return a note in one line on the parts that differ between two runs; none if none does.

    Parts of a kernel that only one of the runs had are not compared.
    """
    was, is_ = parts_of(before), parts_of(after)
    if not was or not is_:
        return [f"the {'earlier' if not was else 'later'} run has no record of the target's "
                "parts: it may be another target"] if was or is_ else []
    foreign = tuple(f"{release}/" for release in _releases(before) ^ _releases(after))
    names = [name for name in dict.fromkeys([*was, *is_])
             if was.get(name) != is_.get(name) and not name.startswith(foreign)]
    if not names:
        return []
    first, *rest = names
    words = f"another {first}: {_fact(was.get(first), is_.get(first))}"
    if rest:
        more = f" and {len(rest) - NAMED_MAX} more" if len(rest) > NAMED_MAX else ""
        words += f"; another {', '.join(rest[:NAMED_MAX])}{more}"
    return [words]


def _releases(record: Mapping[str, Any]) -> set[str]:
    kernels = record.get("kernels") or ()
    return {str(each.get("release")) for each in kernels if isinstance(each, dict)}


def _fact(was: Mapping[str, str] | None, is_: Mapping[str, str] | None) -> str:
    """Return the first fact that differs, before and after."""
    name = next((name for name in WORDS if (was or {}).get(name) != (is_ or {}).get(name)), "")
    return f"{_value(was, name)}, then {_value(is_, name)}"


WORDS: Mapping[str, str] = {"build_id": "build id", "sha256": "SHA-256",
                            "srcversion": "srcversion", "version": "version"}
"""The facts of a part, the most exact first, with their names in notes."""


def _value(part: Mapping[str, str] | None, name: str) -> str:
    if part is None:
        return "none"
    value = part.get(name) or "none"
    return f"{WORDS.get(name, name)} {value[:DIGITS] if name == 'build_id' else value}"
