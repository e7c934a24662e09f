# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts when the machine or the target dies under the suite."""
