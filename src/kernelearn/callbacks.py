"""The callbacks, where a Keras user looks for them: `kernelearn.callbacks`."""

from kernelearn.training.callbacks import *  # noqa: F403
from kernelearn.training.callbacks import __all__ as __all__
