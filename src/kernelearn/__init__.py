"""kernelearn: train convolutional networks on a CPU and see how every kernel learns."""
__version__ = "0.1.0"
