# SPDX-License-Identifier: GPL-2.0-or-later
"""The scst_user backend. Runs in the guest; stdlib only."""
