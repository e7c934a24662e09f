# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of the disk below an in-kernel target: errors, stalls, lost or corrupted data."""
