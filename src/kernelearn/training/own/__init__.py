"""Steps of one's own: `function`, `minimize`, `value_and_grad`, `grad`.

A function under `@kernelearn.function` is traced once for each signature of its arguments (`functions`), adds
operations and updates to one program (`builder`), and is run as one or, where weights are read again behind
their update, as several programs after one another (`segments`).
"""

from kernelearn.training.own.functions import OwnFunction, function
from kernelearn.training.own.gradients import GradientOf, grad, minimize, value_and_grad

__all__ = ["GradientOf", "OwnFunction", "function", "grad", "minimize", "value_and_grad"]
