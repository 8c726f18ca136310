"""Their training loop, on our engine."""
