# SPDX-License-Identifier: GPL-2.0-or-later
"""Every clause that is cited anywhere in the project is listed in results.standards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs_build import standards
from results.standards import DOCUMENTS

ROOT = Path(__file__).parents[2]

FOLDERS = ("docs", "docs_build", "fixtures", "inject", "results", "suites", "targets")

ITSELF = (Path(__file__), ROOT / "results" / "standards.py")
"""Files that are not searched: the table, and the wrong citations below."""

NUMBER = r"(?:(?:table|clause) \d+|[A-Z]\.\d+(?:\.\d+)*|\d+(?:\.(?:\d+|x))+|1[0-6])"
"""A clause's number; a whole clause is "clause 7", or 10 to 16 in RFC 7143."""

CITATION = re.compile(
    r"\b(?P<document>(?:SAM|SPC|SBC)-\d|RFC \d{4})"
    rf"(?:,? (?P<numbers>{NUMBER}\b(?:(?:, (?:and )?| and | to ){NUMBER}\b)*)"
    r"|, (?P<title>[A-Z][a-z]\w+ [\w ()]+|[A-Z]+ \(\d+\)))?")


def joined(text: str) -> str:
    """Return a file's text in one line: strings and comments over several lines become one."""
    text = re.sub(r'"\s*\n\s*f?"', "", text)
    return re.sub(r"\s*\n\s*(?:# ?)?", " ", text)


def unknown(text: str) -> Iterator[str]:
    """Yield every citation of a text whose document, clause or title is not listed."""
    for cited in CITATION.finditer(joined(text)):
        document = DOCUMENTS.get(cited["document"])
        if document is None:
            yield cited[0]
            continue
        yield from (f"{document.name} {number}"
                    for number in re.findall(NUMBER, cited["numbers"] or "")
                    if number not in document.clauses)
        if cited["title"] and not cited["title"].startswith(document.titles):
            yield cited[0]


def files() -> Iterator[Path]:
    """Yield every file in which a clause may be cited."""
    yield from ROOT.glob("*.md")
    for folder in FOLDERS:
        yield from (path for path in sorted((ROOT / folder).rglob("*"))
                    if path.suffix in {".py", ".md", ".toml"} and path not in ITSELF)


def test_every_cited_clause_is_listed() -> None:
    wrong = {str(path.relative_to(ROOT)): found for path in files()
             if (found := list(unknown(path.read_text(encoding="utf-8"))))}
    assert not wrong, "read the clause in the standard, then list it in results/standards.py"


def test_every_listed_clause_is_cited() -> None:
    text = " ".join(joined(path.read_text(encoding="utf-8")) for path in files())
    cited = {(found["document"], number) for found in CITATION.finditer(text)
             for number in re.findall(NUMBER, found["numbers"] or "")}
    listed = {(each.name, number) for each in DOCUMENTS.values() for number in each.clauses}
    assert listed - cited <= BY_NUMBER_ALONE


BY_NUMBER_ALONE = {("SPC-4", "6.4.5"), ("SPC-4", "6.4.6")}
"""Clauses whose citation is only their number, after the document's name further in front."""


@pytest.mark.parametrize(("text", "found"), [
    ("(SBC-4 5.99)", ["SBC-4 5.99"]),
    ("RFC 7143 6.3.5, 6.5.3: ends", ["RFC 7143 6.5.3"]),
    ("RFC 7143 14", ["RFC 7143 14"]),
    ("SPC-4 5.x", ["SPC-4 5.x"]),
    ("SPC-4 table 1", ["SPC-4 table 1"]),
    ("SAM-6 5.3.1", ["SAM-6 5.3.1"]),
    ("SAM-5, Send Command Twice: once", ["SAM-5, Send Command Twice"]),
    ('clause="SBC-4 "\n    "5.99"', ["SBC-4 5.99"]),
    ("# by RFC\n# 7143 1.99", ["RFC 7143 1.99"]),
    ("SBC-4 5.16 to 5.99", ["SBC-4 5.99"]),
])
def test_a_clause_from_memory_is_refused(text: str, found: list[str]) -> None:
    assert list(unknown(text)) == found


@pytest.mark.parametrize("text", [
    "SBC-4 5.40: a WRITE", "SPC-4 6.11 to 6.14 and 7.5, SBC-4 6.5", "RFC 7143, 6.3 and 11.12.",
    "SAM-5, Send Command Complete: once", "SBC-3, READ (6)", "SAM-5 clause 7", "violates RFC 7143",
])
def test_a_listed_clause_may_be_cited(text: str) -> None:
    assert not list(unknown(text))


def test_the_documents_page_has_every_clause() -> None:
    page = standards.markdown()
    assert all(number in page for each in DOCUMENTS.values() for number in each.clauses)
    assert all(each.name in page and each.revision in page for each in DOCUMENTS.values())
