"""The three families of errors that may cross a room's door, and no others.

What went wrong decides what a scenario's verdict can be: a target's failure is FAIL, a
lost machine or a broken tool is UNKNOWN, and wrong usage never becomes a verdict at all.
"""


class StfError(Exception):
    """Base of the three families; never raised itself."""


class TargetFailedError(StfError):
    """The target under test did what it must not, or did not do what it must: FAIL."""


class WrongUsageError(StfError):
    """The test or its user asked for something that cannot be: exit status 4, no verdict."""


class MachineLostError(StfError):
    """The machine, the agent or a tool the suite relies on is gone or broken: UNKNOWN."""
