"""The functional `Model`: layers joined by symbolic tensors, with everything a user does to a network.

A model is itself a layer: it can be called, shared and nested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.layers.core.base import LAYERS, Layer, Shape
from kernelearn.layers.core.calling import has_tensors, lower_node, one_or_list, shown
from kernelearn.layers.core.own import is_own
from kernelearn.layers.core.structure import Given
from kernelearn.layers.core.tensor import Node, Tensor
from kernelearn.layers.core.unknown_sizes import fits, has_unknown, opened
from kernelearn.layers.core.weight import Weight
from kernelearn.models import heads, transfer
from kernelearn.models.graph import calls_between, unique_layers
from kernelearn.models.own_call import OwnCall, keys_of
from kernelearn.models.stored import Stored
from kernelearn.tracing import active
from kernelearn.training import feeds
from kernelearn.training.trainer import Trainer


@LAYERS.register("Functional")
class Model(OwnCall, Stored, Trainer, Layer):
    """A network from input tensors to output tensors.

    Args:
        inputs, outputs: a tensor, a list or a dict of them, from `Input` and from calling layers. The keys
            of a dict are the names by which `fit` and `predict` take arrays.
        name: made from the class name if None.

    >>> from kernelearn import Input, Model
    >>> from kernelearn.layers import Conv2D, GlobalAveragePooling2D
    >>> x = Input((8, 8, 1))
    >>> model = Model(x, GlobalAveragePooling2D()(Conv2D(4, 3)(x)))
    >>> model.output_shape
    (None, 4)
    """

    loses_masks_silently = True

    # What a functional model is made of; a model with a `call` of its own has no use for it.
    outside_config: ClassVar[frozenset[str]] = Layer.outside_config | {"inputs", "outputs"}

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, trainable: bool = True
    ) -> None:
        if type(self) is Model and (inputs is None or outputs is None):
            raise ArgumentError(
                "Model(inputs, outputs) takes tensors made by Input and by calling layers. To compose layers "
                "one after another use Sequential; to compute something new, subclass Model or Layer and "
                "define call."
            )
        Layer.__init__(self, name=name)
        self._init_training()
        self.metadata: dict[str, Any] = {}
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self._calls: list[Node] = []
        self._layers: list[Layer] = []
        self._built_for: tuple[Any, ...] | None = None
        # The names that a dict of inputs or outputs gives.
        self.input_keys, self.output_keys = keys_of(inputs), keys_of(outputs)
        self.has_tuple_outputs = isinstance(outputs, tuple) and len(outputs) > 1
        self._base_attributes = frozenset({*vars(self), "_base_attributes", "built"})
        if inputs is not None:
            self._connect(_tensors(inputs, "inputs"), _tensors(outputs, "outputs"))
        if not trainable:
            self.trainable = False

    def _connect(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        calls = calls_between(inputs, outputs)
        self._layers = unique_layers(inputs, calls)
        self.inputs, self.outputs, self._calls = inputs, outputs, calls
        self.built = True

    # --- what a layer gives

    def open_to(self, shape: Any) -> None:
        before = self.inputs[0].shape
        wider = None if fits((None, *shape), before) else opened(before, (None, *shape))
        if wider is None:
            return
        try:
            self._connect_to(wider)
        except ShapeError:  # a layer needs the size: what does not fit is refused where it is met
            self._connect_to(before)
        self.programs.forget()

    def _connect_to(self, shape: Shape) -> None:
        """Trace a `call` of its own again, with an input of this shape (batch first) and the same weights."""
        if is_own(type(self)):
            self.connect_again(shape)

    def infer_specs(
        self, specs: Sequence[tuple[Shape, str]], given: Given | None = None
    ) -> list[tuple[Shape, str]]:
        """Layer after layer where sizes are unknown: no one trial size has to suit a whole network."""
        if not any(has_unknown(shape) for shape, _ in specs) or not self._calls:
            return super().infer_specs(specs, given)
        found = {id(t): spec for t, spec in zip(self.inputs, specs)}
        for call in self._calls:
            results = call.layer.infer_specs([found[id(t)] for t in call.inputs], call.given)
            found.update((id(t), spec) for t, spec in zip(call.outputs, results))
        return [found[id(t)] for t in self.outputs]

    def lower(self, graph: ProgramBuilder, *inputs: Any, **unused: Any) -> Any:
        if is_own(type(self)):
            return self.lower_given(graph, self._nodes[0].given if self._nodes else None, inputs)
        values: dict[int, Buffer] = {id(t): b for t, b in zip(self.inputs, inputs)}
        for call in self._calls:
            results = lower_node(graph, call, [values[id(t)] for t in call.inputs])
            values.update((id(t), b) for t, b in zip(call.outputs, results))
        # A Sequential that has nothing but its Input hands the input on.
        outputs = tuple(values[id(t)] for t in self.outputs or self.inputs)
        return outputs[0] if len(outputs) == 1 else outputs

    @property
    def weights(self) -> list[Weight]:
        """All weights in the order of the layers, shared ones once."""
        return list(self.weight_paths().values())

    @property
    def trainable_weights(self) -> list[Weight]:
        own = [w for w in self.own_weights if w.trainable and self._trainable]
        inner = [w for _, layer in self.sublayers() for w in layer.trainable_weights]
        return list({id(w): w for w in (*own, *inner)}.values())

    def run_on_arrays(self, arrays: list[np.ndarray], training: bool | None) -> Any:
        """Predictions, by the program of `predict`, which is made once; other shapes get one of their own.

        Without `training=`, a model with layers that change images at random does so, as these layers alone.
        """
        arrays = [feeds.with_channels(a, t.shape) for a, t in zip(arrays, self.inputs)] or arrays
        is_known = all(fits(array.shape, tensor.shape) for array, tensor in zip(arrays, self.inputs))
        is_random = training or (training is None and any(la.called_training for la in self.flat_layers()))
        if is_random or not self.outputs or not is_known:
            token = shown.set(training is None)
            try:
                return super().run_on_arrays(arrays, training)
            finally:
                shown.reset(token)
        batch = feeds.image_batch(arrays, self.inputs, self.input_names)
        result = self.programs.step_on("predict", batch).run(batch)
        return one_or_list([result.prediction(i) for i in range(len(self.outputs))])

    def __call__(self, *args: Any, training: bool | None = None, **keywords: Any) -> Any:
        """As `Layer.__call__`; several inputs as a list or as a dict by name, outputs in the model's form.

        Raises: ShapeError for another number of inputs than the model has.
        """
        if is_own(type(self)):
            if not active() and not has_tensors(args, keywords):
                return self.called_on_arrays(args, training, keywords)
            return super().__call__(*args, training=training, **keywords)
        if args:
            args = (self._in_order(args[0]), *args[1:])
        given = super().__call__(*args, training=training, **keywords)
        return self.arranged(given if isinstance(given, list) else [given])

    def _in_order(self, inputs: Any) -> Any:
        """The inputs as the list that a layer takes."""
        if not self.inputs:
            return inputs
        if isinstance(inputs, dict):
            missing = [name for name in self.input_names if name not in inputs]
            if missing:
                raise ShapeError(
                    f"Model {self.name!r} has the inputs {self.input_names}; {sorted(map(str, inputs))} "
                    f"lacks {missing}."
                )
            return [inputs[name] for name in self.input_names]
        count = len(inputs) if isinstance(inputs, list | tuple) else 1
        if count != len(self.inputs):
            raise ShapeError(
                f"Model {self.name!r} takes {len(self.inputs)} input(s), {self.input_names}; got {count}. A "
                "list or tuple counts as several inputs: give one array, np.asarray(...), for one."
            )
        return inputs

    def arranged(self, outputs: list[Any]) -> Any:
        """One thing for each output as the outputs were given: alone, a list, a tuple or a dict."""
        if self.output_keys is not None:
            return dict(zip(self.output_keys, outputs, strict=True))
        return tuple(outputs) if self.has_tuple_outputs else one_or_list(outputs)

    # --- transfer learning

    def freeze(self, until: str | None = None) -> None:
        """Stop training layers: all, or those up to and including the layer named `until`.

        It counts from the next step on. Frozen layers cost no gradient work; frozen BatchNormalization uses
        its moving statistics.

        Args:
            until: name or path ("outer/inner" of a nested model) in the order of first use, or a module of a
                network from PyTorch ("layer1" for "layer1.0.conv1" and its like); None for all.
        Raises: UnknownNameError for a layer that is not there.
        """
        transfer.set_trainable(self, False, until)

    def unfreeze(self, until: str | None = None) -> None:
        """Train layers again: all, or those up to and including `until`."""
        transfer.set_trainable(self, True, until)

    def replace_head(self, classes: int, activation: Any = "softmax", name: str | None = None) -> Model:
        """A model with the same layers (and their weights) but a new last layer for other classes.

        The last layer is the Dense at the end, or a convolution of size 1 (of any size where the answer is a
        map). What follows it without weights stays, but for an Activation at the end, which gives way to
        `activation`. Where a model within the model is the end, its last layer is meant.

        Args:
            classes: number of outputs of the new layer; its weights start afresh.
            activation: of the answer.
            name: of the new layer; made from the class name if None.
        Returns: a new functional model that shares all other layers with this one.
        Raises: ArgumentError for a model without such an end, or with several outputs.
        """
        return heads.replace_head(self, classes, activation, name)

    def add_head(
        self, classes: int, activation: Any = "softmax", pooling: str = "avg", name: str | None = None
    ) -> Model:
        """A model that goes on behind this one, a network without its head: pooling, then a Dense layer.

        Args:
            classes: number of outputs.
            activation: of the answer.
            pooling: what makes a row of numbers of feature maps: "avg", "max" or "flatten".
            name: of the Dense layer.
        Returns: a new functional model that shares its layers with this one.
        """
        return heads.add_head(self, classes, activation, pooling, name)

    def split_at_frozen(self) -> transfer.Split:
        """The frozen beginning of the model and the rest, as two models that share its layers.

        Returns: `base`, `head`, and the `names` of the tensors between them.
        Raises: ArgumentError, with the layer and the reason, where there is no such part.
        """
        return transfer.split_at_frozen(self)

    # --- looking at it

    def feature_maps(self, x: Any, layers: Sequence[str]) -> list[np.ndarray]:
        """Outputs of the named layers ("outer/inner" in nested models) for a batch, in inference mode."""
        maps = self.model_of(layers).predict(x, verbose=0)
        return maps if isinstance(maps, list) else [maps]

    def model_of(self, layers: Sequence[str]) -> Model:
        """A model with the same inputs whose outputs are what these layers give at their first call here."""
        from kernelearn.models.inner_outputs import InnerOutputs

        given = {t.node.layer.name: t for t in self.need_shapes().inputs}
        inside = [name for name in layers if name not in given]
        made = InnerOutputs(self, inside)(list(self.inputs)) if inside else []
        found = {**given, **dict(zip(inside, made if isinstance(made, list) else [made]))}
        return Model(self.inputs, [found[name] for name in layers])

    def summary(
        self,
        line_length: int | None = None,
        print_fn: Any = None,
        engine: bool = False,
        input_shape: Any = None,
    ) -> None:
        """Print layers, output shapes and numbers of parameters; with `engine=True` also their kernels.

        Args:
            input_shape: of one image, for the kernels of a model that takes any size: (64, 64, 3).
        """
        from kernelearn.models.summary import summary

        summary(self, line_length, print_fn, engine, input_shape)

    def _repr_html_(self) -> str:
        from kernelearn.models.summary import summary_html

        return summary_html(self)

    # --- configuration

    def get_config(self) -> dict[str, Any]:
        """The structure as JSON values: layers, calls, inputs and outputs; without weights."""
        from kernelearn.models.configs import functional_config

        return super().get_config() if is_own(type(self)) else functional_config(self)

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> Any:
        """A new model with fresh weights from what `get_config` gave."""
        from kernelearn.models.configs import functional_from_config

        return super().from_config(values) if is_own(cls) else functional_from_config(values)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r} layers={len(self.layers)} built={self.built}>"


def _tensors(value: Any, what: str) -> list[Tensor]:
    parts = (
        list(value.values())
        if isinstance(value, dict)
        else list(value)
        if isinstance(value, list | tuple)
        else [value]
    )
    if not parts or not all(isinstance(t, Tensor) for t in parts):
        raise ArgumentError(f"{what} must be tensors made by Input and by calling layers; got {value!r}.")
    return parts
