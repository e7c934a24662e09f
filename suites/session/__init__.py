# SPDX-License-Identifier: GPL-2.0-or-later
"""Sessions that end with commands in flight, and commands ended by another initiator."""
