"""What is asked: pytest suites by question."""
