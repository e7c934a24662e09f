"""Faults of the disk below an in-kernel target: errors, stalls, lost or corrupted data."""
