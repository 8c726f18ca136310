"""Functions that are sums of products."""
