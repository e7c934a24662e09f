"""Sessions that end with commands in flight, and commands that another initiator ends."""
