"""Wrong replies of a backend: the kernel's reaction, and the outcome at the initiator."""
