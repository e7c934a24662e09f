# SPDX-License-Identifier: GPL-2.0-or-later
"""A host without enough CPU for its guests: lateness may then be the host's fault.

QEMU's threads account the time that they ran and the time that they waited for a CPU of the host
(/proc/PID/task/TID/schedstat, Documentation/scheduler/sched-stats.rst). A guest that waits as long
as it runs is half as fast as the ladder assumes. A FAIL that consists only of lateness then becomes
UNKNOWN: it has to be repeated on a quiet host. So does one that consists of what the initiator did
when its own timers ran out: it ended its session or its commands by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from results.history import History
from results.judge import Judgement
from results.verdict import Check, Figure, Outcome, Signature, Verdict

SHARE_MAX = 0.5
"""Bound of the share of its time on the host's CPUs that a guest may wait for them. On two cores
a guest with two CPUs waits for 0.13 of it (0.11 to 0.18) when alone, for 0.5 to 0.6 when two or
three run, for 0.7 to 0.8 when four run."""

TIMERS_SHARE_MAX = 0.4
"""The same bound where the initiator's timers ran out. They have 2 s for what takes the target 10
ms, and the guest may have waited all of its time at once (observed at 0.48)."""

WAIT = "host_cpu_wait"
"""The figure's name in verdict.json: the share."""

LATE = frozenset({
    "late", "bystander late", "open", "stuck", "reported late", "redeploy endless", "soft lockup",
    "hung task", "RCU stall", "workqueue lockup"})
"""Kinds of signatures that more time might have avoided. A spinning thread, an oops, a wrong
status and lost data are not among them."""

BY_INITIATOR = frozenset({"session lost"})
"""Kinds of signatures of a session that the initiator ended."""

HOST = "host "
"""Beginning of an outcome that the initiator gave a command (results.checkers.outcome)."""

FOLLOWING = frozenset({"unexpected error", "error"})
"""Kinds of signatures of errors that the initiator reports once its session or commands ended."""

SEEN_MIN = 1.0
"""Minimum of running plus waiting, in seconds, for which a share is given; below it is chance."""

WAITED = re.compile(r"\bN s\b|does not end")
"""Matches an operation's error that reports a timeout with its duration, after numbers have
become N (results.kernel_log.titles.normalised)."""


def share(history: History, since: str = "begin") -> float | None:
    """Return the greatest share of time that any guest waited for a CPU.

    ``since``: "begin" of the scenario, or "fault": when it first fired; up to the end. None where
    no guest was measured at both ends.
    """
    shares = []
    looks = list(history.select("harness", "host_cpu"))
    for machine in {event.data["machine"] for event in looks}:
        seen = [event.data for event in looks if event.data["machine"] == machine]
        first = next((each for each in seen if each.get("at", since) == since), None)
        last = seen[-1]
        if first is None or last is first or last.get("at", "end") != "end":
            continue
        ran, waited = (float(last[name]) - float(first[name]) for name in ("ran", "waited"))
        if min(ran, waited) >= 0 and ran + waited >= SEEN_MIN:
            shares.append(waited / (ran + waited))
    return max(shares, default=None)


def doubted(judgement: Judgement, history: History) -> Judgement:
    """Return a judgement in which a FAIL of lateness alone is UNKNOWN if a guest was starved.

    A FAIL that is a known issue stays one, and so does a FAIL with anything wrong besides lateness.
    """
    over_all, later = share(history), share(history, "fault")
    if over_all is None:
        return judgement
    waited = max(over_all, later or 0.0)
    measured = replace(judgement, measured={
        **judgement.measured, WAIT: Figure(over_all, "1")})
    failed = [check for check in judgement.checks if check.verdict is Verdict.FAIL]
    doubtful = (waited >= SHARE_MAX and all(map(only_late, failed))) or (
        waited >= TIMERS_SHARE_MAX and timers_ran_out(failed))
    if judgement.outcome is not Outcome.FAIL or not doubtful:
        return measured
    words = f"the guest waited for the host's CPUs for {waited:.0%} of its time: "
    return replace(measured, checks=tuple(
        replace(check, verdict=Verdict.UNKNOWN, reason=words + check.reason)
        if check in failed else check for check in judgement.checks))


def only_late(check: Check) -> bool:
    """Return whether everything that a check found wrong is lateness."""
    return bool(check.signatures) and all(map(_late, check.signatures))


def timers_ran_out(failed: Sequence[Check]) -> bool:
    """Return whether everything wrong is what the initiator did by itself, and what follows."""
    signatures = [each for check in failed for each in check.signatures]
    own = [each for each in signatures if _by_initiator(each)]
    return bool(own) and all(check.signatures for check in failed) and all(
        each in own or _late(each) or each.kind in FOLLOWING for each in signatures)


def _by_initiator(signature: Signature) -> bool:
    return signature.kind in BY_INITIATOR or (
        signature.kind == "outcome" and signature.anchors[-1].startswith(HOST))


def _late(signature: Signature) -> bool:
    if signature.kind == "endless":  # unless a task was observed to wait in the kernel
        return len(signature.anchors) == 1
    return signature.kind in LATE or (
        signature.kind == "error" and any(map(WAITED.search, signature.anchors)))
