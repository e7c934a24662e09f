"""The targets under test: one package per target, with its user-space backends."""
