"""The NumPy reference engine: readable, float32 or float64, the oracle of every faster one."""
