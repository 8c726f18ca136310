"""Windows of 3 x 3 in fewer multiplications."""
