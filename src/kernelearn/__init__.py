"""kernelearn: train convolutional networks on a CPU and see how every kernel learns.

The public names, each imported when it is first used: `import kernelearn` itself loads nothing.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kernelearn._lazy import on_first_use

__version__ = "0.1.0"

# Public name -> the module that defines it.
_OBJECTS = {
    "Sequential": "kernelearn.models",
    "Model": "kernelearn.models",
    "load_model": "kernelearn.models",
    "from_keras": "kernelearn.conversion",
    "to_keras": "kernelearn.conversion",
    "from_torch": "kernelearn.conversion.torch",
    "load_torch_state_dict": "kernelearn.conversion.torch",
    "to_torch": "kernelearn.conversion.torch",
    "to_torch_state_dict": "kernelearn.conversion.torch",
    "Input": "kernelearn.layers",
    "CNNClassifier": "kernelearn.learn",
    "CNNRegressor": "kernelearn.learn",
    "set_random_seed": "kernelearn.config",
    "distribute": "kernelearn.parallel",
    "function": "kernelearn.training.own",
    "grad": "kernelearn.training.own",
    "minimize": "kernelearn.training.own",
    "value_and_grad": "kernelearn.training.own",
    "get_num_threads": "kernelearn.engine.cpu.machine.threads",
    "set_num_threads": "kernelearn.engine.cpu.machine.threads",
    "watch": "kernelearn.watching",
    "watch_keras": "kernelearn.watching",
}

_MODULES = (
    "activations",
    "callbacks",
    "config",
    "constraints",
    "conversion",
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
    "parallel",
    "random",
    "recording",
    "regularizers",
    "saving",
    "schedules",
    "utils",
    "watching",
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
    "conversion",
    "data",
    "distribute",
    "engine",
    "errors",
    "explain",
    "from_keras",
    "from_torch",
    "function",
    "get_num_threads",
    "grad",
    "initializers",
    "kernel_machines",
    "layers",
    "learn",
    "load_model",
    "load_torch_state_dict",
    "losses",
    "metrics",
    "minimize",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "parallel",
    "random",
    "recording",
    "regularizers",
    "saving",
    "schedules",
    "set_num_threads",
    "set_random_seed",
    "to_keras",
    "to_torch",
    "to_torch_state_dict",
    "utils",
    "value_and_grad",
    "watch",
    "watch_keras",
    "watching",
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
        conversion,
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
        parallel,
        random,
        recording,
        regularizers,
        saving,
        schedules,
        utils,
        watching,
    )
    from kernelearn.config import set_random_seed
    from kernelearn.conversion import from_keras, to_keras
    from kernelearn.conversion.torch import (
        from_torch,
        load_torch_state_dict,
        to_torch,
        to_torch_state_dict,
    )
    from kernelearn.engine.cpu.machine.threads import get_num_threads, set_num_threads
    from kernelearn.layers import Input
    from kernelearn.learn import CNNClassifier, CNNRegressor
    from kernelearn.models import Model, Sequential, load_model
    from kernelearn.parallel import distribute
    from kernelearn.training.own import function, grad, minimize, value_and_grad
    from kernelearn.watching import watch, watch_keras

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
# NOTE: not among the public names, for `import *` would put it in the place of PyTorch itself.
__getattr__, __dir__ = on_first_use(__name__, _OBJECTS, (*_MODULES, "torch"), __all__)
