# SPDX-License-Identifier: GPL-2.0-or-later
"""Task management functions for commands that a backend holds."""

MEMORY_CHECKS = True
"""See fixtures.machine.memory_checks."""
