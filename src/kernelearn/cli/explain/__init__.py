"""`kernelearn explain ...`: one file for why weights change, one for kernels, one for what they see."""
