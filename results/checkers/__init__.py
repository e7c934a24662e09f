# SPDX-License-Identifier: GPL-2.0-or-later
"""Checkers: pure functions from a history to a check, one module each.

A checker without material to judge returns UNKNOWN. A checker that meets a history it does not
understand raises, and ``results.judge`` turns that into UNKNOWN.
"""

EVIDENCE_MAX = 20
"""Number of items of one kind that a check quotes; the history holds all of them."""


def cited(clause: object) -> str:
    """Return a clause as the end of a reason: " (SAM-5 5.3.1)"; "" for none."""
    return f" ({clause})" if clause else ""
