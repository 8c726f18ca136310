"""Rewrites change how a step is computed, not what: both programs give the same on the reference engine."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from kernelearn import Input, Model, layers, ops
from kernelearn.engine.cpu import rewrites
from kernelearn.engine.cpu.rewrites import Rewrite, in_order
from kernelearn.engine.cpu.rewrites.early_updates import update_early
from kernelearn.engine.cpu.rewrites.pixels import pixels_of_steps, places_of_steps
from kernelearn.engine.executor import ReferenceExecutable
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Program
from kernelearn.engine.variable import Variable
from kernelearn.models import zoo

RNG = np.random.default_rng(3)
ALL = Rewrite("all", rewrites.optimise)


def pooled_network() -> Model:
    """Convolutions with ReLU and overlapping and plain pooling."""
    x = inputs = Input((13, 13, 2))
    x = layers.Conv2D(5, 3, activation="relu")(x)
    x = layers.MaxPooling2D(3, strides=2)(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    return Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))


def residual_network() -> Model:
    """Batch normalisation with and without scale, residual addition, two users of one tensor."""
    x = inputs = Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = kept = layers.ReLU()(x)
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Add()([x, kept])
    x = layers.Activation("relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return Model(inputs, layers.Dense(3)(x))


def branching_network() -> Model:
    """Poolings that leave pixels out behind a residual addition, and behind a slope for every pixel."""
    x = inputs = Input((9, 9, 4))
    x = layers.Conv2D(4, 3, activation="relu")(x)
    x = layers.Add()([x, layers.Conv2D(4, 3, padding="same")(x)])
    x = layers.MaxPooling2D(2)(x)
    x = layers.PReLU()(layers.Conv2D(3, 3, padding="same")(x))
    x = layers.AveragePooling2D(2)(x)
    return Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


class OwnNormalization(layers.Layer):
    """Batch normalisation, or with axis=-1 that of layers, as users write it."""

    def __init__(self, axis, **options):
        super().__init__(**options)
        self.axis = axis

    def build(self, input_shape):
        self.gamma = self.add_weight(shape=input_shape[-1:], initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=input_shape[-1:], initializer="zeros", name="beta")

    def call(self, x):
        mean = ops.mean(x, axis=self.axis, keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=self.axis, keepdims=True)
        return (x - mean) * ops.rsqrt(variance + 1e-3) * self.gamma + self.beta


class OwnGate(layers.Layer):
    def call(self, x):
        return x * ops.sigmoid(x) + ops.mean(x, axis=(1, 2), keepdims=True)


def own_network() -> Model:
    """Normalisations and a gate of one's own."""
    x = inputs = Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same")(x)
    x = OwnNormalization((0, 1, 2))(x)
    x = layers.Conv2D(6, 3, padding="same")(OwnGate()(x))
    x = layers.Conv2D(5, 3)(OwnNormalization(-1)(x))
    return Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def stepping_network() -> Model:
    """Windows of one pixel that move by two and by three, large enough for products."""
    x = inputs = Input((10, 8, 90))
    x = layers.Conv2D(96, 1, strides=2)(x)
    x = layers.Conv2D(100, 1, strides=(3, 1), padding="same", use_bias=False)(layers.ReLU()(x))
    x = layers.Conv2D(100, 1, strides=2)(layers.ZeroPadding2D(1)(x))
    return Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def halving_network() -> Model:
    """Blocks that halve their maps, with shortcuts by windows of one pixel; the last sum has nothing else."""
    x = inputs = Input((9, 8, 4))
    for window, strides in ((1, 1), (3, 2)):
        y = layers.Conv2D(5, window, strides=strides, padding="same")(x)
        y = layers.Conv2D(6, 3, strides=2 // strides, padding="same")(layers.ReLU()(y))
        shortcut = layers.Conv2D(6, 1, strides=2, use_bias=False)(x)
        x = layers.ReLU()(layers.Add()([y, shortcut]))
    x = layers.ReLU()(layers.Conv2D(5, 3, padding="same")(x))
    x = layers.Add()([layers.Conv2D(4, 1, strides=2)(x), layers.Conv2D(4, 1, strides=2)(x)])
    return Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


NETWORKS = {
    "halving": halving_network,
    "stepping": stepping_network,
    "own": own_network,
    "branching": branching_network,
    "pooled": pooled_network,
    "residual": residual_network,
    "lenet": lambda: zoo.lenet((28, 28, 1), 3),
}


def program_of(name: str, kind: str) -> tuple[Program, dict[str, Variable], dict[str, np.ndarray]]:
    """A float64 program with its variables and inputs."""
    model = NETWORKS[name]()
    model.compile("adam", "mse", engine="reference")
    executable = model.step(kind).executable
    shapes = {b.name: b for b in executable.program.inputs()}
    inputs = {
        n: RNG.standard_normal([4 if s is None else s for s in b.shape]).astype("float32")
        for n, b in shapes.items()
    }
    fixed = {"seed": 1, "step": 2, "update": 3, "learning_rate": 0.01}
    inputs.update((n, np.asarray(v)) for n, v in fixed.items() if n in shapes)
    for variable in executable.variables.values():
        if "variance" not in variable.path:
            variable.assign(RNG.standard_normal(variable.shape) * 0.5)
        else:
            variable.assign(RNG.uniform(0.5, 2, variable.shape))
        if "velocity" in variable.name:
            variable.assign(np.abs(variable.value))
    return executable.program, executable.variables, inputs


def results(program: Program, variables, inputs) -> dict[str, np.ndarray]:
    """Outputs of a run and the weights after it, from copies of the weights."""
    copies = {n: Variable(v.value, v.name) for n, v in variables.items()}
    found = ReferenceExecutable(program, copies).run(inputs)
    return {**found, **{n: v.numpy() for n, v in copies.items()}}


@functools.cache
def as_written(name: str, kind: str) -> tuple:
    """A program, its variables and inputs, and what it gives as it is: the same for each rewrite of it."""
    made = program_of(name, kind)
    return *made, results(*made)


@pytest.mark.parametrize("kind", ["train", "test", "predict"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rewrite", [*rewrites.REWRITES, ALL], ids=lambda r: r.name)
def test_a_rewritten_program_gives_the_same(rewrite, network, kind):
    program, variables, inputs, before = as_written(network, kind)
    after = results(rewrite(program), variables, inputs)
    assert before.keys() == after.keys()
    for name, value in before.items():
        # NOTE: Adam divides by the root of a mean square that may be tiny, hence the absolute part.
        np.testing.assert_allclose(after[name], value, rtol=2e-4, atol=2e-5, err_msg=name)


def operators(program: Program) -> list[str]:
    """Names of the operators, those inside fused ones too."""
    names = []
    for op in program.operations:
        body = op.attrs["body"].operations if op.operator == "fused" else (op,)
        names += [part.operator for part in body]
    return names


@pytest.mark.parametrize("kind", ["train", "predict"])
@pytest.mark.parametrize("network", NETWORKS)
def test_rewritten_operations_have_all_their_attributes(network, kind):
    for op in rewrites.optimise(program_of(network, kind)[0]).operations:
        for part in op.attrs["body"].operations if op.operator == "fused" else (op,):
            assert part.attrs == OPERATORS[part.operator].whole(part.attrs), str(part)


def test_the_relu_gradient_moves_before_the_pooling():
    program = rewrites.optimise(program_of("pooled", "train")[0])
    shapes = {
        program.buffers[part.outputs[0]].shape[1:3]
        for op in program.operations
        for part in (op.attrs["body"].operations if op.operator == "fused" else (op,))
        if part.operator == "activation_grad"
    }
    assert shapes == {(5, 5), (2, 2)}  # the pooled sizes, not 11 x 11 and 5 x 5


def conv_shapes(program: Program) -> set[tuple]:
    """Sizes of maps that convolutions write or get gradients of."""
    parts = [
        part
        for op in program.operations
        for part in (op.attrs["body"].operations if op.operator == "fused" else (op,))
    ]
    made = {program.buffers[op.outputs[0]].shape[1:3] for op in parts if op.operator == "conv"}
    return made | {
        program.buffers[op.inputs[1]].shape[1:3] for op in parts if op.operator == "conv_grad_kernel"
    }


@pytest.mark.parametrize("kind", ["train", "predict"])
def test_pixels_that_no_window_reads_are_not_computed(kind):
    program = program_of("lenet", kind)[0]
    assert conv_shapes(program) == {(26, 26), (11, 11)}
    assert conv_shapes(rewrites.optimise(program)) == {(26, 26), (10, 10)}


def test_pixels_that_anything_else_reads_are_computed():
    x = inputs = Input((7, 7, 2))
    x = layers.Conv2D(3, 3)(x)
    x = layers.Concatenate()([layers.Flatten()(layers.AveragePooling2D(2)(x)), layers.Flatten()(x)])
    model = Model(inputs, layers.Dense(2)(x))
    model.compile("sgd", "mse", engine="reference")
    assert conv_shapes(rewrites.optimise(model.program("train"))) == {(5, 5)}


def test_kernel_gradients_of_steps_read_the_pixels_that_the_window_sees():
    program, *_ = program_of("stepping", "train")
    rewritten = pixels_of_steps.take_pixels(program)
    gradients = [op for op in rewritten.operations if op.operator == "conv_grad_kernel"]
    assert len(gradients) == 3
    for op in gradients:
        assert set(op.attrs["stride"]) == {1}
        assert rewritten.buffers[op.inputs[0]].shape[:-1] == rewritten.buffers[op.inputs[1]].shape[:-1]
    small = program_of("residual", "train")[0]
    assert pixels_of_steps.take_pixels(small).operations == small.operations


def test_gradients_of_shortcuts_that_halve_maps_are_placed_at_the_end_of_another():
    program, *_ = program_of("halving", "train")
    rewritten = places_of_steps.place_pixels(program)
    placed = [op for op in rewritten.operations if op.operator == "strided_place"]
    assert len(placed) == 1  # the first block needs no gradient of its input; the last has none to add it to
    model = halving_network()
    model.compile("sgd", "mse", engine="cpu")
    bodies = [str(op.attrs.get("body")) for op in rewrites.optimise(model.program("train")).operations]
    assert sum(body.startswith("conv_grad_input + strided_place + add") for body in bodies) == 1
    residual = program_of("residual", "train")[0]
    assert places_of_steps.place_pixels(residual).operations == residual.operations


def test_convolutions_take_their_bias_and_activation_along():
    program = rewrites.optimise(program_of("pooled", "predict")[0])
    bodies = [str(op.attrs["body"]) for op in program.operations if op.operator == "fused"]
    assert bodies[:2] == ["conv + bias_add + activation", "conv + bias_add + activation + max_pool"]


@pytest.mark.parametrize("kind", ["train", "predict"])
def test_convolutions_take_a_pooling_along(kind):
    program = rewrites.optimise(program_of("lenet", kind)[0])
    bodies = [str(op.attrs["body"]) for op in program.operations if op.operator == "fused"]
    assert bodies[:2] == ["conv + bias_add + activation + max_pool"] * 2


def test_normalisation_and_residual_addition_are_one_pass():
    program = rewrites.optimise(program_of("residual", "predict")[0])
    bodies = [str(op.attrs["body"]) for op in program.operations if op.operator == "fused"]
    assert any(b.startswith("conv") and "affine + add + activation" in b for b in bodies)


def test_a_recorded_buffer_is_not_rewritten_away():
    program, variables, inputs = program_of("pooled", "train")
    watched = {
        f"watched_{i}": name
        for i, name in enumerate(n for op in program.operations for n in op.outputs if op.phase != "update")
    }
    kept = program.keeping(**watched)
    before, after = results(kept, variables, inputs), results(rewrites.optimise(kept), variables, inputs)
    for name in watched:
        np.testing.assert_allclose(after[name], before[name], rtol=2e-4, atol=2e-5, err_msg=watched[name])


def test_a_program_tells_which_rewrites_made_what():
    before = program_of("pooled", "predict")[0]
    text = rewrites.optimise(before).explain()
    assert "made by" not in before.explain()
    made = {line.partition(" = ")[2].partition("(")[0]: line for line in text.splitlines()}
    assert any(line.endswith("   made by: chains, pooled chains") for line in text.splitlines())
    assert made["fused"].endswith("   made by: chains") and made["softmax"].endswith("]")


def test_a_program_that_nothing_changes_stays_the_same_object():
    program = program_of("pooled", "predict")[0]
    assert Rewrite("copied", lambda p: replace(p, operations=tuple(p.operations)))(program) is program
    fewer = Rewrite("fewer", lambda p: replace(p, operations=p.operations[:-1]))(program)
    assert fewer is not program and len(fewer.operations) == len(program.operations) - 1
    other = Rewrite("other", lambda p: replace(p, outputs={}))(program)
    assert other.outputs == {}


def test_a_graph_is_that_of_its_program():
    first, second = (program_of("pooled", kind)[0] for kind in ("train", "predict"))
    for program in (first, first, second, first):
        graph = Graph(program)
        assert graph.program is program
        assert [graph.place(op) for op in program.operations] == list(range(len(program.operations)))


def test_the_order_of_rewrites_is_checked():
    first, second = Rewrite("first", lambda p: p), Rewrite("second", lambda p: p, after=("first",))
    assert in_order(first, second) == (first, second)
    with pytest.raises(ValueError, match=r"'second' comes after \['first'\]"):
        in_order(second, first)
    with pytest.raises(ValueError, match="'first' is there twice"):
        in_order(first, first)


def test_optimising_twice_changes_nothing_more():
    once = rewrites.optimise(program_of("residual", "train")[0])
    assert operators(rewrites.optimise(once)) == operators(once)


def test_a_weight_is_updated_after_its_last_use_and_after_the_loss():
    program = update_early(program_of("residual", "train")[0])
    loss = program.outputs["loss"]
    loss_at = next(i for i, op in enumerate(program.operations) if loss in op.outputs)
    updates = [(i, op) for i, op in enumerate(program.operations) if op.phase == "update"]
    assert all(i > loss_at for i, _ in updates)
    assert updates[0][0] < len(program.operations) - len(updates)  # some come before the end
    for i, op in updates:
        later = [o for o in program.operations[i + 1 :] if o.phase != "update"]
        assert not any(name in o.inputs for o in later for name in op.outputs)


def traffic(layer) -> int:
    """Tensors as large as the maps that a training step with this layer reads and writes."""
    x = inputs = Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same")(x)
    x = layers.Conv2D(6, 3, padding="same")(layer(x))
    model = Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    model.compile("sgd", "mse", engine="reference")
    program = rewrites.optimise(model.program("train"))
    names = [n for op in program.operations for n in (*op.inputs, *op.outputs)]
    return sum(program.buffers[n].shape == (None, 8, 8, 6) for n in names)


def test_a_normalisation_of_ones_own_moves_as_much_memory_as_the_built_in_one():
    assert traffic(OwnNormalization((0, 1, 2))) <= traffic(layers.BatchNormalization())


def test_a_gate_of_ones_own_is_recomputed_and_not_kept():
    program = rewrites.optimise(program_of("own", "train")[0])
    backward = [op for op in program.operations if op.phase == "backward"]
    assert any(
        "sigmoid" in str(part)
        for op in backward
        if op.operator == "fused"
        for part in op.attrs["body"].operations
    )
