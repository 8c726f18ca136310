"""`check_layer`: the contract of every layer, checked on one example of it.

Shapes as computed, weights as listed, a config that survives JSON and rebuilds an equal layer, channels first
equal to channels last, both float types, inference that does not change weights, a backward pass that reaches
every weight, and a step of `fit` that changes what is trained and is repeated exactly by a clone.
"""

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn import Model, config, layers
from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from kernelearn.layers import LAYERS, Input
from kernelearn.layers.core.own import is_own

BATCH = 3


@dataclass(frozen=True)
class Example:
    """A layer with arguments, and what it must give.

    Attributes:
        shapes: of one sample, one per input.
        output: shape of one sample of the output.
        weights: shapes of the weights in order.
        draws: whether training differs from inference by random numbers.
        vocabulary: inputs are whole numbers below this; 0: any numbers.
        is_smooth: whether a gradient reaches the inputs.
        mixes: whether the images of a batch depend on each other: a program is for one number of them.
    """

    name: str
    arguments: dict[str, Any]
    shapes: Sequence[tuple[int, ...]]
    output: tuple[int, ...]
    weights: Sequence[tuple[int, ...]] = ()
    draws: bool = False
    vocabulary: int = 0
    is_smooth: bool = True
    mixes: bool = False
    label: str = field(default="")

    def __str__(self) -> str:
        return f"{self.name}-{self.label}" if self.label else self.name

    def make(self, **more: Any) -> layers.Layer:
        own = {key: value(**more) if callable(value) else value for key, value in self.arguments.items()}
        return getattr(layers, self.name)(**{**own, **more})

    def inputs(self, dtype: str = "float32") -> list[np.ndarray]:
        """One batch per input, positive and negative, the same numbers in both float types."""
        rng = np.random.default_rng(8)
        if self.vocabulary:
            return [rng.integers(0, self.vocabulary, (BATCH, *shape)).astype(dtype) for shape in self.shapes]
        return [rng.normal(size=(BATCH, *shape)).astype("float32").astype(dtype) for shape in self.shapes]


def check_layer(example: Example) -> None:
    """Run every check that applies."""
    check_shapes(example)
    check_config(example)
    check_float_types(example)
    check_training(example)
    check_fit(example)
    # NOTE: softmax as an activation acts on the last axis whatever the data format, as in Keras.
    if "data_format" in example.make().get_config() and example.arguments.get("activation") != "softmax":
        check_channels_first(example)


