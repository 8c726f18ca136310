"""A training in PyTorch, seen without changing it: hooks of the module, of the optimiser, and autograd's graph."""
