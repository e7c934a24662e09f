# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong replies of a backend: the kernel's reaction, and the outcome at the initiator."""
