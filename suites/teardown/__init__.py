"""Every state of a command x every way to take its device, its session or its backend away."""