def call(layer: layers.Layer, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The layer on arrays, one or several, in inference."""
    return layer(*arguments(layer, arrays), training=False)


def arguments(layer: layers.Layer, parts: Sequence[Any]) -> tuple[Any, ...]:
    """Inputs as the layer is called on them: one, a list of them, or, in attention with heads, one by one."""
    if "query" in inspect.signature(layer.call).parameters:
        return tuple(parts)
    return (parts[0] if len(parts) == 1 else list(parts),)


def randomize(layer: layers.Layer) -> None:
    """Give all weights values that are neither 0 nor 1; statistics stay positive."""
    rng = np.random.default_rng(9)
    layer.set_weights([rng.uniform(0.5, 1.5, w.shape).astype(w.dtype) for w in layer.weights])


def check_shapes(example: Example) -> None:
    layer = example.make()
    batch_shapes = [(None, *shape) for shape in example.shapes]
    given = arguments(layer, batch_shapes) if is_own(type(layer)) else batch_shapes
    assert layer.compute_output_shape(*given) == (None, *example.output)
    tensors = [Input(shape) for shape in example.shapes]
    symbolic = layer(*arguments(layer, tensors))
    assert symbolic.shape == (None, *example.output) and layer.output is symbolic
    assert call(layer, example.inputs()).shape == (BATCH, *example.output)
    assert call(layer, [a[:1] for a in example.inputs()]).shape == (1, *example.output)
    assert [w.shape for w in layer.weights] == [tuple(s) for s in example.weights]
    assert layer.count_params() == sum(int(np.prod(s)) for s in example.weights)
    assert len({w.path for w in layer.weights}) == len(layer.weights)


def check_config(example: Example) -> None:
    layer = example.make()
    expected = call(layer, example.inputs())
    saved = json.loads(json.dumps(LAYERS.serialize(layer)))
    copy = LAYERS.get(saved)
    assert type(copy) is type(layer) and copy.name == layer.name
    assert LAYERS.serialize(copy) == saved
    call(copy, example.inputs())
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(call(copy, example.inputs()), expected)
    for key in example.arguments:
        assert key in saved["config"], f"{example}: argument {key!r} is not in the config"


def check_float_types(example: Example) -> None:
    narrow, wide = example.make(), example.make(dtype="float64")
    call(narrow, example.inputs()), call(wide, example.inputs("float64"))
    randomize(narrow)
    wide.set_weights([w.astype("float64") for w in narrow.get_weights()])
    before = narrow.get_weights()
    y32, y64 = call(narrow, example.inputs()), call(wide, example.inputs("float64"))
    assert (y32.dtype, y64.dtype) == ("float32", "float64")
    np.testing.assert_allclose(y32, y64, rtol=1e-4, atol=1e-5 * (1 + np.abs(y64).max()))
    for old, new in zip(before, narrow.get_weights()):
        np.testing.assert_array_equal(old, new)


def check_channels_first(example: Example) -> None:
    """On the reference engine: the order of axes is of the program, and kernels know one order only."""
    before = config.engine()
    config.set_engine("reference")
    try:
        _check_channels_first(example)
    finally:
        config.set_engine(before)


def _check_channels_first(example: Example) -> None:
    last, first = example.make(dtype="float64"), example.make(dtype="float64", data_format="channels_first")
    arrays = example.inputs("float64")
    call(last, arrays), call(first, [np.moveaxis(a, -1, 1) for a in arrays])
    randomize(last)
    first.set_weights(last.get_weights())
    expected, got = call(last, arrays), call(first, [np.moveaxis(a, -1, 1) for a in arrays])
    if example.name != "Flatten" and not (example.name.startswith("Global") and expected.ndim == 2):
        expected = np.moveaxis(expected, -1, 1)
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)


def training_step(
    example: Example, dtype: str = "float64"
) -> tuple[layers.Layer, dict[str, np.ndarray], np.ndarray]:
    """The mean of squares in training: layer, gradients by weight's path or "input_i", and the output."""
    layer = example.make(dtype=dtype)
    call(layer, example.inputs(dtype))
    randomize(layer)
    graph = ProgramBuilder(training=True, dtype=dtype, batch=BATCH if example.mixes else None)
    inputs = [graph.input(f"input_{i}", (None, *shape)) for i, shape in enumerate(example.shapes)]
    with graph.scope(layer.name):
        y = layer.lower(graph, *inputs)
    flat = graph.add("reshape", y, shape=(None, int(np.prod(example.output))))
    ones, target = graph.input("ones", (None,)), graph.input("target", flat.shape)
    loss, _ = graph.add("loss", flat, target, ones, kind="mean_squared_error")
    grads = add_gradients(graph, loss, also=tuple(inputs))
    graph.outputs = {**{name: g.name for name, g in grads.items()}, "output": y.name}
    feed = {f"input_{i}": a for i, a in enumerate(example.inputs(dtype))}
    feed |= {"ones": np.ones(BATCH), "target": np.zeros((BATCH, flat.shape[1])), "seed": 3, "step": 4}
    # What reaches what is the program's doing; `check_fit` and `call` run compiled kernels.
    results = prepare(graph.build(), graph.variables, "reference").run(feed)
    return layer, results, results["output"]


def check_training(example: Example) -> None:
    layer, results, output = training_step(example)
    assert output.shape == (BATCH, *example.output)
    for weight in layer.trainable_weights:
        assert results[weight.path].shape == weight.shape
        assert np.abs(results[weight.path]).max() > 0, f"{example}: no gradient reaches {weight.name}"
    for i, shape in enumerate(example.shapes if example.is_smooth else ()):
        assert results[f"input_{i}"].shape == (BATCH, *shape)
    again = training_step(example)[2]
    np.testing.assert_array_equal(output, again)


def check_fit(example: Example) -> None:
    """A model of this layer alone trains one step by Adam; its clone takes the same step."""
    model = one_layer_model(example)
    twin = model.clone()
    before, after = model.get_weights(), []
    for one in (model, twin):
        one.compile("adam", "mean_squared_error")
        x = example.inputs() if len(example.shapes) > 1 else example.inputs()[0]
        history = one.fit(x, np.full((BATCH, *example.output), 0.3), shuffle=False, verbose=0, seed=5)
        assert np.isfinite(history.history["loss"][0])
        after.append(one.get_weights())
    for new, again in zip(*after, strict=True):
        assert np.isfinite(new).all()
        np.testing.assert_array_equal(new, again)
    trained = {id(w) for w in model.trainable_weights}
    for weight, old, new in zip(model.weights, before, after[0], strict=True):
        assert id(weight) not in trained or not np.array_equal(old, new), f"{example}: {weight.name} stayed"


def one_layer_model(example: Example) -> Model:
    """Inputs, the layer with random weights, its output."""
    tensors = [Input(shape) for shape in example.shapes]
    layer = example.make()
    model = Model(tensors, layer(*arguments(layer, tensors)))
    randomize(layer)
    return model
