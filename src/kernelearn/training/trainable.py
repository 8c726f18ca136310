"""What a trainer, the builder of programs and the checks need from a model, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kernelearn.engine.program import ProgramBuilder
    from kernelearn.layers.core.base import Layer
    from kernelearn.layers.core.tensor import Tensor
    from kernelearn.layers.core.weight import Weight


class Trainable(Protocol):
    """A network as training sees it.

    Attributes:
        name: for messages.
        inputs, outputs: symbolic tensors; empty before the shapes are known.
        dtype: float type of weights and sums.
    """

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    dtype: str

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        ...

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        ...

    @property
    def weights(self) -> list[Weight]:
        """All weights, in a fixed order."""
        ...

    @property
    def policy(self) -> str:
        """The precision policy."""
        ...

    def lower(self, graph: ProgramBuilder, *inputs: Any, **unused: Any) -> Any:
        """Add the operators of the network to a program; its output buffer, or a tuple of them."""
        ...

    def flat_layers(self) -> Sequence[Layer]:
        """All layers that are no models, each once."""
        ...
