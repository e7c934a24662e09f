"""The common parts of all backends: the test's commands, holds, the RAM disk."""
