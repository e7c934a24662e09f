# SPDX-License-Identifier: GPL-2.0-or-later
"""Malformed PDUs: most of the planned ones were sent.

A target is free to answer, to reject, to close the connection or to remain silent. Other checkers
detect the forbidden reactions: a crash, a spinning thread, leaked resources, damage to another
session.
"""

from __future__ import annotations

from collections import Counter

from results.history import History
from results.verdict import Check, Figure, Verdict

NAME = "pdus"

UNREACHABLE = "unreachable"
"""Outcome of a PDU that could not be sent (fixtures.workload.pdus_guest)."""


def check(history: History) -> Check | None:
    """UNKNOWN when most were not sent, or the sender failed; None when none was planned."""
    job = next((event for event in history.select("workload", "begin")
                if event.data["job"] == NAME), None)
    if job is None:
        return None
    outcomes = Counter(str(event.data["outcome"]) for event in history.select("workload", "pdu"))
    figures = {f"pdus_{outcome.replace(' ', '_')}": Figure(count, "1")
               for outcome, count in outcomes.items()}
    ended = [event for event in history.select("workload", "end") if event.data["job"] == NAME]
    if ended and ended[-1].data["exit"]:
        return Check(NAME, Verdict.UNKNOWN, f"their sender broke: {ended[-1].data['error']}", (),
                     figures)
    sent = outcomes.total() - outcomes[UNREACHABLE]
    words = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    if sent <= outcomes[UNREACHABLE]:
        return Check(NAME, Verdict.UNKNOWN, f"most were not sent: {words or 'none'}", (), figures)
    return Check(NAME, Verdict.PASS, f"{sent} were sent: {words}", (), figures)
