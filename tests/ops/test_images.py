"""Functions of images: against SciPy and by hand, in programs on both engines, and their gradients."""

import numpy as np
import pytest
from scipy import ndimage

from kernelearn import Input, Model, ops
from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError, UnknownNameError
from kernelearn.tracing import BatchSizeNeeded, Traced, tracing

image = ops.image
X = np.random.default_rng(4).uniform(0.05, 0.95, (3, 6, 7, 3)).astype("float32")
PLACES = np.random.default_rng(5).uniform(-4, 10, (2, 5, 4)).astype("float32")
TURN = np.array([0.9, -0.3, 1.2, 0.25, 1.1, -0.7, 0, 0])
# Names of Keras -> those of SciPy that do not mix the border with what lies outside.
MODES = {
    "constant": "grid-constant",
    "nearest": "nearest",
    "wrap": "grid-wrap",
    "mirror": "mirror",
    "reflect": "reflect",
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [0, 1])
def test_places_are_read_as_by_scipy(mode, order):
    x = X[0, :, :, 0].astype("float64")
    found = image.map_coordinates(x, PLACES, order, mode, 0.5)
    expected = ndimage.map_coordinates(x, PLACES.astype("float64"), order=order, mode=MODES[mode], cval=0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_affine_transform(mode, interpolation):
    a, b = TURN[:3], TURN[3:6]
    matrix, offset = np.array([[b[1], b[0]], [a[1], a[0]]]), np.array([b[2], a[2]])
    expected = [
        ndimage.affine_transform(
            X[1, :, :, c].astype("float64"),
            matrix,
            offset,
            order=int(interpolation == "bilinear"),
            mode=MODES[mode],
        )
        for c in range(3)
    ]
    for maps in (TURN, np.stack([TURN] * 3)):
        found = image.affine_transform(X, maps, interpolation, mode)
        np.testing.assert_allclose(found[1], np.stack(expected, -1), atol=2e-6)
    first = image.affine_transform(
        X.transpose(0, 3, 1, 2), TURN, interpolation, mode, data_format="channels_first"
    )
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), found)


def test_a_perspective_takes_points_to_points():
    starts = np.array([[1.0, 1.0], [5.0, 1.0], [1.0, 4.0], [5.0, 4.0]])
    ends = np.array([[0.0, 0.0], [6.0, 1.0], [1.0, 5.0], [5.0, 4.0]])
    y = image.perspective_transform(X, starts, ends)
    for (u, v), (p, q) in zip(starts.astype(int), ends.astype(int)):
        np.testing.assert_allclose(y[:, q, p], X[:, v, u], rtol=1e-4)
    np.testing.assert_allclose(image.perspective_transform(X, starts, starts), X, atol=1e-5)


def test_colours():
    import colorsys

    hsv = image.rgb_to_hsv(X)
    expected = np.array([colorsys.rgb_to_hsv(*map(float, p)) for p in X.reshape(-1, 3)]).reshape(X.shape)
    np.testing.assert_allclose(hsv, expected, atol=2e-6)
    np.testing.assert_allclose(image.hsv_to_rgb(hsv), X, atol=2e-6)
    np.testing.assert_array_equal(image.rgb_to_hsv(np.full((1, 1, 3), 0.25)), [[[0, 0, 0.25]]])
    grey = image.rgb_to_grayscale(X)
    np.testing.assert_allclose(grey, (X @ [0.2989, 0.587, 0.114])[..., None], rtol=1e-6)
    np.testing.assert_array_equal(image.rgb_to_grayscale(grey), grey)
    assert image.rgb_to_grayscale(np.full((2, 2, 3), 200, "uint8")).dtype == np.uint8


def test_filters():
    blurred = image.gaussian_blur(X, (5, 3), (1.5, 0.7))
    across, down = (np.exp(-0.5 * (np.arange(-r, r + 1) / s) ** 2) for r, s in ((2, 1.5), (1, 0.7)))
    kernel = np.outer(down / down.sum(), across / across.sum())
    np.testing.assert_allclose(
        blurred[0, :, :, 1], ndimage.convolve(X[0, :, :, 1], kernel, mode="constant"), atol=1e-6
    )
    edges = image.sobel_edges(X)
    for axis in (0, 1):
        np.testing.assert_allclose(
            edges[2, :, :, 0, axis], ndimage.sobel(X[2, :, :, 0], axis, mode="constant"), atol=1e-5
        )
    shaken = image.elastic_transform(X, alpha=2.0, sigma=0.8, seed=3)
    np.testing.assert_array_equal(shaken, image.elastic_transform(X, alpha=2.0, sigma=0.8, seed=3))
    assert 0.01 < np.abs(shaken - X).mean() < 0.5
    np.testing.assert_allclose(image.elastic_transform(X, alpha=0.0), X, atol=1e-6)


