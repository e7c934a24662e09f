# SPDX-License-Identifier: GPL-2.0-or-later
"""The targets under test: one package per target, with its user-space backends."""
