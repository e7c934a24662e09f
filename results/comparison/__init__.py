"""What changed between two runs: verdicts, and times as far as noise lets them be told apart."""