def test_similarity():
    other = np.clip(X + 0.1 * np.random.default_rng(1).normal(size=X.shape), 0, 1).astype("float32")
    found = image.ssim(X, other, filter_size=5, filter_sigma=1.0)
    bell = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    kernel = np.outer(bell, bell) / bell.sum() ** 2

    def local(x):
        return ndimage.convolve(x, kernel)[2:-2, 2:-2]

    for n in range(len(X)):
        values = []
        for c in range(3):
            a, b = X[n, :, :, c].astype("float64"), other[n, :, :, c].astype("float64")
            ma, mb = local(a), local(b)
            va, vb, ab = local(a * a) - ma**2, local(b * b) - mb**2, local(a * b) - ma * mb
            values.append(
                (2 * ma * mb + 1e-4) * (2 * ab + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
            )
        np.testing.assert_allclose(found[n], np.mean(values), rtol=1e-4)
    np.testing.assert_allclose(image.ssim(X[0], X[0], filter_size=3), 1, rtol=1e-5)


def test_sizes():
    np.testing.assert_array_equal(image.crop_images(X, 1, 2, 2, 1), X[:, 1:4, 2:6])
    np.testing.assert_array_equal(
        image.crop_images(X[0], bottom_cropping=1, right_cropping=0, target_height=2, target_width=3),
        X[0, 3:5, 4:],
    )
    np.testing.assert_array_equal(
        image.pad_images(X, 1, 0, 2, 3), np.pad(X, ((0, 0), (1, 2), (0, 3), (0, 0)))
    )
    np.testing.assert_array_equal(
        image.pad_images(X[0], 1, 1, target_height=8, target_width=9), np.pad(X[0], ((1, 1), (1, 1), (0, 0)))
    )
    np.testing.assert_array_equal(image.resize(X, (3, 5)), ops.resize(X, (3, 5)))
    whole = image.resize(np.arange(12, dtype="uint8").reshape(3, 4, 1) * 20, (6, 8), "bicubic")
    assert (whole.dtype, whole.shape, int(whole.max())) == (np.uint8, (6, 8, 1), 229)
    np.testing.assert_allclose(
        image.resize(X, (4, 4), crop_to_aspect_ratio=True), ops.resize(X[:, :, :6], (4, 4)), rtol=1e-6
    )
    padded = image.resize(X[:, :3], (7, 7), "nearest", pad_to_aspect_ratio=True, fill_value=0.5)
    np.testing.assert_array_equal(padded[:, 2:5], X[:, :3])
    assert (padded[:, [0, 1, 5, 6]] == 0.5).all()


@pytest.mark.parametrize(
    ("size", "strides", "dilation", "padding"),
    [((2, 3), None, 1, "valid"), ((3, 2), (1, 2), 1, "same"), ((2, 2), 1, 2, "valid"), (4, 4, 1, "valid")],
)
def test_patches_are_windows(size, strides, dilation, padding):
    rows, columns = (size, size) if isinstance(size, int) else size
    eye = np.eye(rows * columns * 3, dtype="float32").reshape(rows, columns, 3, -1)
    expected = ops.conv(X, eye, strides=strides or (rows, columns), padding=padding, dilation_rate=dilation)
    np.testing.assert_array_equal(image.extract_patches(X, size, strides, dilation, padding), expected)
    np.testing.assert_array_equal(image.extract_patches(X[1], size, strides, dilation, padding), expected[1])


def test_patches_of_volumes():
    x = np.arange(64.0).reshape(1, 4, 4, 4, 1)
    patches = image.extract_patches_3d(x, 2)
    assert patches.shape == (1, 2, 2, 2, 8)
    np.testing.assert_array_equal(patches[0, 1, 0, 1], x[0, 2:, :2, 2:].ravel())


CALLS = {
    "resize": lambda x: image.resize(x, (4, 9), antialias=True),
    "crop_images": lambda x: image.crop_images(x, 1, 2, 2, 1),
    "pad_images": lambda x: image.pad_images(x, 1, 2, 2, 1),
    "extract_patches": lambda x: image.extract_patches(x, (2, 3), padding="same"),
    "overlapping": lambda x: image.extract_patches(x, 3, 2),
    "rgb_to_grayscale": image.rgb_to_grayscale,
    "rgb_to_hsv": image.rgb_to_hsv,
    "hsv_to_rgb": image.hsv_to_rgb,
    "gaussian_blur": lambda x: image.gaussian_blur(x, (5, 3), (1.5, 0.7)),
    "sobel_edges": image.sobel_edges,
    "warp": lambda x: image.affine_transform(x, TURN),
    "affine_transform": lambda x: image.affine_transform(x, TURN, fill_mode="mirror"),
    "perspective": lambda x: image.perspective_transform(
        x, [[0, 0], [6, 0], [0, 5], [6, 5]], [[1, 0], [6, 1], [0, 5], [5, 4]], fill_value=0.3
    ),
    "elastic": lambda x: image.elastic_transform(x, 2.0, 0.8, seed=3),
}


def test_in_programs_and_models():
    for engine in ("cpu", "reference"):
        graph = ProgramBuilder()
        x = Traced(graph, graph.input("x", (None, 6, 7, 3)))
        with tracing(graph):
            graph.outputs = {name: call(x).buffer.name for name, call in CALLS.items()}
        found = prepare(graph.build(), graph.variables, engine).run({"x": X})
        for name, call in CALLS.items():
            np.testing.assert_allclose(found[name], call(X), atol=3e-5, err_msg=f"{name} {engine}")
    x = Input((6, 7, 3))
    names = ("rgb_to_hsv", "gaussian_blur", "resize")
    for name, y in zip(names, Model(x, [CALLS[n](x) for n in names]).predict(X, verbose=0)):
        np.testing.assert_allclose(y, CALLS[name](X), atol=3e-6, err_msg=name)


@pytest.mark.parametrize("name", CALLS)
def test_gradients_are_differences(name):
    x = X.astype("float64")
    graph = ProgramBuilder(dtype="float64")
    buffer = graph.input("x", (None, 6, 7, 3))
    with tracing(graph):
        y = CALLS[name](Traced(graph, buffer))
        shape = (1, *CALLS[name](x).shape[1:])
        weights = np.random.default_rng(1).normal(size=shape)
        loss = ops.sum(y * weights)
    grads = add_gradients(graph, loss.buffer, (buffer,))
    graph.outputs = {"g": grads["x"].name}
    slope = prepare(graph.build(), graph.variables, "reference").run({"x": x})["g"]
    direction = np.random.default_rng(2).normal(size=x.shape)
    step = 1e-6
    change = (CALLS[name](x + step * direction) - CALLS[name](x - step * direction)) * weights
    np.testing.assert_allclose((slope * direction).sum(), change.sum() / (2 * step), rtol=2e-6)


def test_places_have_a_gradient():
    graph = ProgramBuilder(dtype="float64")
    buffer = graph.input("at", (2, 5, 4))
    with tracing(graph):
        loss = ops.sum(image.map_coordinates(X[0, :, :, 0], Traced(graph, buffer), 1, "reflect"))
    graph.outputs = {"g": add_gradients(graph, loss.buffer, (buffer,))["at"].name}
    at = PLACES.astype("float64")
    slope = prepare(graph.build(), graph.variables, "reference").run({"at": at})["g"]
    for place in ((0, 1, 2), (1, 4, 3)):
        step = np.zeros(at.shape)
        step[place] = 1e-6
        ends = [
            image.map_coordinates(X[0, :, :, 0].astype("float64"), at + s, 1, "reflect").sum()
            for s in (step, -step)
        ]
        np.testing.assert_allclose(slope[place], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def test_transforms_may_be_computed():
    graph = ProgramBuilder()
    with tracing(graph):
        x = Traced(graph, graph.input("x", (None, 6, 7, 3)))
        maps = Traced(graph, graph.input("maps", (None, 8)))
        graph.outputs = {"y": image.affine_transform(x, maps, fill_mode="nearest").buffer.name}
    maps = np.stack([TURN, 2 * TURN, -TURN])
    found = prepare(graph.build(), graph.variables, "cpu").run({"x": X, "maps": maps})["y"]
    np.testing.assert_allclose(found, image.affine_transform(X, maps, fill_mode="nearest"), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: image.resize(X, (2, 2), "cubic"), UnknownNameError, "interpolation"),
        (
            lambda: image.resize(X, (2, 2), crop_to_aspect_ratio=True, pad_to_aspect_ratio=True),
            ArgumentError,
            "one of",
        ),
        (lambda: image.crop_images(X, 1, 1), ArgumentError, "exactly two of top_cropping"),
        (
            lambda: image.pad_images(X, 1, 1, target_height=2, target_width=9),
            ArgumentError,
            "not be negative",
        ),
        (lambda: image.rgb_to_hsv(X[..., :2]), ShapeError, "three channels"),
        (lambda: image.rgb_to_hsv((X * 255).astype("uint8")), ArgumentError, "float images"),
        (lambda: image.affine_transform(X, TURN, fill_mode="edge"), UnknownNameError, "fill_mode"),
        (lambda: image.affine_transform(X, TURN[:6]), ShapeError, r"\(n, 8\)"),
        (lambda: image.map_coordinates(X[0], PLACES, 1), ShapeError, "one row for each axis"),
        (lambda: image.map_coordinates(X[0, 0], PLACES, 3), ArgumentError, "order must be 0"),
        (lambda: image.extract_patches(X, 9), ShapeError, "patch spanning"),
        (lambda: image.gaussian_blur(X[0, 0]), ShapeError, "one image"),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_no_number_of_images_is_needed():
    graph = ProgramBuilder()
    x = Traced(graph, graph.input("x", (None, 6, 7, 3)))
    for name, call in CALLS.items():
        try:
            assert call(x).shape[0] is None, name
        except BatchSizeNeeded:
            pytest.fail(f"{name} needs the number of images")
