# SPDX-License-Identifier: GPL-2.0-or-later
"""SCST with a scst_user backend."""
