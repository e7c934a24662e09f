# SPDX-License-Identifier: GPL-2.0-or-later
"""Defects of SCST, one test each: historic ones that are fixed, and known ones that are not.

A module is named after its defect; its docstring names the commit with the fix, if there is one.
"""

from fixtures.machine import memory_checks

MEMORY_CHECKS = memory_checks.ALL
"""See fixtures.machine.memory_checks."""
