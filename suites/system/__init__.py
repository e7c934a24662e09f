# SPDX-License-Identifier: GPL-2.0-or-later
"""Disturbances of machine and daemon (memory, CPUs, clock, pauses), alone and with a teardown."""
