"""Softmax, its logarithm and their gradients, along rows and down columns."""
