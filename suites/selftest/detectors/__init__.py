"""Detector self-test: kernels with a planted defect, and the check that must fail."""
