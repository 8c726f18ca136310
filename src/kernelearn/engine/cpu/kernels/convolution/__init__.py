"""Convolutions and their gradients: sums over taps, and `winograd` for windows of 3 x 3."""
