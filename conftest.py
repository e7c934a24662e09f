# SPDX-License-Identifier: GPL-2.0-or-later
"""Make the project's pytest plugin known before any suite is collected."""

pytest_plugins = ["fixtures.plugin"]
