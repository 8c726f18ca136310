"""Products of matrices, many at once: how operands are passed through, tiles of sums, sums along lanes."""
