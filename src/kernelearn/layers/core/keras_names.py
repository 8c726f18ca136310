"""The names under which Keras offers what a layer has: `variables`, `losses`, `compute_dtype` and the like.

`Layer` inherits them; nothing inside of the package uses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelearn.layers.core.holding import Holding
from kernelearn.tracing import Traced, active, current

if TYPE_CHECKING:
    from kernelearn.layers.core.notes import CallNotes
    from kernelearn.layers.core.weight import Weight


class KerasNames(Holding):
    """Other names of the attributes of `Layer`."""

    dtype: str
    notes: CallNotes

    @property
    def variables(self) -> list[Weight]:
        """Keras's name of `weights`."""
        return list(self.weights)

    @property
    def trainable_variables(self) -> list[Weight]:
        """Keras's name of `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Weight]:
        """Keras's name of `non_trainable_weights`."""
        return self.non_trainable_weights

    @property
    def losses(self) -> list[Any]:
        """What `add_loss` and activity regularisers gave in the last call on arrays, and the penalties of the
        regularisers on trained weights, as they are now: plain numbers. In code that is traced, traced ones.
        """
        if active():
            return traced_losses(self)
        penalties = [
            float(w.regularizer(w.value)) for w in self.trainable_weights if w.regularizer is not None
        ]
        return [*self.notes.losses, *penalties]

    @property
    def compute_dtype(self) -> str:
        """The float type in which the layer computes: that of its weights."""
        return self.dtype

    @property
    def variable_dtype(self) -> str:
        """The float type of the weights."""
        return self.dtype


def traced_losses(layer: KerasNames) -> list[Traced]:
    """What `add_loss` and activity regularisers of a layer have given in the program under construction, and
    the penalties on its trained weights.

    Where no penalty belongs to a call of this layer, all do: the program is of the layer itself.
    """
    graph = current()
    assert graph is not None
    own = [buffer for buffer in graph.penalties if layer.name in buffer.name.split("/")]
    rules = {id(w): w for w in layer.trainable_weights if w.regularizer is not None}
    return [
        *(Traced(graph, buffer) for buffer in own or graph.penalties),
        *(weight.regularizer(weight.value) for weight in rules.values()),
    ]
