"""The engine inside PyTorch: their training loop, our kernels.

    model = torch.compile(model, backend="kernelearn")

`graphs` makes Dynamo's graph functional, `translation` says what PyTorch's operators are in the engine,
`trial` asks whether one can join a region, `assembly` makes regions, `building` programs of them, and
`passes` functions that autograd knows. What no region takes runs in PyTorch.
"""

from typing import TYPE_CHECKING, Any

from kernelearn._lazy import on_first_use
from kernelearn._optional import require

_OBJECTS = {
    "Explanation": "kernelearn.torch.explaining",
    "Step": "kernelearn.torch.stepping",
    "arrange": "kernelearn.torch.arranging",
    "compile_graph": "kernelearn.torch.backend",
    "explain": "kernelearn.torch.explaining",
    "optimize": "kernelearn.torch.optimizing",
}

__all__ = ["Explanation", "Step", "arrange", "compile_graph", "explain", "optimize"]

if TYPE_CHECKING:
    from kernelearn.torch.arranging import arrange
    from kernelearn.torch.backend import compile_graph
    from kernelearn.torch.explaining import Explanation, explain
    from kernelearn.torch.optimizing import optimize
    from kernelearn.torch.stepping import Step

_found, __dir__ = on_first_use(__name__, _OBJECTS)


def __getattr__(name: str) -> Any:
    if name in _OBJECTS:
        require("torch", "kernelearn.torch")
    return _found(name)
