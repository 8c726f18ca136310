"""Receptive fields against the support of gradients, against brute force, and against known numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernelearn import Input, Model, Sequential, config, layers, ops
from kernelearn.engine.geometry import receptive_field as stack_of_windows
from kernelearn.errors import ArgumentError, KernelearnError, NotBuiltError, UnknownNameError
from kernelearn.explain.sight.fields import receptive_field, receptive_fields
from kernelearn.explain.sight.network import ScoreGradient, open_network, sizes_of
from kernelearn.models.zoo import lenet, resnet20
from tests.sweeps import some


def positive_weights(model, rng):
    """Nothing cancels where all weights are positive: the gradient reaches all it can reach."""
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])


def gradient_support(model, layer, unit):
    """Numbers of the image by which the derivative of one unit is not zero."""
    gradient = ScoreGradient(model, layer, before_activation=False)
    direction = np.zeros(gradient.unit_shape)
    direction[unit] = 1.0
    image = np.random.default_rng(1).uniform(0.5, 1.0, (1, *model.inputs[0].shape[1:]))
    _, (found,) = gradient(image, direction.reshape(1, -1))
    return np.abs(found[0]) > 1e-9


def seen_numbers(model, layer, unit):
    """Mask and channels of the receptive field; their product is the set only if it has this form."""
    found = receptive_field(model, layer, unit)
    return found.mask, found.channels


def check_all_units(model, layer=None, most=40):
    """Compare every unit (or some) of a layer with the support of its gradient."""
    config.set_floatx("float64")
    rng = np.random.default_rng(0)
    positive_weights(model, rng)
    units = list(np.ndindex(*sizes_of(open_network(model).buffer(layer))))
    chosen = rng.choice(len(units), min(most, len(units)), replace=False)
    for number in chosen:
        expected = gradient_support(model, layer, units[number])
        mask, channels = seen_numbers(model, layer, units[number])
        np.testing.assert_array_equal(mask, expected.any(axis=-1))
        spatial = tuple(range(expected.ndim - 1))
        np.testing.assert_array_equal(channels, expected.any(axis=spatial))
        check_window(receptive_field(model, layer, units[number]))


def check_window(found):
    """The window holds all that is seen."""
    for part, start, stop, size in zip(found.window, found.start, found.stop, found.image_size):
        if part.stop > part.start:
            assert start <= part.start
            assert part.stop <= stop
            assert part.stop <= size


@pytest.fixture(autouse=True)
def _doubles():
    config.set_floatx("float64")


ONE_DIMENSION = {
    "dilated": [layers.Conv1D(2, 3, dilation_rate=3)],
    "causal": [layers.Conv1D(2, 3, padding="causal", dilation_rate=2)],
    "strided": [layers.Conv1D(2, 2, strides=3), layers.Conv1D(2, 3, padding="same")],
    "gaps": [layers.Conv1D(2, 1, strides=3), layers.Conv1D(2, 3)],
    "transposed": [layers.Conv1DTranspose(2, 3, strides=2, padding="same")],
    "transposed with gaps": [layers.Conv1DTranspose(2, 2, strides=4, padding="valid")],
    "transposed, dilated": [layers.Conv1DTranspose(2, 3, dilation_rate=2)],
    "average": [layers.AveragePooling1D(3, strides=2, padding="same")],
    "up and down": [layers.UpSampling1D(3), layers.Conv1D(1, 2), layers.AveragePooling1D(2)],
    "border": [layers.ZeroPadding1D((2, 1)), layers.Conv1D(1, 3), layers.Cropping1D((1, 2))],
    "global": [layers.Conv1D(2, 3), layers.GlobalAveragePooling1D()],
    "dense": [layers.Conv1D(2, 3, strides=2), layers.Flatten(), layers.Dense(3)],
    "separable": [layers.SeparableConv1D(2, 3, padding="same")],
}


@pytest.mark.parametrize("name", some(ONE_DIMENSION, quick=6))
def test_one_dimension(name):
    twins = [type(layer).from_config(layer.get_config()) for layer in ONE_DIMENSION[name]]
    check_all_units(Sequential([Input((13, 2)), *twins]))


TWO_DIMENSIONS = {
    "groups": lambda: [layers.Conv2D(4, 3, groups=2), layers.Conv2D(4, 2, groups=4)],
    "depthwise": lambda: [layers.DepthwiseConv2D((3, 1), depth_multiplier=2)],
    "flatten": lambda: [layers.Conv2D(2, (2, 3)), layers.Flatten()],
    "reshape": lambda: [layers.Reshape((8, 6, 4)), layers.Conv2D(2, 2)],
    "flat line": lambda: [layers.Reshape((48, 4)), layers.Conv1D(2, 3)],
    "permute": lambda: [layers.Permute((2, 1, 3)), layers.Conv2D(2, (1, 3))],
    "dense on channels": lambda: [layers.Dense(3), layers.Conv2D(1, 2)],
    "upsampling": lambda: [layers.UpSampling2D(2, interpolation="bilinear")],
    "bicubic": lambda: [layers.UpSampling2D((2, 1), interpolation="bicubic")],
    "resizing": lambda: [layers.Resizing(5, 9)],
    "nearest": lambda: [layers.Resizing(11, 4, interpolation="nearest")],
    "normalised": lambda: [layers.BatchNormalization(), layers.Conv2D(2, 2, activation="softplus")],
    "untied": lambda: [layers.LocallyConnected2D(2, 3)],
}


@pytest.mark.parametrize("name", some(TWO_DIMENSIONS, quick=6))
def test_two_dimensions(name):
    check_all_units(Sequential([Input((6, 8, 4)), *TWO_DIMENSIONS[name]()]), most=25)


class Moved(layers.Layer):
    """One operator of the engine as a layer."""

    def __init__(self, operator, **attrs):
        super().__init__()
        self.operator, self.attrs = operator, attrs

    def lower(self, graph, x):
        return graph.add(self.operator, x, **self.attrs)


MOVES = {
    "every second, mirrored": ("strided_slice", {"places": (None, (12, 6, -2), None)}),
    "apart": ("strided_place", {"places": (None, (1, 13, 2), (0, 2, 1)), "shape": (None, 28, 2)}),
    "repeated": ("broadcast_to", {"shape": (None, 4, 13, 2)}),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    operator, attrs = MOVES[name]
    first = [layers.Reshape((1, 13, 2))] if name == "repeated" else []
    after = layers.Conv2D(1, 2) if first else layers.Conv1D(1, 3)
    check_all_units(Sequential([Input((13, 2)), *first, Moved(operator, **attrs), after]))


@pytest.mark.parametrize("mode", ["constant", "reflect", "symmetric", "edge", "wrap"])
def test_borders_look_at_the_pixels_that_they_repeat(mode):
    x = Input((9, 2))
    check_all_units(Model(x, layers.Conv1D(2, 3)(ops.pad(x, ((0, 0), (3, 2), (0, 0)), mode))))


def test_sorted_numbers_may_come_from_anywhere_along_their_axis():
    x = Input((4, 5, 3))
    found = receptive_field(Model(x, ops.sort(x, 2)), unit=(1, 2, 0))
    np.testing.assert_array_equal(found.mask, np.arange(4)[:, None] == np.ones((1, 5)))
    assert found.channels.tolist() == [True, False, False]


def test_three_dimensions():
    stack = [layers.Conv3D(2, (2, 1, 3), padding="same"), layers.AveragePooling3D(2)]
    check_all_units(Sequential([Input((4, 5, 6, 1)), *stack]))


def test_channels_first():
    first = {"data_format": "channels_first"}
    model = Sequential([Input((2, 6, 7)), layers.Conv2D(3, 3, **first), layers.AveragePooling2D(2, **first)])
    found = receptive_field(model, unit=(0, 1))
    assert found.image_size == (6, 7)
    assert (found.start, found.size, found.channels.shape) == ((0, 2), (4, 4), (2,))
    assert found.jump == (2, 2)


def test_group_normalisation_sees_everything():
    model = Sequential([Input((5, 6, 4)), layers.GroupNormalization(2)])
    found = receptive_field(model, unit=(1, 1, 0))
    assert found.mask.all()
    assert found.channels.tolist() == [True, True, False, False]


def branches():
    """A tall and a wide kernel side by side: together they see a cross."""
    x = Input((9, 9, 1))
    tall, wide = layers.Conv2D(2, (5, 1), padding="same")(x), layers.Conv2D(3, (1, 7), padding="same")(x)
    joined = layers.Concatenate(name="joined")([tall, wide])
    return Model(x, layers.Conv2D(2, 1, name="mixed")(joined))


def test_branches_are_united():
    model = branches()
    cross = np.zeros((9, 9), bool)
    cross[2:7, 4] = cross[4, 1:8] = True
    found = receptive_field(model, "mixed", unit=(4, 4))
    np.testing.assert_array_equal(found.mask, cross)
    assert found.size == (5, 7)
    assert found.pixels == 11
    assert receptive_field(model, "joined", unit=(4, 4, 1)).size == (5, 1)
    assert receptive_field(model, "joined", unit=(4, 4, 2)).size == (1, 7)
    check_all_units(model, "joined", most=20)


def test_branches_that_move_differently_have_no_jump():
    x = Input((8, 8, 1))
    half = layers.AveragePooling2D(2)(x)
    corner = layers.Cropping2D(((0, 4), (0, 4)))(x)
    found = receptive_field(Model(x, layers.Add(name="sum")([half, corner])), "sum", unit=(3, 3))
    assert found.jump == (None, None)
    assert (found.start, found.stop) == ((3, 3), (8, 8))


def test_nested_and_shared_layers():
    inner = Sequential([Input((8, 8, 2)), layers.Conv2D(2, 3, padding="same", name="conv")], name="part")
    x = Input((8, 8, 2))
    model = Model(x, inner(inner(x)))
    assert receptive_field(model, "part/conv").size == (3, 3)
    assert receptive_field(model).size == (5, 5)
    assert receptive_field(model).layer == "part"


def test_several_inputs():
    a, b = Input((6, 1), name="a"), Input((6, 1), name="b")
    model = Model([a, b], layers.Add()([layers.Conv1D(1, 3, padding="same")(a), b]))
    assert receptive_field(model, unit=2, source="a").size == (3,)
    assert receptive_field(model, unit=2, source="b").size == (1,)
    with pytest.raises(ArgumentError, match="say which one with source="):
        receptive_field(model)
    with pytest.raises(UnknownNameError, match="input 'c'"):
        receptive_field(model, source="c")


def test_a_unit_that_sees_nothing():
    model = Sequential([Input((3, 1)), layers.Conv1DTranspose(1, 1, strides=3)])
    found = receptive_field(model, unit=1)
    assert (found.pixels, found.size, found.window) == (0, (0,), (slice(0, 0),))


def test_known_numbers_of_lenet():
    table = receptive_fields(lenet((28, 28, 1), 10))
    sizes = dict(zip(table["layer"], table["size"]))
    assert sizes["conv2"] == (8, 8)
    assert sizes["pool2"] == (10, 10)
    row = next(row for row in table if row["layer"] == "pool2")
    assert (row["jump"], row["offset"], row["output"]) == ((4.0, 4.0), (0, 0), "5x5x64")


def test_a_dense_layer_sees_what_the_poolings_left():
    found = receptive_field(lenet((28, 28, 1), 10), "classifier", unit=3)
    assert found.jump == (0, 0)
    assert found.size == (26, 26)  # the last two rows and columns fall off the poolings


def test_a_residual_network_matches_the_closed_formula():
    found = receptive_field(resnet20((32, 32, 3), 10), "stage3_block3_conv2")
    windows = [(3, 1, 1)] * 7 + [(3, 2, 1)] + [(3, 1, 1)] * 5 + [(3, 2, 1)] + [(3, 1, 1)] * 5
    size, jump = stack_of_windows(windows)
    assert found.size == (size, size)
    assert found.jump == (jump, jump)
    assert found.is_clipped


def test_enlarging_moves_by_fractions():
    model = Sequential([Input((5, 1)), layers.UpSampling1D(2), layers.Conv1D(1, 3)])
    assert receptive_field(model).jump == (Fraction(1, 2),)
    starts = [receptive_field(model, unit=q).start[0] for q in range(8)]
    assert starts == [0, 0, 1, 1, 2, 2, 3, 3]


def test_windows_reach_into_the_padding():
    model = Sequential([Input((6, 6, 1)), layers.Conv2D(1, 5, padding="same")])
    corner = receptive_field(model, unit=(0, -1))
    assert (corner.start, corner.stop) == ((-2, 3), (3, 8))
    assert corner.window == (slice(0, 3), slice(3, 6))
    assert corner.is_clipped
    assert corner.unit == (0, 5)
    assert corner.centre == (0.0, 5.0)


@st.composite
def stacks(draw):
    """Random stacks of layers on a line."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "transpose", "pool", "up", "pad", "crop", "same"]))
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        dilation = draw(st.integers(1, 3)) if stride == 1 else 1
        made.append((kind, kernel, stride, dilation))
    return draw(st.integers(6, 16)), made


