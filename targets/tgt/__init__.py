"""tgt: the SCSI target in user space."""
