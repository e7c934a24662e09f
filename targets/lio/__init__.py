"""LIO with a TCMU (target_core_user) backend."""