def layer_of(kind, kernel, stride, dilation):
    options = {"strides": stride, "dilation_rate": dilation}
    return {
        "conv": lambda: layers.Conv1D(1, kernel, **options),
        "same": lambda: layers.Conv1D(1, kernel, padding="same", **options),
        "transpose": lambda: layers.Conv1DTranspose(1, kernel, padding="same", **options),
        "pool": lambda: layers.AveragePooling1D(kernel, strides=stride, padding="same"),
        "up": lambda: layers.UpSampling1D(stride),
        "pad": lambda: layers.ZeroPadding1D((kernel, stride)),
        "crop": lambda: layers.Cropping1D((kernel - 1, stride - 1)),
    }[kind]()


@settings(max_examples=8, deadline=None)
@given(stacks())
def test_random_stacks_see_what_their_gradients_reach(stack):
    check_stack(stack)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(stacks())
def test_many_random_stacks_see_what_their_gradients_reach(stack):
    check_stack(stack)


def check_stack(stack):
    size, kinds = stack
    try:
        model = Sequential([Input((size, 1)), *(layer_of(*kind) for kind in kinds)])
    except ValueError:  # it leaves nothing
        return
    check_all_units(model, most=6)


BRANCHES = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 3)), min_size=2, max_size=4
)


@settings(max_examples=4, deadline=None)
@given(BRANCHES)
def test_random_branches_see_what_their_gradients_reach(parts):
    check_branches(parts)


