# SPDX-License-Identifier: GPL-2.0-or-later
"""The common parts of all backends: the test's commands, holds, the RAM disk."""
