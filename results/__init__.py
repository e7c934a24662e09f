# SPDX-License-Identifier: GPL-2.0-or-later
"""Histories of scenarios, the checkers that judge them, and verdicts. Touches no machine."""
