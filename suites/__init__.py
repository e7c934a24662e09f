"""The pytest suites, one package per question."""
