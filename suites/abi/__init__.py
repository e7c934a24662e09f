# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the kernel refuse, and not fall, whatever a backend passes to it?"""
