"""Models with a `call` of their own: how they get their shapes, and what they keep.

Such a model is traced once on inputs of the shapes that come; from then on it has `inputs` and `outputs` like
a functional one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kernelearn.errors import ArgumentError, NotBuiltError
from kernelearn.layers.core.base import Layer, Shape
from kernelearn.layers.core.calling import is_array
from kernelearn.layers.core.own import is_own
from kernelearn.layers.core.structure import decoded, encoded, filled, is_shape, taken_apart, with_places
from kernelearn.layers.core.unknown_sizes import fits
from kernelearn.layers.merging import Input
from kernelearn.models.parts import Parts
from kernelearn.training import feeds

if TYPE_CHECKING:
    from kernelearn.training.steps.programs import Programs


class OwnCall(Parts):
    """What a model has for a `call` of its own.

    Attributes:
        has_tuple_outputs: whether several outputs come as a tuple.
    """

    outside_config: ClassVar[frozenset[str]] = Layer.outside_config | {"inputs", "outputs"}
    has_tuple_outputs: bool
    programs: Programs
    _base_attributes: frozenset[str]
    _built_for: tuple[Any, ...] | None

    def settings(self) -> dict[str, Any]:
        """What a class of one's own keeps in its models: a `call` may read it while it is traced."""
        return {name: value for name, value in vars(self).items() if name not in self._base_attributes}

    def build(self, *input_shapes: Any, **unused: Any) -> None:
        """Make the weights of a model with a `call` of its own, for inputs of these shapes (batch first).

        A functional model is built when it is made.
        """
        if is_own(type(self)) and self.has_usual_build():
            self.connect(*input_shapes)

    @classmethod
    def has_usual_build(cls) -> bool:
        return cls.build is OwnCall.build or super().has_usual_build()

    def connect(self, *input_shapes: Any, dtypes: Sequence[str] | None = None) -> None:
        """Trace a `call` of its own once with inputs of these shapes, which makes all weights.

        Args:
            input_shapes: batch first, one for each argument of `call`, in the lists and dicts that it takes.
            dtypes: of the inputs, in order; floats if None.
        """
        shapes: list[Any] = []
        given = with_places(input_shapes, is_shape, shapes, each_once=False)
        kinds = list(dtypes or [self.dtype] * len(shapes))
        inputs = [Input(tuple(shape)[1:], dtype=kind) for shape, kind in zip(shapes, kinds, strict=True)]
        Layer.__call__(self, *filled(given, inputs))
        node = self._nodes.pop()
        self._nodes.insert(0, node)
        self.inputs, self.outputs = inputs, list(node.outputs)
        self.input_keys = keys_of(filled(given, inputs)[0])
        self.output_keys = keys_of(filled(node.form, node.outputs))
        self._built_for = input_shapes
        self.has_tuple_outputs = isinstance(node.form, tuple) and len(node.outputs) > 1
        self.built = True

    def ensure_shape(self, data: Any, given: Any = None) -> None:
        """Give the model its shapes from a first batch.

        Args:
            data: a dataset.
            given: what it was made of; whole numbers stay whole numbers in a `call` of one's own.
        """
        if not is_own(type(self)):
            raise ArgumentError(
                f"{type(self).__name__} {self.name!r} has neither inputs and outputs, Model(inputs, outputs),"
                " nor says what it computes: define call(self, x) with its layers."
            )
        if data.x_shape is None:
            raise NotBuiltError(
                f"Model {self.name!r} has no shapes yet, and the data does not tell them: call "
                "build(input_shape)."
            )
        shapes: list[Any] = []
        form = with_places(data.x_shape, is_shape, shapes, each_once=False)
        arrays = taken_apart((given,), {}, is_array)[1]
        kinds = [self._kind(array) for array in arrays] if len(arrays) == len(shapes) else None
        self.connect(filled(form, [(None, *sizes) for sizes in shapes]), dtypes=kinds)

    def _kind(self, array: Any) -> str:
        return "int32" if np.dtype(array.dtype).kind in "iu" else self.dtype

    def connect_again(self, shape: Shape) -> None:
        """Trace a `call` of its own again, with an input of this shape (batch first) and the same weights."""
        dtypes = [tensor.dtype for tensor in self.inputs]
        self._nodes.pop(0)
        self.connect(*filled(with_places(self._built_for, is_shape, []), [shape]), dtypes=dtypes)

    def get_build_config(self) -> dict[str, Any] | None:
        """The inputs that a model with a `call` of its own was built for; None for a functional one."""
        if not is_own(type(self)) or self._built_for is None:
            return None
        return {
            "input_shapes": [encoded(shape, self.name) for shape in self._built_for],
            "dtypes": [tensor.dtype for tensor in self.inputs],
        }

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Make the weights for the inputs that `get_build_config` gave."""
        self.connect(*(decoded(shape) for shape in config["input_shapes"]), dtypes=config.get("dtypes"))

    def called_on_arrays(self, args: tuple[Any, ...], training: bool | None, keywords: dict[str, Any]) -> Any:
        """What a `call` of its own gives for arrays: by the program of `predict`, if that does the same."""
        given, leaves = taken_apart(args, keywords, is_array)
        node = self._nodes[0] if self._nodes else None
        if not training and node is not None and given == node.given and self._predicts(leaves):
            batch = feeds.image_batch([np.asarray(a) for a in leaves], self.inputs, self.input_names)
            result = self.programs.step_on("predict", batch).run(batch)
            return filled(node.form, [result.prediction(i) for i in range(len(self.outputs))])
        made = Layer.__call__(self, *args, training=training, **keywords)
        if not self.outputs and not keywords:
            shapes = [(None, *np.shape(leaf)[1:]) for leaf in leaves]
            self.connect(*filled(given.args, shapes), dtypes=[self._kind(leaf) for leaf in leaves])
        return made

    def _predicts(self, arrays: Sequence[Any]) -> bool:
        """Whether the program of `predict` takes these arrays, and nothing else is wanted of a call."""
        are_known = all(fits(np.shape(a), t.shape) for a, t in zip(arrays, self.inputs))
        is_random = any(layer.called_training for layer in self.flat_layers())
        return bool(self.outputs) and are_known and not is_random and not self.notes.losses


def keys_of(tensors: Any) -> list[str] | None:
    """The names that a dict of tensors gives."""
    return [str(key) for key in tensors] if isinstance(tensors, dict) else None
