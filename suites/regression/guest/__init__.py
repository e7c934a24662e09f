"""Programs of the regression suite that run in the guest; stdlib only."""
