# SPDX-License-Identifier: GPL-2.0-or-later
"""Smoke tests: the main scenario, end to end."""
