"""A backend that answers what it must not: what the kernel says to it, and the initiator sees."""
