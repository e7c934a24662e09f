"""Task management functions for commands that a backend holds."""
