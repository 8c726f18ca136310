"""What the conditions promise: what is frozen stays, starts are equal, counts are right."""

import numpy as np
import pytest
from tests.sweeps import some

from kernelearn import config
from kernelearn.errors import ArgumentError, DataError
from kernelearn.explain.experiments import (
    EXPERIMENTS,
    Activation,
    Augmentation,
    Depth,
    ExperimentSettings,
    Frozen,
    Initialisation,
    Pooling,
    Problem,
    Sharing,
    Transfer,
)
from kernelearn.explain.experiments.depth import blocks_of, count_weights, field_of_view
from kernelearn.explain.experiments.frozen import classical_kernel
from kernelearn.explain.experiments.initialisation import different_filters
from kernelearn.explain.experiments.sharing import dense_weights, shift_of, shifted_accuracy
from kernelearn.explain.experiments.training import Training


class Case:
    """One seed of an experiment, whose conditions can be made and trained one by one."""

    def __init__(self, experiment, problem, settings, seed=0):
        self.experiment, self.settings = experiment, settings
        self.draw = experiment.draw(problem, seed, settings)
        self.training = Training(seed)
        config.set_random_seed(seed)
        self.prepared = experiment.prepare(self.draw, self.training, settings)
        self.names = list(experiment.conditions(problem))

    def network(self, name):
        config.set_random_seed(self.draw.seed)
        return self.experiment.network(name, self.draw, self.prepared)

    def train(self, model):
        draw = self.draw
        budget = self.experiment.budget(self.settings)
        return self.training.fit(model, draw.x, draw.y, budget, test=(draw.x_test, draw.y_test))


@pytest.mark.parametrize("name", some(EXPERIMENTS, quick=("frozen", "transfer", "sharing")))
def test_what_is_frozen_stays_bitwise_and_the_rest_moves(name, stripes, tiny):
    kind = EXPERIMENTS[name]
    case = Case(Transfer(new_epochs=2) if kind is Transfer else kind(), stripes, tiny)
    for name in case.names:
        model = case.network(name)
        trained = {id(weight) for weight in model.trainable_weights}
        before = [weight.numpy() for weight in model.weights]
        case.train(model)
        moved = [not np.array_equal(old, weight.numpy()) for old, weight in zip(before, model.weights)]
        frozen = [move for move, weight in zip(moved, model.weights) if id(weight) not in trained]
        assert not any(frozen), f"{name}: a frozen weight moved"
        # From zeros nothing but the bias of the classifier can move.
        assert (
            any(moved)
            if name == "zeros"
            else all(m for m, w in zip(moved, model.weights) if id(w) in trained)
        )


def test_the_conditions_of_frozen_differ_in_nothing_else(stripes, tiny):
    case = Case(Frozen(), stripes, tiny)
    weights = {name: case.network(name).get_weights() for name in case.names}
    free = weights.pop("train all")
    for name, others in weights.items():
        equal = [np.array_equal(a, b) for a, b in zip(free, others)]
        assert equal == [not name.startswith("fixed bank"), True, True, True, True, True]
    counts = {name: sum(w.value.size for w in case.network(name).trainable_weights) for name in case.names}
    first, second, classifier = 9 * 16 + 16, 9 * 16 * 32 + 32, 2 * 2 * 32 * 6 + 6
    assert counts == {
        "train all": first + second + classifier,
        "freeze dense": first + second,
        "freeze kernels": classifier,
        "fixed bank first": second + classifier,
        "fixed random first": second + classifier,
        "fixed bank, freeze kernels": classifier,
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_the_classical_filters(channels):
    kernel = classical_kernel((3, 3, channels, 20))
    np.testing.assert_allclose(np.sqrt((kernel**2).sum(axis=(0, 1, 2))), np.sqrt(2))
    np.testing.assert_allclose(kernel.sum(axis=(0, 1, 2)), 0, atol=1e-6)  # blind to brightness
    np.testing.assert_allclose(kernel[..., 8:16], -kernel[..., :8])
    np.testing.assert_array_equal(kernel[..., 16:], kernel[..., :4])
    assert different_filters(kernel) == 16
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) * np.sqrt(2 / 12 / channels)
    np.testing.assert_allclose(kernel[:, :, 0, 0], sobel, atol=1e-6)


def test_filters_that_start_equal_stay_equal(stripes, tiny):
    case = Case(Initialisation(), stripes, tiny)
    for name, different in {"zeros": 1, "constant 0.05": 1, "glorot": 16, "he": 16}.items():
        model = case.network(name)
        case.train(model)
        measured = case.experiment.measures(name, model, case.draw, case.prepared)
        assert measured == {"different_filters": different}, name
    kernels = case.network("constant 0.05").get_layer("conv2").kernel.numpy()
    assert np.all(kernels == np.float32(0.05))


def test_zeros_leave_every_kernel_at_zero(stripes, tiny):
    case = Case(Initialisation(), stripes, tiny)
    model = case.network("zeros")
    course = case.train(model)
    *others, bias = model.get_weights()
    assert all(not array.any() for array in others) and bias.any()
    assert len(set(course.accuracy)) <= 2 and max(course.accuracy) <= max(0.5, 2 * case.draw.chance)


