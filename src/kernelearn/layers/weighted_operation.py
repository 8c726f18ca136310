"""A function of `kernelearn.ops` with learned arguments: for networks that have what no layer has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError
from kernelearn.layers.core.arguments import whole_numbers
from kernelearn.layers.core.base import LAYERS, Shape
from kernelearn.layers.core.operation import OperationLayer


@LAYERS.register()
class WeightedOperation(OperationLayer):
    """One function of `kernelearn.ops` of which some arguments are weights. Readers of other programs' files
    make it where a network has a weight that no layer has: a factor for each row, a transposed
    convolution with both strides and dilation. Its weights are the function's as they are; a `LearnedArray`
    is there once for every image.

    Args:
        function, arguments, keywords: as in `OperationLayer`; the places behind those of the tensors are the
            weights.
        weight_shapes: of the weights, in order; their names are weight_0, weight_1, ...

    >>> from kernelearn.layers import WeightedOperation
    >>> layer = WeightedOperation("multiply", [{"input": 0}, {"input": 1}], weight_shapes=[(3,)])
    >>> layer.compute_output_shape((None, 5, 3)), layer.count_params()
    ((None, 5, 3), 3)
    """

    def __init__(
        self,
        function: str,
        arguments: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
        weight_shapes: Sequence[Sequence[int]] = (),
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(function, arguments, keywords, name=name, **options)
        self.weight_shapes = [whole_numbers(shape, "weight_shapes") for shape in weight_shapes]
        if not self.weight_shapes:
            raise ArgumentError("WeightedOperation without weight_shapes is an OperationLayer; use that.")

    def build(self, *input_shapes: Shape) -> None:
        for number, shape in enumerate(self.weight_shapes):
            self.add_weight(f"weight_{number}", shape, "glorot_uniform")

    def lower(self, graph: ProgramBuilder, *inputs: Buffer) -> Any:
        return super().lower(graph, *inputs, *(self.use(graph, weight) for weight in self.own_weights))
