"""The functional `Model`: layers joined by symbolic tensors, with everything a user does to a network.

A model is itself a layer: it can be called, shared and nested.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from kernelearn._serializable import by_reference
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import ArgumentError, NotBuiltError, ShapeError
from kernelearn.errors import unknown_name as unknown_name_error
from kernelearn.initializers.from_layer import values_follow
from kernelearn.layers.core.base import LAYERS, Layer, Shape
from kernelearn.layers.core.calling import has_tensors, lower_node, shown
from kernelearn.layers.core.own import is_own
from kernelearn.layers.core.structure import Given
from kernelearn.layers.core.tensor import Node, Tensor
from kernelearn.layers.core.unknown_sizes import fits, has_unknown, opened
from kernelearn.layers.core.weight import Weight
from kernelearn.models import heads, transfer
from kernelearn.models.graph import calls_between, unique_layers
from kernelearn.models.own_call import OwnCall, keys_of
from kernelearn.tracing import active
from kernelearn.training import feeds
from kernelearn.training.trainer import Trainer


@LAYERS.register("Functional")
class Model(OwnCall, Trainer, Layer):
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

    # --- structure

    @property
    def layers(self) -> list[Layer]:
        """The layers in order of first use, inputs first; of a model with a `call` of its own those that it
        holds itself.
        """
        return [layer for _, layer in self.sublayers()]

    def sublayers(self) -> list[tuple[str, Layer]]:
        if is_own(type(self)):
            return super().sublayers()
        return [(layer.name, layer) for layer in self._layers]

    def flat_layers(self) -> list[Layer]:
        """All layers that are not models, those of nested models included, each once."""
        inner = [part for _, layer in self.sublayers() for part in layer.flat_layers()]
        own = [self] if self.own_weights else []
        return list({id(part): part for part in (*own, *inner)}.values())

    @property
    def calls(self) -> list[Node]:
        """The calls of layers, in the order in which they run: `Node`s with layer, inputs and outputs."""
        return list(self._calls)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name or path ("outer/inner" for a layer of a nested model, "blocks/0/dense" for
        attributes of layers of one's own), or at this index.

        Raises: UnknownNameError, ArgumentError.
        """
        if (name is None) == (index is None):
            raise ArgumentError("get_layer takes either a name or an index.")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ArgumentError(
                    f"The model has {len(self.layers)} layers; there is none at index {index}."
                )
            return self.layers[index]
        found = _at(self, str(name)) or _at(self, str(name).removeprefix(f"{self.name}/"))
        if found is None:
            raise unknown_name_error("layer", name, [path for path, _ in self.descendants()])
        return found

    @property
    def input_names(self) -> list[str]:
        return self.input_keys or [t.node.layer.name for t in self.inputs]

    @property
    def output_names(self) -> list[str]:
        if self.output_keys:
            return self.output_keys
        names = [t.node.layer.name for t in self.outputs]
        return [n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names)]

    @property
    def input_shape(self) -> Any:
        """Shape of the input with None for the batch; a list for several."""
        return _one_or_list([t.shape for t in self.inputs])

    @property
    def output_shape(self) -> Any:
        """Shape of the output with None for the batch; a list for several."""
        return _one_or_list([t.shape for t in self.outputs])

    @property
    def input(self) -> Any:
        return _one_or_list(self.need_shapes().inputs)

    @property
    def output(self) -> Any:
        return _one_or_list(self.need_shapes().outputs)

    def need_shapes(self) -> Model:
        """This model.

        Raises: NotBuiltError before its shapes are known.
        """
        if not self.outputs:
            raise NotBuiltError(
                f"Model {self.name!r} has no shapes yet: give input_shape or call build(input_shape)."
            )
        return self

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
        return _one_or_list([result.prediction(i) for i in range(len(self.outputs))])

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
        return tuple(outputs) if self.has_tuple_outputs else _one_or_list(outputs)

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

    # --- configuration and files

    def get_config(self) -> dict[str, Any]:
        """The structure as JSON values: layers, calls, inputs and outputs; without weights."""
        from kernelearn.models.configs import functional_config

        return super().get_config() if is_own(type(self)) else functional_config(self)

    def to_json(self, **options: Any) -> str:
        """The structure as text, from which `kernelearn.models.model_from_json` makes a new model.

        Args:
            options: for `json.dumps`, for example indent=2.
        """
        return json.dumps(LAYERS.serialize(self), **options)

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> Any:
        """A new model with fresh weights from what `get_config` gave."""
        from kernelearn.models.configs import functional_from_config

        return super().from_config(values) if is_own(cls) else functional_from_config(values)

    def clone(self) -> Any:
        """A new model of the same structure with copies of the weights; not compiled."""
        with values_follow(), by_reference():
            twin = LAYERS.get(LAYERS.serialize(self))
        twin.set_weights(self.get_weights())
        twin.metadata = dict(self.metadata)
        return twin

    def save(self, path: Any, overwrite: bool = True) -> None:
        """Write the model to one file, atomically: structure, weights and optimiser state.

        The ending says in which format: `.kernelearn`, or `.keras`, `.h5`, `.onnx`, `.safetensors`.
        """
        from kernelearn.models.files import save_model

        save_model(self, path, overwrite)

    def export(self, filepath: Any, format: str | None = None, **options: Any) -> None:
        """Write the network for prediction elsewhere, atomically; layers are not kept, but what they compute.

        Args:
            filepath: of the file; of the folder for "standalone".
            format: "onnx", or "standalone" for NumPy code that needs no other library; None to go by the
                ending.
            options: of the format; for ONNX `input_layout` ("NHWC" or "NCHW") and `input_shape`, see
                `kernelearn.conversion.onnx.to_onnx`; for NumPy code `input_shape`, `class_names` and
                `overwrite`, see `kernelearn.conversion.standalone.export_standalone`.
        Raises: ArgumentError for another format or option, and for a layer that the format has no word for.
        """
        from kernelearn.formats.model_files import format_to_export

        format_to_export(filepath, format).function("export_model", filepath)(self, filepath, **options)

    def check_savable(self) -> None:
        """Look whether `save` can write the model down.

        Raises: ArgumentError that names the part which cannot be saved.
        """
        from kernelearn.models.files import model_config

        model_config(self)
        reason = LAYERS.why_not_saved(self)
        if reason is not None:
            raise ArgumentError(reason)

    def save_weights(self, path: Any, overwrite: bool = True) -> None:
        """Write the weights alone."""
        from kernelearn.models.files import save_weights

        save_weights(self, path, overwrite)

    def load_weights(
        self, path: Any, by_name: bool = False, skip_mismatch: bool = False, by_position: bool = False
    ) -> list[str]:
        """Read weights from a file of `save` or `save_weights`, or of another program.

        Args:
            by_name: take what has the name of one of this model's weights, leave the rest as it is.
            skip_mismatch: with `by_name`, leave out weights of another shape instead of raising.
            by_position: pair weights of another program by their order, where its names are not the model's.
        Returns: names of the weights read.
        """
        from kernelearn.models.files import load_weights

        return load_weights(self, path, by_name, skip_mismatch, by_position)

    def __reduce__(self) -> tuple[Any, ...]:
        """Models are pickled and copied by their config, weights and training state."""
        from kernelearn.models.copying import frozen, revived

        return revived, (frozen(self),)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r} layers={len(self.layers)} built={self.built}>"


def _at(layer: Layer, name: str) -> Layer | None:
    """The layer below another one that a path or a name means."""
    for path, part in layer.sublayers():
        for known in (path, part.name):
            if name == known:
                return part
            found = _at(part, name.removeprefix(f"{known}/")) if name.startswith(f"{known}/") else None
            if found is not None:
                return found
    return None


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


def _one_or_list(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)
