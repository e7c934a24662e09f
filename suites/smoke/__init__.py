"""Smoke tests: the main scenario, end to end."""
