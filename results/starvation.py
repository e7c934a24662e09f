"""A host that had no CPU for its guests: what was late then may be the host's doing.

QEMU's threads say how long they ran and how long they waited for a CPU of the host's
(/proc/PID/task/TID/schedstat, Documentation/scheduler/sched-stats.rst). A guest that waits as long
as it runs is half as fast as the ladder takes it to be. A FAIL of nothing but lateness is UNKNOWN
then: to be asked again on a quiet host, not to be believed.
"""

from __future__ import annotations

import re
from dataclasses import replace

from results.history import History
from results.judge import Judgement
from results.verdict import Check, Figure, Outcome, Signature, Verdict

SHARE_MAX = 0.5
"""Of a guest's time on the host's CPUs, what it may wait for them. On two cores a guest with two
CPUs that is alone waits for 0.13 of it (0.11 to 0.18), two or three for 0.5 to 0.6, four for 0.7
to 0.8."""

WAIT = "host_cpu_wait"
"""The figure's name in verdict.json: the share."""

LATE = frozenset({
    "late", "bystander late", "open", "stuck", "reported late", "redeploy endless", "soft lockup",
    "hung task", "RCU stall", "workqueue lockup"})
"""Kinds of signatures that more time might have done without. A spinning thread, an oops, a wrong
status, lost data are none of them."""

SEEN_MIN = 1.0
"""Seconds of running and waiting that a share is told of; of less it is chance."""

WAITED = re.compile(r"\bN s\b|does not end")
"""How an operation's error says that something was waited for, and for how long: without numbers
(results.kernel_log.titles.normalised)."""


def share(history: History, since: str = "begin") -> float | None:
    """Return the greatest share of any guest's time in which it waited for a CPU; None where that
    was not seen at both ends.

    ``since``: "begin", of the scenario, or "fault", that has fired for the first time, until the
    end.
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
    """Return a judgement with what the host's want of CPUs makes of it.

    A FAIL that is a known issue stays one, and so does a FAIL in which anything is wrong but
    lateness.
    """
    over_all, later = share(history), share(history, "fault")
    if over_all is None:
        return judgement
    waited = max(over_all, later or 0.0)
    measured = replace(judgement, measured={
        **judgement.measured, WAIT: Figure(over_all, "1")})
    failed = [check for check in judgement.checks if check.verdict is Verdict.FAIL]
    if waited < SHARE_MAX or judgement.outcome is not Outcome.FAIL or not all(
            map(only_late, failed)):
        return measured
    words = f"the guest waited for the host's CPUs for {waited:.0%} of its time: "
    return replace(measured, checks=tuple(
        replace(check, verdict=Verdict.UNKNOWN, reason=words + check.reason)
        if check in failed else check for check in judgement.checks))


def only_late(check: Check) -> bool:
    """Tell whether a check found nothing wrong but that something took too long."""
    return bool(check.signatures) and all(map(_late, check.signatures))


def _late(signature: Signature) -> bool:
    if signature.kind == "endless":  # unless somebody is seen to wait in the kernel
        return len(signature.anchors) == 1
    return signature.kind in LATE or (
        signature.kind == "error" and any(map(WAITED.search, signature.anchors)))
