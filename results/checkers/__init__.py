"""Checkers: pure functions from a history to a check, one module each.

A checker that has nothing to look at says UNKNOWN; one that meets a history it does not
understand raises, and ``results.judge`` turns that into UNKNOWN.
"""

EVIDENCE_MAX = 20
"""How many items of one kind a check quotes; the history holds all of them."""


def cited(clause: object) -> str:
    """Return a clause as a reason ends with it: " (SAM-6 5.3.1)"; "" for none."""
    return f" ({clause})" if clause else ""
