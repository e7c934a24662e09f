"""Machine and daemon under stress, alone and during a teardown: memory, CPUs, clock, pauses."""
