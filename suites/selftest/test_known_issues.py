# SPDX-License-Identifier: GPL-2.0-or-later
"""Known issues: matched by signature only, and only if there is no other failure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from results.errors import WrongUsageError
from results.judge import Judgement, interrupted
from results.known_issues import OWN_SIGNATURE_ONLY, KnownIssue, Pattern, apply, load
from results.verdict import Check, Outcome, Signature, Verdict

SHIPPED = Path(__file__).parents[1] / "known_issues.toml"

SPIN = Signature("spinning", ("scst_usr_cleanu", "sgv_pool_flush"))
LATE = Signature("late", ("write",))
LOCKUP = Signature("soft lockup", ("soft lockup in sgv_pool_flush", "sgv_pool_flush"))

ENTRY = """
[[issue]]
id = "scst-shared-pool"
summary = "scst_usr_cleanupd spins when two devices share a pool"
link = "https://example.org/83745c0a2"
target = "scst"
versions = ["3.10.*", "83745c0*"]
kernels = ["6.1.*"]
expected = ["scst-*-shared-*"]

[[issue.signature]]
check = "threads"
kind = "spinning"
anchor = "scst_usr_cleanu*"

[[issue.also]]
check = "kernel_health"
kind = "soft lockup"
anchor = ["sgv_*", "soft lockup in *"]
"""


def write(path: Path, text: str) -> Path:
    """Write a file of known issues."""
    file = path / "known_issues.toml"
    file.write_text(text)
    return file


@pytest.fixture
def issues(tmp_path: Path) -> tuple[KnownIssue, ...]:
    """Provide the one issue of ENTRY."""
    return load(write(tmp_path, ENTRY))


def judgement(*failed: tuple[str, Signature], scenario: str = "scst-6.1-a") -> Judgement:
    """Return a judgement with a passed check, and a failed check for each name."""
    names = dict.fromkeys(name for name, _ in failed)
    checks = [
        Check(name, Verdict.FAIL, "", signatures=[each for key, each in failed if key == name])
        for name in names
    ]
    return Judgement(scenario, (Check("machine", Verdict.PASS, ""), *checks))


def outcome(
    found: Judgement, issues: tuple[KnownIssue, ...], target: str = "scst",
    version: str | None = "3.10.0 9f00", kernel: str = "6.1.176",
) -> Outcome:
    """Return the outcome after the issues are applied."""
    return apply(found, issues, target, version, kernel).outcome


def test_the_file_that_is_shipped_is_read() -> None:
    for issue in load(SHIPPED):
        assert issue.wild or issue.signature


def test_all_of_an_entry_is_read(issues: tuple[KnownIssue, ...]) -> None:
    assert issues == (KnownIssue(
        "scst-shared-pool", "https://example.org/83745c0a2",
        "scst_usr_cleanupd spins when two devices share a pool", "scst",
        (Pattern("threads", ("spinning",), ("scst_usr_cleanu*",)),),
        (Pattern("kernel_health", ("soft lockup",), ("sgv_*", "soft lockup in *")),),
        versions=("3.10.*", "83745c0*"), kernels=("6.1.*",), expected=("scst-*-shared-*",),
    ),)


def test_a_failure_with_exactly_the_signature_is_known(issues: tuple[KnownIssue, ...]) -> None:
    found = apply(judgement(("threads", SPIN)), issues, "scst", "3.10.0", "6.1.176")
    assert found.known == issues[0]
    assert found.outcome is Outcome.KNOWN
    assert found.verdict is Verdict.FAIL


def test_what_follows_from_it_may_be_there(issues: tuple[KnownIssue, ...]) -> None:
    found = judgement(("kernel_health", LOCKUP), ("threads", SPIN))
    assert outcome(found, issues) is Outcome.KNOWN


@pytest.mark.parametrize("failed", [
    [("threads", SPIN), ("deadline", LATE)],
    [("threads", SPIN), ("threads", Signature("stuck", ("rmmod",)))],
    [("threads", SPIN), ("threads", Signature("spinning", ("iscsird",)))],
    [("threads", Signature("stuck", ("scst_usr_cleanu",)))],
    [("threads", SPIN), ("kernel_health", Signature("soft lockup", ("sgv_pool_flush",)))],
    [("kernel_health", LOCKUP)],
    [("deadline", SPIN)],
])
def test_any_other_failure_is_one(
    issues: tuple[KnownIssue, ...], failed: list[tuple[str, Signature]],
) -> None:
    """Signatures that differ from the issue's are a failure.

    Another check, a second thing, another kind, half an anchor, only a consequence, the signature
    in another check.
    """
    assert outcome(judgement(*failed), issues) is Outcome.FAIL


def test_a_failure_without_a_signature_is_not_explained(issues: tuple[KnownIssue, ...]) -> None:
    found = judgement(("threads", SPIN))
    bare = Judgement("a", (*found.checks, Check("operations", Verdict.FAIL, "it broke")))
    assert outcome(bare, issues) is Outcome.FAIL


def test_a_check_that_could_not_tell_does_not_matter(issues: tuple[KnownIssue, ...]) -> None:
    found = judgement(("threads", SPIN))
    partly = Judgement("a", (*found.checks, Check("recovery", Verdict.UNKNOWN, "not attempted")))
    assert outcome(partly, issues) is Outcome.KNOWN


@pytest.mark.parametrize(("target", "version", "kernel", "expected"), [
    ("scst", "3.10.0", "6.1.176", Outcome.KNOWN),
    ("scst", "3.11.0-pre 83745c0a2b1f", "6.1.176", Outcome.KNOWN),
    ("scst", "3.11.0-pre 1234567", "6.1.176", Outcome.FAIL),
    ("scst", None, "6.1.176", Outcome.FAIL),
    ("scst", "3.10.0", "6.12.1", Outcome.FAIL),
    ("lio", "3.10.0", "6.1.176", Outcome.FAIL),
])
def test_it_applies_to_some_versions(
    issues: tuple[KnownIssue, ...], target: str, version: str | None, kernel: str,
    expected: Outcome,
) -> None:
    found = judgement(("threads", SPIN))
    assert outcome(found, issues, target, version, kernel) is expected


@pytest.mark.parametrize("target", ["scst", "lio"])
def test_a_target_may_be_a_pattern(tmp_path: Path, target: str) -> None:
    """A fault of the initiator occurs with every target."""
    text = ENTRY.replace('target = "scst"', 'target = "*"').replace('"3.10.*"', '"*"')
    found = judgement(("threads", SPIN))
    assert outcome(found, load(write(tmp_path, text)), target) is Outcome.KNOWN


def test_a_signature_may_mean_the_issue_in_some_scenarios_only(tmp_path: Path) -> None:
    text = ENTRY.replace('expected = ["scst-*-shared-*"]', 'only = ["scst-*-shared-*"]')
    issues = load(write(tmp_path, text))
    assert outcome(judgement(("threads", SPIN)), issues) is Outcome.FAIL
    shared = judgement(("threads", SPIN), scenario="scst-6.1-shared-a")
    assert outcome(shared, issues) is Outcome.KNOWN


def test_without_versions_it_applies_to_all(tmp_path: Path) -> None:
    lines = [line for line in ENTRY.splitlines() if not line.startswith(("versions", "kernels"))]
    issues = load(write(tmp_path, "\n".join(lines)))
    assert outcome(judgement(("threads", SPIN)), issues, version=None, kernel="x") is Outcome.KNOWN


def test_passing_where_it_was_expected_is_fixed(issues: tuple[KnownIssue, ...]) -> None:
    passed = judgement(scenario="scst-6.1-shared-pool")
    assert outcome(passed, issues) is Outcome.FIXED
    assert outcome(passed, issues, version="3.11.0") is Outcome.PASS
    assert outcome(judgement(scenario="scst-6.1-other"), issues) is Outcome.PASS


def test_an_expected_scenario_may_fail_otherwise(issues: tuple[KnownIssue, ...]) -> None:
    failed = judgement(("deadline", LATE), scenario="scst-6.1-shared-pool")
    assert outcome(failed, issues) is Outcome.FAIL


def test_unknown_stays_unknown(issues: tuple[KnownIssue, ...]) -> None:
    lost = interrupted("scst-6.1-shared-pool", "QEMU was killed")
    assert outcome(lost, issues) is Outcome.UNKNOWN


def test_an_issue_that_is_not_known_any_more_is_forgotten(issues: tuple[KnownIssue, ...]) -> None:
    found = apply(judgement(("threads", SPIN)), issues, "scst", "3.10.0", "6.1.176")
    assert apply(found, (), "scst", "3.10.0", "6.1.176").outcome is Outcome.FAIL


def test_an_issue_may_need_several_signatures(tmp_path: Path) -> None:
    both = ENTRY.replace("issue.also", "issue.signature")
    issues = load(write(tmp_path, both))
    assert outcome(judgement(("threads", SPIN)), issues) is Outcome.FAIL
    assert outcome(judgement(("threads", SPIN), ("kernel_health", LOCKUP)), issues) is (
        Outcome.KNOWN)


def test_one_signature_may_be_a_plain_table(tmp_path: Path) -> None:
    issues = load(write(tmp_path, ENTRY.replace("[[issue.signature]]", "[issue.signature]")))
    assert outcome(judgement(("threads", SPIN)), issues) is Outcome.KNOWN


HEAD = 'id = "a"\nsummary = "b"\nlink = "c"\ntarget = "scst"\n'
SIGNATURE = '[[issue.signature]]\ncheck = "threads"\nkind = "spinning"\nanchor = "x"\n'
FACT = '[[issue.evidence]]\nkind = "held"\nanchor = "at EXEC"\n'


@pytest.mark.parametrize(("text", "words"), [
    (f"[[issue]]\n{HEAD}expected = ['scst-*']\n",
     "issue a has no signature: nothing is known by a scenario's name alone"),
    (f"[[issue]]\n{SIGNATURE}", "issue 1 has no id"),
    (f"[[issue]]\n{HEAD.replace('link', 'where')}{SIGNATURE}", "issue a has 'where'"),
    (f"[[issue]]\n{HEAD.replace('c', '')}{SIGNATURE}", "issue a has no link"),
    (f"[[issue]]\n{HEAD}{SIGNATURE.replace('spinning', '')}", "issue a: signature has no kind"),
    (f"[[issue]]\n{HEAD}{SIGNATURE.replace('x', '*')}", "issue a: signature has no anchor"),
    (f"[[issue]]\n{HEAD}{SIGNATURE.replace('anchor', 'frame')}", "issue a: signature has 'frame'"),
    (f"[[issue]]\n{HEAD}versions = 'all'\n{SIGNATURE}", "issue a: versions is not a list"),
    (f"[[issue]]\n{HEAD}signature = ['x']\n", "issue a: signature is not a table"),
    (f"[[issue]]\n{HEAD}{SIGNATURE}[[issue]]\n{HEAD}{SIGNATURE}", "issue a is there twice"),
    (f"[[issue]]\n{HEAD}wild = true\n", "issue a: wild is true or false; if true there is an"),
    (f"[[issue]]\n{HEAD}only = ['x']\nwild = true\n{SIGNATURE}", "issue a: wild is true or false"),
    (f"[[issue]]\n{HEAD}only = ['x']\nwild = 1\n", "issue a: wild is true or false"),
    (f"[[issue]]\n{HEAD}{SIGNATURE}{FACT.replace('held', 'holds')}",
     "issue a: evidence is no fact about a command: its kind is one of held"),
    (f"[[issue]]\n{HEAD}{SIGNATURE}{FACT}check = 'ledger'\n", "is no fact about a command"),
    (f"[[issue]]\n{HEAD}{SIGNATURE}{FACT.replace('evidence', 'absent')}",
     "issue a has absent, but no evidence: a record without facts would do"),
    (f"[[issue]]\n{HEAD}only = ['x']\nwild = true\n{FACT}", "issue a: wild is true or false"),
    *((f"[[issue]]\n{HEAD}{SIGNATURE}"
       f"[[issue.also]]\ncheck = 'kernel_health'\nkind = ['WARNING', '{kind}']\nanchor = 'f'\n",
       f"issue a: also has a {kind} report (f)") for kind in sorted(OWN_SIGNATURE_ONLY)),
    ("[[isue]]\n", "'isue' is not [[issue]]"),
    ("issue = 3\n", "issue is not a table"),
    ("[[issue\n", "cannot be read"),
])
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(WrongUsageError) as refused:
        load(file)
    assert str(refused.value).startswith(str(file))
    assert words in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WrongUsageError, match="cannot be read"):
        load(tmp_path / "none.toml")


WILD = KnownIssue("overwrites", "link", target="scst", only=("scst-*-trap-*",), wild=True)
FAULT = Signature("general protection fault", ("llist_reverse_order",))


@pytest.mark.parametrize(("checks", "known"), [
    ([("kernel_health", FAULT)], True),
    ([("kernel_health", FAULT), ("threads", SPIN), ("ledger", Signature("open", ("read",)))], True),
    ([("kernel_health", Signature("hung task", ("f",)))], False),
    ([("threads", SPIN)], False),
    ([("kernel_health", FAULT), ("expectations", Signature("unmet", ("it was sent",)))], False),
])
def test_what_writes_over_memory_is_known_by_what_the_kernel_says(
    checks: list[tuple[str, Signature]], known: bool,
) -> None:
    """An overwrite may cause any failure, but not an unmet expectation that the fault was sent."""
    found = judgement(*checks, scenario="scst-6.1-trap-a")
    assert outcome(found, (WILD,)) is (Outcome.KNOWN if known else Outcome.FAIL)
    elsewhere = judgement(*checks, scenario="scst-6.1-smoke")
    assert outcome(elsewhere, (WILD,)) is Outcome.FAIL


def test_a_signature_may_have_one_of_several_kinds(tmp_path: Path) -> None:
    issues = load(write(tmp_path, f"[[issue]]\n{HEAD}" + SIGNATURE.replace(
        'kind = "spinning"', 'kind = ["stuck", "spinning"]')))
    (pattern,) = issues[0].signature
    assert pattern.kinds == ("stuck", "spinning")


OTHER = """
[[issue]]
id = "another"
summary = "a LUN's removal waits"
link = "https://example.org/other"
target = "scst"

