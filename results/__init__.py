"""Histories of scenarios, the checkers that judge them, and verdicts. Touches no machine."""
