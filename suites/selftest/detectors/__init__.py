# SPDX-License-Identifier: GPL-2.0-or-later
"""Detector self-test: kernels with a planted defect, and the check that must fail."""
