# SPDX-License-Identifier: GPL-2.0-or-later
"""Task management functions for commands that a backend holds."""

from fixtures.machine import memory_checks

MEMORY_CHECKS = memory_checks.ALL
"""See fixtures.machine.memory_checks."""
