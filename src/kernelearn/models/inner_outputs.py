"""What layers inside of a model give, as the outputs of a model: also of those in a `call` of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError
from kernelearn.layers.core.base import Layer


class InnerOutputs(Layer):
    """A model that is run for what its layers give.

    Args:
        model: what is run; its weights are shared.
        paths: of layers, as `get_layer` takes them; of each the first call counts.
    """

    def __init__(self, model: Any, paths: Sequence[str]) -> None:
        super().__init__(name=f"{model.name}_inside")
        self.model, self.paths = model, [_path(model, name) for name in paths]

    def lower(self, graph: ProgramBuilder, *inputs: Any, **unused: Any) -> Any:
        with graph.scope("model"):
            self.model.lower(graph, *inputs)
            found = [graph.results.get(f"{graph.layer}/{path}") for path in self.paths]
        missing = [path for path, buffer in zip(self.paths, found) if buffer is None]
        if missing:
            raise ArgumentError(f"Layer {missing[0]!r} of model {self.model.name!r} is never called.")
        return tuple(found)


def _path(model: Any, name: str) -> str:
    """The path of the layer that a name or a path means."""
    layer = model.get_layer(name)
    found: str = next(path for path, part in model.descendants() if part is layer)
    return found
