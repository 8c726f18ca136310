"""From layers to modules of PyTorch: a plan without PyTorch first, then the module that it says."""
