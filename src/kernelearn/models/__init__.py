"""Networks: `Sequential`, the functional `Model`, and ready-made ones in `models.zoo`."""

from kernelearn.layers.merging import Input
from kernelearn.models import zoo
from kernelearn.models.files import load_model
from kernelearn.models.keras_names import clone_model, model_from_json
from kernelearn.models.model import Model
from kernelearn.models.sequential import Sequential
from kernelearn.training.cached_features import CachedFeatures

__all__ = [
    "CachedFeatures",
    "Input",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_json",
    "zoo",
]
