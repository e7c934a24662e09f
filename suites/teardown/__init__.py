# SPDX-License-Identifier: GPL-2.0-or-later
"""The teardown matrix: states of a command x ways to remove its device, session or backend."""

from fixtures.machine import memory_checks

MEMORY_CHECKS = memory_checks.ALL
"""See fixtures.machine.memory_checks."""
