"""The parts of `Run`: what its files hold, and what is asked of them, one subject a file."""
