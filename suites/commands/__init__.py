"""Outcomes of commands that initiators should not issue, or rarely issue."""
