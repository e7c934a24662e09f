# SPDX-License-Identifier: GPL-2.0-or-later
"""Structured reports from a kernel's console log.

``read`` takes the captured log, even a damaged one, and returns the kernel's reports: kind, title,
the function that names it, task, CPU and time. A title is the same for the same bug across kernels
and runs.

The idea of titled, de-duplicated reports read from the naming frame is syzkaller's
(pkg/report/linux.go).
"""

from results.kernel_log.kinds import Kind
from results.kernel_log.reader import read
from results.kernel_log.report import Report

__all__ = ["Kind", "Report", "read"]
