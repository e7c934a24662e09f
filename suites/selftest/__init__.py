# SPDX-License-Identifier: GPL-2.0-or-later
"""Selftests of the project; they need no guest."""
