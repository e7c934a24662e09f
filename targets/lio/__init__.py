# SPDX-License-Identifier: GPL-2.0-or-later
"""LIO with a TCMU (target_core_user) backend."""
