"""The speed of the scst_user backend beside SCST's own: runs by -m performance only."""
