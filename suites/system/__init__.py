"""Disturbances of machine and daemon (memory, CPUs, clock, pauses), alone and with a teardown."""
