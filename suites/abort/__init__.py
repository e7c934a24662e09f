# SPDX-License-Identifier: GPL-2.0-or-later
"""Task management functions for commands that a backend holds."""
