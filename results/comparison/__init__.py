# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes between two runs: of verdicts, and of times as far as they exceed the noise."""
