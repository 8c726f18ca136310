"""PyTorch: modules and exported programs become models, models become modules, state dicts go both ways."""

from kernelearn.conversion.torch.importing import from_torch
from kernelearn.conversion.torch.states import load_torch_state_dict, to_torch_state_dict
from kernelearn.conversion.torch.writing.building import to_torch

__all__ = ["from_torch", "load_torch_state_dict", "to_torch", "to_torch_state_dict"]
