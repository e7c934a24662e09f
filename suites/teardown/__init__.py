"""The teardown matrix: states of a command x ways to remove its device, session or backend."""
