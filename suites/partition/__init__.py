"""Initiator and target on two machines, and the network between them fails."""
