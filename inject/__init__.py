"""Faults, and the points of a command's life at which they fire."""
