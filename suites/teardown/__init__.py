# SPDX-License-Identifier: GPL-2.0-or-later
"""The teardown matrix: states of a command x ways to remove its device, session or backend."""

MEMORY_CHECKS = True
"""See fixtures.machine.memory_checks."""
