# SPDX-License-Identifier: GPL-2.0-or-later
"""Sessions that end with commands in flight, and commands ended by another initiator."""

MEMORY_CHECKS = True
"""See fixtures.machine.memory_checks."""
