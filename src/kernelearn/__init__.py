"""kernelearn: train convolutional networks on a CPU and see how every kernel learns.

The public names, each imported when it is first used: `import kernelearn` itself loads nothing.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that defines it.
_OBJECTS = {
    "Sequential": "kernelearn.models",
    "Model": "kernelearn.models",
    "load_model": "kernelearn.models",
    "Input": "kernelearn.layers",
    "CNNClassifier": "kernelearn.learn",
    "CNNRegressor": "kernelearn.learn",
    "set_random_seed": "kernelearn.config",
    "get_num_threads": "kernelearn.engine.cpu.machine.threads",
    "set_num_threads": "kernelearn.engine.cpu.machine.threads",
}

_MODULES = (
    "activations",
    "callbacks",
    "config",
    "constraints",
    "data",
    "engine",
    "errors",
    "explain",
    "initializers",
    "kernel_machines",
    "layers",
    "learn",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "recording",
    "regularizers",
    "schedules",
    "utils",
)

__all__ = [
    "CNNClassifier",
    "CNNRegressor",
    "Input",
    "Model",
    "Sequential",
    "__version__",
    "activations",
    "callbacks",
    "config",
    "constraints",
    "data",
    "engine",
    "errors",
    "explain",
    "get_num_threads",
    "initializers",
    "kernel_machines",
    "layers",
    "learn",
    "load_model",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "recording",
    "regularizers",
    "schedules",
    "set_num_threads",
    "set_random_seed",
    "utils",
]

# Estimators stand on scikit-learn: without it `import *` gives all the other names instead of an error.
_NEED_SKLEARN = ("CNNClassifier", "CNNRegressor", "kernel_machines", "learn")
if find_spec("sklearn") is None:
    __all__ = [name for name in __all__ if name not in _NEED_SKLEARN]

if TYPE_CHECKING:
    from kernelearn import (
        activations,
        callbacks,
        config,
        constraints,
        data,
        engine,
        errors,
        explain,
        initializers,
        kernel_machines,
        layers,
        learn,
        losses,
        metrics,
        mixed_precision,
        models,
        ops,
        optimizers,
        recording,
        regularizers,
        schedules,
        utils,
    )
    from kernelearn.config import set_random_seed
    from kernelearn.engine.cpu.machine.threads import get_num_threads, set_num_threads
    from kernelearn.layers import Input
    from kernelearn.learn import CNNClassifier, CNNRegressor
    from kernelearn.models import Model, Sequential, load_model


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562) and keep it."""
    if name in _MODULES:
        return import_module(f"kernelearn.{name}")
    if name in _OBJECTS:
        value = getattr(import_module(_OBJECTS[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'kernelearn' has no attribute {name!r}; public names: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
