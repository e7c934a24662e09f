# SPDX-License-Identifier: GPL-2.0-or-later
"""Outcomes of commands that initiators should not issue, or rarely issue."""
