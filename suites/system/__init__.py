"""The machine is not what it was: less memory, less CPU time, another clock; also in a teardown."""
