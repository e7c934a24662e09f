"""How fast the scst_user backend is, beside SCST's own: run by -m performance only."""
