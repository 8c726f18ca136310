"""Products of bfloat16 by the processor's matrix tiles: convolutions, dense layers, their gradients."""
