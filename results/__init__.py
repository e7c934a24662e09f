"""What was seen, and what it means: histories, checkers, verdicts. Touches no machine."""
