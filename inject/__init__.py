# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults, and the points of a command's life at which they fire."""
