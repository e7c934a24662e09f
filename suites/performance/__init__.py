# SPDX-License-Identifier: GPL-2.0-or-later
"""The speed of the project's scst_user backend, compared with SCST's: ``-m performance`` only."""
