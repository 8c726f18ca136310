"""From PyTorch's operators to layers: one function an operator, a file a family, collected in `READERS`."""
