# SPDX-License-Identifier: GPL-2.0-or-later
"""Are all acknowledged writes on the medium afterwards, and do the checkers detect a loss?"""
