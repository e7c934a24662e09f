"""A kernel made sick on purpose, and whether the checks see what it has."""
