# SPDX-License-Identifier: GPL-2.0-or-later
"""The three families of errors; no others cross a package's boundary.

The family limits the scenario's verdict: a target's failure is FAIL, a lost machine or a broken
tool is UNKNOWN, and wrong usage yields no verdict.
"""


class StfError(Exception):
    """Base of the three families; never raised itself."""


class TargetFailedError(StfError):
    """The target under test broke a requirement, by doing or by omitting something: FAIL."""


class WrongUsageError(StfError):
    """The test or its user requested something impossible: exit status 4, no verdict."""


class MachineLostError(StfError):
    """The machine, the agent or a tool that the suite needs is gone or broken: UNKNOWN."""
