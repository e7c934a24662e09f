"""The scst_user backend. Runs in the guest; stdlib only."""
