"""What kernels are and how they became that: filters they resemble, curves, health, the dense matrix."""
