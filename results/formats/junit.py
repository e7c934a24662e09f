# SPDX-License-Identifier: GPL-2.0-or-later
"""JUnit XML for Jenkins and GitLab, from a run's record; same content as pytest --junitxml.

FAIL is a failure, UNKNOWN an error, as in pytest; KNOWN and FIXED pass, with a note. The run's
identity is in the suite's properties. Files are attached by lines "[[ATTACHMENT|path]]" in
system-out, the form of Jenkins' JUnit Attachments plugin and of GitLab. A test case has no
properties: the schema that Jenkins validates with (xunit-plugin, junit-10.xsd) has none. Scenarios
far slower than their past are in the suite's property SLOW; their system-out has the figures.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from results.formats.recorded import Recorded, clean, identity, record_of, scenarios
from results.store import Run
from results.verdict import Outcome

SUITE = "scsi-target-faults"


def write(run: Run, path: Path) -> Path:
    """Write the file and return its path."""
    found = list(scenarios(run))
    outcomes = [each.judgement.outcome for each in found]
    root = ET.Element("testsuites", name=SUITE)
    host = record_of(run).get("host")
    suite = ET.SubElement(
        root, "testsuite", name=SUITE, tests=str(len(found)),
        failures=str(outcomes.count(Outcome.FAIL)), errors=str(outcomes.count(Outcome.UNKNOWN)),
        skipped="0", time=f"{sum(each.seconds for each in found):.3f}",
        timestamp=clean(record_of(run).get("started") or ""),
        hostname=clean(host.get("name") if isinstance(host, dict) else ""))
    properties = ET.SubElement(suite, "properties")
    for name, value in identity(run).items():
        ET.SubElement(properties, "property", name=name, value=value)
    if slow := [each for each in found if each.judgement.slow]:
        ET.SubElement(properties, "property", name="SLOW",
                      value=clean(", ".join(each.name for each in slow)))
    for each in found:
        suite.append(_case(each))
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    return path


def _case(each: Recorded) -> ET.Element:
    judgement = each.judgement
    case = ET.Element("testcase", name=clean(each.name), classname=f"{SUITE}.{_target(each)}",
                      time=f"{each.seconds:.3f}")
    kinds = {Outcome.FAIL: "failure", Outcome.UNKNOWN: "error"}
    if kind := kinds.get(judgement.outcome):
        check = judgement.decided_by
        node = ET.SubElement(case, kind, message=clean(judgement.reason),
                             type=check.name if check else "machine")
        node.text = "\n".join(clean(words) for words in (
            *(f"consequence: {each}" for each in judgement.consequences),
            *(f"{found.verdict} {found.name}: {found.reason}" for found in judgement.checks)))
    ET.SubElement(case, "system-out").text = "\n".join(attached(
        each.files(), [*([_known_words(each)] if judgement.known else []),
                       *map(str, judgement.slow)]))
    return case


def _known_words(each: Recorded) -> str:
    known = each.judgement.known
    return (f"{each.judgement.outcome}: {known.id} ({known.link}){each.judgement.recognised}"
            if known else "")


def _target(each: Recorded) -> str:
    return clean(each.name.partition("-")[0])


def attached(files: Iterable[Path], words: Iterable[str] = ()) -> list[str]:
    """Return the lines that name files as attachments, after the given words."""
    return [*map(clean, words), *(f"[[ATTACHMENT|{clean(path.absolute())}]]" for path in files)]
