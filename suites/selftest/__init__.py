"""Selftests of the project; they need no guest."""
