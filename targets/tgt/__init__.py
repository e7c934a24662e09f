# SPDX-License-Identifier: GPL-2.0-or-later
"""tgt: the SCSI target in user space."""
