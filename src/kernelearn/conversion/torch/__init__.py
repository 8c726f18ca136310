"""PyTorch: modules and exported programs become models, models become modules, state dicts go both ways."""

from kernelearn.conversion.torch.importing import from_torch

__all__ = ["from_torch"]
