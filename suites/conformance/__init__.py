# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the disk of the project's backends conform to the standards, and work for initiators?"""
