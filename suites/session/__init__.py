# SPDX-License-Identifier: GPL-2.0-or-later
"""Sessions that end with commands in flight, and commands ended by another initiator."""

from fixtures.machine import memory_checks

MEMORY_CHECKS = memory_checks.ALL
"""See fixtures.machine.memory_checks."""