def test_kernels_of_another_network_come_from_other_images(stripes, tiny):
    case = Case(Initialisation(), stripes, tiny)
    given, own = case.network("another network"), case.network("glorot")
    for name in ("conv1", "conv2"):
        donor = case.prepared.get_layer(name).get_weights()
        np.testing.assert_array_equal(given.get_layer(name).get_weights()[0], donor[0])
    np.testing.assert_array_equal(given.get_weights()[-2], own.get_weights()[-2])
    seen = {image.tobytes() for image in case.draw.other_x}
    assert len(case.draw.other_x) == len(case.draw.x) == tiny.images
    assert not any(image.tobytes() in seen for image in [*case.draw.x, *case.draw.x_test])


def test_activations_start_from_the_same_weights_and_none_is_linear(stripes, tiny):
    case = Case(Activation(), stripes, tiny)
    first = case.network("relu").get_weights()
    for name in case.names:
        model = case.network(name)
        for a, b in zip(first, model.get_weights()):
            np.testing.assert_array_equal(a, b)
    model = case.network("none")
    flat = [
        model.feature_maps(x, ["flatten"])[0] for x in (case.draw.x, 3 * case.draw.x, case.draw.x[::-1] * 2)
    ]
    np.testing.assert_allclose(flat[1], 3 * flat[0], rtol=1e-4, atol=1e-5)
    both = model.feature_maps(case.draw.x + 2 * case.draw.x[::-1], ["flatten"])[0]
    np.testing.assert_allclose(both, flat[0] + flat[2], rtol=1e-4, atol=1e-5)


def test_poolings_start_from_the_same_kernels_and_end_in_maps_of_their_size(stripes, tiny):
    case = Case(Pooling(), stripes, tiny)
    sizes = {}
    for name in case.names:
        model = case.network(name)
        for layer in ("conv1", "conv2"):
            first = case.network("max").get_layer(layer).get_weights()[0]
            np.testing.assert_array_equal(model.get_layer(layer).get_weights()[0], first)
        sizes[name] = model.get_layer("classifier").input.shape[1]
    assert sizes == {"max": 128, "average": 128, "strides": 128, "none": 2048, "global average": 32}


def test_augmentation_changes_training_alone(stripes, tiny):
    case = Case(Augmentation(), stripes, tiny)
    plain = case.network("none")
    for name in case.names:
        model = case.network(name)
        for ours, theirs in zip(model.get_weights(), plain.get_weights()):
            np.testing.assert_array_equal(ours, theirs)
        x = case.draw.x[:4]
        np.testing.assert_array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))
        changes = [layer for layer in model.layers if type(layer).__name__.startswith("Random")]
        changed = x if not changes else changes[0](x, training=True)
        assert np.array_equal(changed, x) == (name == "none")


def test_untied_and_dense_start_as_the_convolution(stripes, tiny):
    case = Case(Sharing(), stripes, tiny)
    outputs = {name: case.network(name).predict(case.draw.x, verbose=0) for name in case.names}
    kept = outputs["convolution"]
    for name in ("untied, started tied", "dense, started as convolution"):
        np.testing.assert_allclose(outputs[name], kept, rtol=1e-4, atol=1e-6)
    for name in ("untied", "dense"):
        assert np.abs(outputs[name] - kept).max() > 0.01


def test_the_layers_of_sharing_have_the_size_they_should(stripes, tiny):
    case = Case(Sharing(), stripes, tiny)
    counts = {name: case.network(name).get_layer("layer").count_params() for name in case.names}
    positions, filters = 64, 8
    assert counts["convolution"] == 9 * filters + filters
    assert counts["untied"] == counts["untied, started tied"] == positions * counts["convolution"]
    assert counts["dense"] == 64 * positions * filters + positions * filters
    shapes = {case.network(name).get_layer("relu").output.shape for name in case.names}
    assert shapes == {(None, 8, 8, 8)}


def test_a_dense_layer_that_would_be_too_large_is_left_out_and_said():
    large = Problem("photos", _Shaped((64, 64, 3)), None, 10)
    assert dense_weights((64, 64, 3)) == 64 * 64 * 3 * 64 * 64 * 8
    assert list(Sharing().conditions(large)) == ["convolution", "untied, started tied", "untied"]
    assert any("402,653,184 weights" in note for note in Sharing().notes(large))
    small = Problem("small", _Shaped((28, 28, 1)), None, 10)
    assert len(Sharing().conditions(small)) == 5 and len(Sharing().notes(small)) == 1


class _Shaped:
    """Stands for a data set of which only the shape is asked."""

    def __init__(self, shape):
        self.x_shape = shape


def test_shifted_images_are_moved_by_the_stated_pixels(stripes, tiny):
    draw = Sharing().draw(stripes, 0, tiny)
    seen = []

    class Spy:
        def predict(self, x, **options):
            seen.append(x)
            return np.eye(6)[draw.y_test]

    assert shifted_accuracy(Spy(), draw) == 1.0 and shift_of((8, 8, 1)) == 1
    down, up, right, left = seen
    np.testing.assert_array_equal(down[:, 1:], draw.x_test[:, :-1])
    np.testing.assert_array_equal(up[:, :-1], draw.x_test[:, 1:])
    np.testing.assert_array_equal(right[:, :, 1:], draw.x_test[:, :, :-1])
    np.testing.assert_array_equal(left[:, :, :-1], draw.x_test[:, :, 1:])


