# SPDX-License-Identifier: GPL-2.0-or-later
"""Do the target and its other sessions survive protocol errors and network faults?"""
