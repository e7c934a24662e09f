# SPDX-License-Identifier: GPL-2.0-or-later
"""The documents: every generated part is complete, and every page exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs_build import bounds, commands, defects, options
from docs_build.generate import MARKER, PARTS, fill
from docs_build.markup import code, plain, prose, table
from fixtures.stf.main import COMMANDS
from results.events import KINDS, describe
from results.judge import CHECKERS
from results.known_issues import ENTRIES, load
from results.ladder import Ladder
from suites.selftest.collected import TABLE

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))

README_WORDS = 900


def marked() -> set[str]:
    """Return the generated parts that occur in a page."""
    return {name for page in PAGES for name in MARKER.findall(page.read_text(encoding="utf-8"))}


def test_every_part_is_on_a_page() -> None:
    assert marked() == set(PARTS)


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == [page.name for page in PAGES]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"],
                         ids=lambda page: page.name)
def test_a_pages_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^(```|    ).*$", "", page.read_text(encoding="utf-8"), flags=re.M)
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"],
                         ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    """A path in code that begins with a folder of the project is a file of the project."""
    text = page.read_text(encoding="utf-8")
    rooms = "suites|fixtures|targets|inject|results|docs_build|docs"
    for name in re.findall(rf"`((?:{rooms})/[\w./-]+)`", text):
        if "NAME" in name or name.startswith("results/runs"):
            continue
        assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_all_options() -> None:
    text = fill("<!-- generated: options -->")
    names = [name for each in options.arguments() for name in each.names()]
    assert {"--target", "--kernel", "--scst", "--seed", "--results"} <= set(names)
    assert all(f"<code>{name}" in text or f", {name}" in text for name in names)
    assert "KEEP_STALLED" not in text, "a flag takes no value"


def test_all_commands() -> None:
    text = fill("<!-- generated: commands -->")
    assert all(f"### stf {name}\n" in text for name in COMMANDS)
    assert "### stf image build\n" in text
    assert len(list(commands.contexts())) == text.count("Usage: ")


def test_all_events() -> None:
    text = fill("<!-- generated: events -->")
    assert all(f"### {source}/{kind}\n" in text for source, kind in KINDS)
    assert text.count("\n| <code>") == len(list(describe()))


def test_all_known_issues_with_their_recipes() -> None:
    text = fill("<!-- generated: defects -->")
    recipes = defects.recipes(ENTRIES.read_text(encoding="utf-8"))
    issues = load(ENTRIES)
    assert set(recipes) == {issue.id for issue in issues}
    for issue in issues:
        assert f"### {issue.id}\n\n**{plain(issue.summary)}**" in text
        assert plain(recipes[issue.id]) in text
    assert f"| all | {len(issues)} |" in fill("<!-- generated: defect-counts -->")


def test_all_bounds() -> None:
    assert set(bounds.meanings()) == set(Ladder.__dataclass_fields__)
    assert "<code>hung&#95;task</code> | 10 | 15 |" in fill("<!-- generated: bounds -->")


def test_all_checks() -> None:
    text = fill("<!-- generated: checks -->")
    assert all(f"| {code(name)} |" in text for name in CHECKERS)
    assert "Rounds" not in text


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(KeyError):
        fill("<!-- generated: weather -->")


def test_text_is_no_markup() -> None:
    assert plain("a_b *c* <d> [e] `f`") == r"a\_b \*c\* &lt;d&gt; \[e\] \`f\`"
    assert code("a-*-b-*<c>&") == "<code>a-&#42;-b-&#42;&lt;c&gt;&amp;</code>"
    assert prose("``a|b`` of\n <c>") == "<code>a&#124;b</code> of &lt;c&gt;"
    assert table(["x"], [["1"]]) == "| x |\n| --- |\n| 1 |"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < README_WORDS


def test_the_table_of_suites_counts_their_scenarios() -> None:
    counted: dict[str, dict[str, str]] = {}
    for row in TABLE.read_text().splitlines():
        target, suite, count, _ = row.split("\t")
        counted.setdefault(suite, {})[target] = count
    rows = re.findall(r"^\| `suites/(\w+)[^`]*` \| .* \| ([\d, ]*) \|$",
                      (ROOT / "docs" / "running.md").read_text(), re.MULTILINE)
    shown = {suite: numbers for suite, numbers in rows if numbers}
    assert shown == {suite: ", ".join(found[target] for target in ("lio", "scst", "tgt"))
                     for suite, found in counted.items()}


def test_the_readme_counts_the_defects() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = {target: len(issues) for target, issues in defects.by_target()}
    assert found["*"] == 1
    counts = (f"{sum(found.values())} defects, each understood and with a recipe: "
              f"{found['scst']} in SCST, {found['lio']} in LIO, {found['tgt']} in tgt, and one in "
              "the initiator.")
    assert counts in " ".join(text.split())
