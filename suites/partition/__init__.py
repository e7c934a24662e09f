"""Network failures between an initiator and a target on two machines."""
