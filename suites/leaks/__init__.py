# SPDX-License-Identifier: GPL-2.0-or-later
"""Does anything stay behind when a device is deployed, broken and removed many times?"""

MEMORY_CHECKS = True
"""See fixtures.machine.memory_checks: with them, the kernel knows who allocated an object."""
