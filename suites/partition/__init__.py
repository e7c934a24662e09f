# SPDX-License-Identifier: GPL-2.0-or-later
"""Network failures between an initiator and a target on two machines."""
