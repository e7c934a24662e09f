"""Task management of commands that a backend holds."""
