"""A training in PyTorch, seen without changing it: by hooks, and in autograd's graph."""
