# SPDX-License-Identifier: GPL-2.0-or-later
"""Does anything stay behind when a device is deployed, broken and removed many times?"""
