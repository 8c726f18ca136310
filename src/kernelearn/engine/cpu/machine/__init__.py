"""The machine: what processor, stack and threads there are, compiling for it, and running jobs on it."""
