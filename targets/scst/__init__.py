"""SCST with a scst_user backend."""