def test_transfer_divides_the_classes_and_the_images(stripes, tiny):
    draw = Transfer(per_class=4).draw(stripes, 0, tiny)
    assert (draw.classes, draw.other_classes) == (3, 3)
    assert np.bincount(draw.y).tolist() == [4, 4, 4]
    assert set(draw.other_y) == {0, 1, 2} and len(draw.other_x) <= tiny.images
    sets = [{image.tobytes() for image in images} for images in (draw.x, draw.x_test, draw.other_x)]
    assert not (sets[0] & sets[1]) and not (sets[0] & sets[2]) and not (sets[1] & sets[2])
    orders = {tuple(Transfer().draw(stripes, seed, tiny).y_test[:20]) for seed in range(3)}
    assert len(orders) > 1


def test_transfer_takes_kernels_and_starts_all_classifiers_equal(stripes, tiny):
    case = Case(Transfer(per_class=4, new_epochs=2), stripes, tiny)
    heads = [case.network(name).get_weights()[-2] for name in case.names]
    for head in heads[1:]:
        np.testing.assert_array_equal(heads[0], head)
    for name in case.names:
        model = case.network(name)
        is_taken = np.array_equal(model.get_weights()[0], case.prepared.get_weights()[0])
        assert is_taken == name.startswith("pretrained")
    frozen = [
        layer.name for layer in case.network("pretrained, first layer frozen").layers if not layer.trainable
    ]
    assert frozen == ["conv1"]


def test_transfer_says_what_it_needs(stripes, tiny):
    with pytest.raises(DataError, match="Ask for fewer"):
        Transfer(per_class=100).draw(stripes, 0, tiny)
    with pytest.raises(DataError, match="at least 4"):
        Transfer().draw(Problem("two", stripes.train, None, 2), 0, tiny)
    with pytest.raises(ArgumentError, match="per_class"):
        Transfer(per_class=0)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_networks_of_equal_weights(shape):
    experiment = Depth()
    target = count_weights(shape, 10, 2, 16)
    for depth in experiment.depths:
        width = experiment.filters(depth, shape, 10)
        distances = [abs(count_weights(shape, 10, depth, w) - target) for w in range(1, 200)]
        assert distances[width - 1] == min(distances)
        assert distances[width - 1] < 0.15 * target


def test_depth_counts_what_it_builds(stripes, tiny):
    case = Case(Depth(depths=(1, 3, 4), width=4), stripes, tiny)
    assert case.names == ["1 convolution", "3 convolutions", "4 convolutions"]
    for name, depth in zip(case.names, (1, 3, 4)):
        model = case.network(name)
        convolutions = [layer for layer in model.layers if layer.name.startswith("conv")]
        assert len(convolutions) == depth == sum(blocks_of(depth))
        assert model.count_params() == count_weights((8, 8, 1), 6, depth, convolutions[0].filters)
    assert Depth(match="width").filters(6, (8, 8, 1), 6) == 16


def test_the_field_of_view_is_the_support_of_the_output():
    """Changing a pixel changes the middle output of a linear stack exactly within the stated square."""
    from kernelearn import ops

    for depth in (1, 2, 3, 4):
        x = np.zeros((1, 64, 64, 1))
        reach = np.zeros(64, bool)
        for row in range(64):
            probe = x.copy()
            probe[0, row, 32, 0] = 1.0
            y = probe
            for count in blocks_of(depth):
                for _ in range(count):
                    y = ops.conv(y, np.ones((3, 3, 1, 1)), padding="same")
                y = y.reshape(1, y.shape[1] // 2, 2, y.shape[2] // 2, 2, 1).max(axis=(2, 4))
            reach[row] = y[0, 8, 8, 0] != 0
        assert reach.sum() == field_of_view(depth)


def test_depth_says_what_it_needs():
    with pytest.raises(ArgumentError, match="two different"):
        Depth(depths=(2, 2))
    with pytest.raises(ArgumentError, match="match must be"):
        Depth(match="flops")
    with pytest.raises(ArgumentError, match=r"depths\[1\]"):
        Depth(depths=(1, 0))


def test_settings_say_what_they_need():
    with pytest.raises(ArgumentError, match="epochs must be a whole number of at least 1, got 0"):
        ExperimentSettings(epochs=0)
    with pytest.raises(ArgumentError, match="seeds"):
        ExperimentSettings(seeds=2.5)
    with pytest.raises(ArgumentError, match="learning_rate"):
        ExperimentSettings(learning_rate=0.0)


def test_different_filters_counts():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 2, 5))
    assert different_filters(kernel) == 5
    kernel[..., 3] = kernel[..., 0] + 1e-7
    assert different_filters(kernel) == 4
    assert different_filters(np.zeros((3, 3, 1, 4))) == 1
