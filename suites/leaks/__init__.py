# SPDX-License-Identifier: GPL-2.0-or-later
"""Does anything stay behind when a device is deployed, broken and removed many times?"""

from fixtures.machine import memory_checks

MEMORY_CHECKS = memory_checks.USERS
"""See fixtures.machine.memory_checks: a leak is named by the function that allocated."""