[[issue.signature]]
check = "teardown"
kind = "endless"
anchor = "teardown"
"""

ENDLESS = Signature("endless", ("teardown",))


def test_two_issues_explain_a_scenario_together(tmp_path: Path) -> None:
    both = load(write(tmp_path, ENTRY + OTHER))
    found = judgement(("threads", SPIN), ("teardown", ENDLESS), ("kernel_health", LOCKUP))
    known = apply(found, both, "scst", "3.10.1 83745c0", "6.1.0").known
    assert known is not None
    assert known.id == "scst-shared-pool, another"
    assert known.link == "https://example.org/83745c0a2; https://example.org/other"
    assert apply(found, both[:1], "scst", "3.10.1", "6.1.0").known is None


@pytest.mark.parametrize("failed", [
    [("threads", SPIN), ("teardown", ENDLESS), ("deadline", LATE)],  # neither explains the third
    [("kernel_health", LOCKUP), ("teardown", ENDLESS)],  # the first shows a consequence only
])
def test_two_issues_explain_no_more_than_they_show(
    tmp_path: Path, failed: list[tuple[str, Signature]],
) -> None:
    both = load(write(tmp_path, ENTRY + OTHER))
    assert apply(judgement(*failed), both, "scst", "3.10.1", "6.1.0").known is None


NEEDS = """
[[issue.evidence]]
kind = "held"
anchor = ["at EXEC", "a buffer of *"]

