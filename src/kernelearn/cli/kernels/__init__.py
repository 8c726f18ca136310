"""`kernelearn kernels ...`: the kernels of a network as a picture, and kernel machines on a table."""
