"""Networks: `Sequential`, the functional `Model`, and ready-made ones in `models.zoo`."""

from kernelearn.layers.merging import Input
from kernelearn.models import zoo
from kernelearn.models.files import load_model
from kernelearn.models.model import Model
from kernelearn.models.sequential import Sequential

__all__ = ["Input", "Model", "Sequential", "load_model", "zoo"]
