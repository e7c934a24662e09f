"""What every backend shares: the test's commands, holds, the RAM disk."""