@pytest.mark.slow
@settings(max_examples=24, deadline=None)
@given(BRANCHES)
def test_many_random_branches_see_what_their_gradients_reach(parts):
    check_branches(parts)


def check_branches(parts):
    x = Input((7, 6, 2))
    grown = [layers.Conv2D(2, (a, b), dilation_rate=(1 + c // 2, 1), padding="same")(x) for a, b, c in parts]
    tail = layers.AveragePooling2D(2, strides=1)(layers.Concatenate()(grown))
    check_all_units(Model(x, tail), most=5)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3), st.integers(0, 2))
def test_without_padding_the_window_fits_tightly(windows, unit):
    model = Sequential([Input((100, 1)), *(layers.Conv1D(1, k, strides=s) for k, s in windows)])
    found = receptive_field(model, unit=unit)
    size, jump = stack_of_windows([(k, s, 1) for k, s in windows])
    assert (found.size, found.jump, found.offset) == ((size,), (jump,), (0,))
    assert found.window == (slice(found.start[0], found.stop[0]),)
    assert found.start == (unit * jump,)


def test_errors_say_what_to_do():
    model = lenet((16, 16, 1), 3)
    with pytest.raises(UnknownNameError, match="Unknown layer 'conv9'"):
        receptive_field(model, "conv9")
    with pytest.raises(ArgumentError, match="unit must be an index of an output of shape"):
        receptive_field(model, "conv1", unit=(99, 0))
    with pytest.raises(NotBuiltError, match="call build"):
        receptive_field(Sequential([layers.Conv2D(1, 3)]))
    with pytest.raises(ArgumentError, match="Expected a kernelearn model"):
        receptive_field([1, 2])


class Twist(layers.Layer):
    """A layer with an operator whose geometry nobody told."""

    def lower(self, graph, x):
        return graph.add(
            "flip",
            x,
            graph.add("random_uniform", x, *graph.clock(), shape=(1,), stream=0, low=0.0, high=1.0),
            axes=(1,),
        )


def test_an_unknown_operator_is_named():
    model = Sequential([Input((4, 4, 1)), Twist(name="twist")])
    with pytest.raises(KernelearnError, match="operator 'flip' in layer 'twist' is not known"):
        receptive_field(model)
