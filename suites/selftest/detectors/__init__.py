"""Self-test of the detectors: kernels with a planted defect, and the check that must fire."""
