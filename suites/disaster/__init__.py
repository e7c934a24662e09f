"""Verdicts when the machine or the target dies under the suite."""
