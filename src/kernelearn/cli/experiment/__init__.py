"""`kernelearn experiment ...`: comparisons of methods, over several seeds."""
