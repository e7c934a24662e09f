# SPDX-License-Identifier: GPL-2.0-or-later
"""A recorded run in standard formats. Each module is one; its ``write`` makes the file."""
