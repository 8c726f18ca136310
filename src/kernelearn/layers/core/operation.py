"""A function of `kernelearn.ops` called on symbolic tensors: one node of a functional model.

The layer remembers the function by its public name and the arguments as they were given, with a `Place` where
a tensor stood. A file holds both as JSON values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.layers.core.base import LAYERS, Layer
from kernelearn.layers.core.naming import unique_name
from kernelearn.layers.core.structure import Given, Place, decoded, filled, taken_apart, with_places
from kernelearn.layers.core.tensor import Tensor
from kernelearn.tracing import Traced, functions, tracing


@LAYERS.register()
class OperationLayer(Layer):
    """One function of `kernelearn.ops` with its arguments. Made by calling the function on symbolic tensors.

    Args:
        function: public name.
        arguments, keywords: as they were given, with a `Place` for each tensor; or as a config has them.
    """

    loses_masks_silently = True

    def __init__(
        self,
        function: str,
        arguments: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name or unique_name(str(function)), **options)
        if function not in functions():
            raise unknown_name("function of kernelearn.ops", function, functions())
        self.function = str(function)
        self.arguments = [decoded(value) for value in arguments]
        self.keywords = {str(key): decoded(value) for key, value in (keywords or {}).items()}
        self._form: Any = Place(0)

    def config_value(self, name: str) -> Any:
        if name in ("arguments", "keywords"):
            written = Given(tuple(self.arguments), self.keywords).to_json(f"ops.{self.function}")
            return written[name]
        return super().config_value(name)

    def lower(self, graph: ProgramBuilder, *inputs: Buffer) -> Any:
        with tracing(graph):
            values = [Traced(graph, buffer) for buffer in inputs]
            given, named = Given(tuple(self.arguments), self.keywords).filled(values)
            result = functions()[self.function](*given, **named)
        leaves: list[Traced] = []
        self._form = with_places(result, _is_traced, leaves)
        if not leaves:
            raise ArgumentError(
                f"ops.{self.function} gives no tensor here but {result!r}; compute it before the "
                "model is made."
            )
        buffers = tuple(leaf.buffer for leaf in leaves)
        return buffers if len(buffers) > 1 else buffers[0]

    def arranged(self, outputs: Sequence[Any]) -> Any:
        """Outputs in the form in which the function gives them: alone, in a list, tuple or dict."""
        return filled(self._form, outputs)


def applied(name: str, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """What `ops.<name>(*args, **keywords)` is, where some of the arguments are symbolic tensors."""
    given, tensors = taken_apart(args, keywords, _is_tensor)
    layer = OperationLayer(name, _owned(given.args), _owned(given.keywords))
    result = layer(tensors if len(tensors) > 1 else tensors[0])
    return layer.arranged(result if isinstance(result, list) else [result])


def _owned(value: Any) -> Any:
    """Arguments whose arrays are copies, which nobody changes later."""
    if isinstance(value, np.ndarray):
        return np.array(value)
    if isinstance(value, list | tuple):
        return type(value)(_owned(part) for part in value)
    return {key: _owned(part) for key, part in value.items()} if isinstance(value, dict) else value


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _is_traced(value: Any) -> bool:
    return isinstance(value, Traced)
