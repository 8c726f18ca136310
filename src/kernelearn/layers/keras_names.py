"""The names under which Keras offers what a layer has: `variables`, `losses`, `compute_dtype` and the like.

`Layer` inherits them; nothing inside of the package uses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernelearn.layers.notes import CallNotes
    from kernelearn.layers.weight import Weight


class KerasNames:
    """Other names of the attributes of `Layer`."""

    dtype: str
    notes: CallNotes

    @property
    def weights(self) -> list[Weight]:
        """All weights."""
        raise NotImplementedError

    @property
    def trainable_weights(self) -> list[Weight]:
        """Those that training changes."""
        raise NotImplementedError

    @property
    def non_trainable_weights(self) -> list[Weight]:
        """The others."""
        raise NotImplementedError

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
    def losses(self) -> list[float]:
        """What `add_loss` and activity regularisers gave in the last call on arrays, and the penalties of the
        regularisers on trained weights, as they are now: plain numbers."""
        penalties = [w.regularizer(w.value) for w in self.trainable_weights if w.regularizer is not None]
        return [*self.notes.losses, *penalties]

    @property
    def compute_dtype(self) -> str:
        """The float type in which the layer computes: that of its weights."""
        return self.dtype

    @property
    def variable_dtype(self) -> str:
        """The float type of the weights."""
        return self.dtype
