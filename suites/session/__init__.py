"""Sessions that end with commands in flight, and commands ended by another initiator."""
