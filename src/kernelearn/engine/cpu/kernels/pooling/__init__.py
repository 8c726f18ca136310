"""Windows of pixels: pooling, enlarging, and their gradients."""
