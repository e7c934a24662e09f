"""The project's own tests; no guest needed."""