[[issue.absent]]
kind = "left"
anchor = "jammed"
"""

LENT = Signature("held", ("at EXEC", "write", "a buffer of stf0"))
JAMMED = Signature("left", ("EXECING", "jammed"))


@pytest.mark.parametrize(("facts", "known"), [
    ((LENT,), "scst-shared-pool"), ((LENT, LENT), "scst-shared-pool"), ((), None),
    ((JAMMED,), None), ((LENT, JAMMED), None),
    ((Signature("held", ("at EXEC", "its device's buffer")),), None),
])
def test_an_issue_may_need_and_exclude_facts(
    tmp_path: Path, facts: tuple[Signature, ...], known: str | None,
) -> None:
    issues = load(write(tmp_path, ENTRY + NEEDS))
    found = apply(replace(judgement(("threads", SPIN)), facts=facts),
                  issues, "scst", "3.10.0", "6.1.176")
    assert (found.known and found.known.id) == known
    assert found.matched == ((
        "threads: spinning (scst_usr_cleanu)", "commands: held (at EXEC, a buffer of stf0)",
    ) if known else ())
    assert found.recognised == (f", by {'; '.join(found.matched)}" if known else "")


@pytest.mark.parametrize(("facts", "known"), [((LENT,), True), ((), False), ((JAMMED,), False)])
def test_two_issues_explain_only_with_the_facts_of_each(
    tmp_path: Path, facts: tuple[Signature, ...], known: bool,
) -> None:
    both = load(write(tmp_path, ENTRY + NEEDS + OTHER))
    found = replace(judgement(("threads", SPIN), ("teardown", ENDLESS)), facts=facts)
    assert bool(apply(found, both, "scst", "3.10.1", "6.1.0").known) is known


def test_an_overwrite_is_recognised_by_the_report() -> None:
    found = judgement(("kernel_health", FAULT), ("threads", SPIN), scenario="scst-6.1-trap-a")
    found = apply(found, (WILD,), "scst", "3.10.1", "6.1.0")
    assert found.matched == ("kernel_health: general protection fault (llist_reverse_order)",)


def test_what_was_expected_and_not_seen_matches_nothing(issues: tuple[KnownIssue, ...]) -> None:
    assert apply(judgement(scenario="scst-6.1-shared-a"), issues, "scst", "3.10.1", "6.1.0",
                 ).matched == ()
