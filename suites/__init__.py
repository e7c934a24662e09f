# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest suites, one package per question."""
