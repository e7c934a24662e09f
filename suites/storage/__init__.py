"""The disk below a target that is all in the kernel: it errs, stalls, lies, or is late."""
