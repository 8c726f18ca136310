"""What the engine did and could do: rows of work, measured peaks, estimates, times."""
