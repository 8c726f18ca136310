"""The exported predictor: equal to the engine, alone in the world, refused by name, whole or not there."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, ops, utils
from kernelearn.conversion.standalone import export_standalone
from kernelearn.conversion.standalone.sources import Collected
from kernelearn.engine.operators import OPERATORS
from kernelearn.errors import ArgumentError, NotBuiltError
from kernelearn.layers.core.own import is_own
from kernelearn.models import zoo
from tests.layers.examples import EXAMPLES
from tests.sweeps import some

RNG = np.random.default_rng(0)


def predictor(folder):
    """The `predict` of an exported folder, loaded in this process."""
    spec = importlib.util.spec_from_file_location("predict", folder / "predict.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.predict


def listed(result):
    return (
        list(result.values())
        if isinstance(result, dict)
        else result
        if isinstance(result, list)
        else [result]
    )


def check_equal(model, folder, inputs, **options):
    export_standalone(model, folder, **options)
    found, expected = (
        listed(call(inputs)) for call in (predictor(folder), lambda x: model.predict(x, verbose=0))
    )
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        b = np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        scale = max(1.0, np.abs(b.astype("float64")).max())
        np.testing.assert_allclose(a.astype("float64"), b.astype("float64"), rtol=1e-4, atol=2e-5 * scale)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_layer(example, tmp_path):
    layer = example.make()
    if example.name in ("MultiHeadAttention", "GroupQueryAttention"):
        tensors = [Input(shape) for shape in example.shapes]
        query, value = tensors[0], tensors[1] if len(tensors) > 1 else tensors[0]
        model = Model(tensors, layer(query, value))
    else:
        dtype = "int64" if example.vocabulary else None
        tensors = [Input(shape, dtype=dtype) for shape in example.shapes]
        model = Model(tensors, layer(tensors if len(tensors) > 1 else tensors[0]))
    for weight in model.weights:  # not the zeros and ones that they begin with
        if weight.dtype.startswith("float"):
            weight.assign(RNG.uniform(0.1, 1.0, weight.shape))
    inputs = example.inputs()
    check_equal(model, tmp_path, inputs if len(inputs) > 1 else inputs[0])


@pytest.mark.parametrize("name", some(zoo.MODELS, quick=("lenet", "resnet20")))
def test_the_zoo(name, tmp_path):
    utils.set_random_seed(1)
    model = zoo.get(name)((32, 32, 3), 7)
    check_equal(model, tmp_path, RNG.random((2, 32, 32, 3), "float32"))


def random_layer(rng):
    """A layer of random kind and geometry; a branch and its joining are one, too."""
    padding = str(rng.choice(["same", "valid"]))
    kernel, stride = (int(k) for k in (rng.integers(1, 4), rng.integers(1, 3)))
    activation = str(rng.choice(["relu", "elu", "gelu", "tanh", "hard_sigmoid", "mish", "softplus"]))
    makers = {
        "conv": lambda: layers.Conv2D(6, kernel, strides=stride, padding=padding, activation=activation),
        "depthwise": lambda: layers.DepthwiseConv2D(kernel, padding=padding, depth_multiplier=2),
        "separable": lambda: layers.SeparableConv2D(6, kernel, padding=padding, activation=activation),
        "pool": lambda: layers.MaxPooling2D(2, stride, padding=padding),
        "average": lambda: layers.AveragePooling2D(2, stride, padding=padding),
        "norm": lambda: layers.BatchNormalization(),
        "branch": lambda: lambda t: layers.Concatenate()([t, layers.Conv2D(3, 3, padding="same")(t)]),
        "up": lambda: layers.Conv2DTranspose(4, kernel, strides=stride, padding=padding),
    }
    return makers[str(rng.choice(list(makers)))]()


def random_network(rng):
    """Convolutions, poolings, normalisations and branches."""
    size, channels = int(rng.integers(9, 14)), int(rng.integers(1, 4))
    x = tensor = Input((size, size, channels))
    for _ in range(int(rng.integers(2, 5))):
        tensor = random_layer(rng)(tensor) if min(tensor.shape[1:3]) >= 5 else tensor
    answer = layers.Dense(5, activation="softmax")(layers.Flatten()(tensor))
    return Model(x, [answer, layers.GlobalMaxPooling2D()(tensor)])


@pytest.mark.parametrize("seed", some(range(12), quick=5))
def test_random_networks(seed, tmp_path):
    rng = np.random.default_rng(seed)
    model = random_network(rng)
    check_equal(model, tmp_path, rng.normal(size=(3, *model.input_shape[1:])).astype("float32"))


def test_forms_of_inputs_and_outputs(tmp_path):
    a, b = Input((3,), name="a"), Input((2,), name="b")
    model = Model({"a": a, "b": b}, {"sum": layers.Dense(2)(layers.Concatenate()([a, b])), "same": a})
    given = {"a": RNG.random((70, 3), "float32"), "b": RNG.random((70, 2), "float32")}
    check_equal(model, tmp_path, given)
    found = predictor(tmp_path)(given)
    assert list(found) == ["sum", "same"]
    with pytest.raises(ValueError, match="2 inputs"):
        predictor(tmp_path)([given["a"]])
    with pytest.raises(ValueError, match=r"\(n, \*\(3,\)\)"):
        predictor(tmp_path)([given["b"], given["b"]])


def test_a_network_of_any_size_is_exported_for_one(tmp_path):
    model = Sequential([Input((None, None, 1)), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()])
    with pytest.raises(NotBuiltError, match="input_shape"):
        export_standalone(model, tmp_path / "none")
    check_equal(model, tmp_path, RNG.random((2, 9, 7, 1), "float32"), input_shape=(9, 7, 1))
    assert not (tmp_path / "none").exists()


def test_products_in_bfloat16(tmp_path):
    model = Sequential([Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
    model.compile("sgd", "mse", policy="mixed_bfloat16")
    check_equal(model, tmp_path, RNG.random((2, 8, 8, 1), "float32"))


def test_code_of_ones_own_is_traced_and_exported(tmp_path):
    class Own(layers.Layer):
        def call(self, x):
            return ops.exp(-(x**2)) + ops.sort(x, axis=-1)

    assert is_own(Own)
    check_equal(Sequential([Input((5,)), Own()]), tmp_path, RNG.normal(size=(3, 5)).astype("float32"))


def test_what_has_no_formula_is_refused_by_name_and_nothing_is_written(tmp_path):
    from kernelearn import random

    class Noisy(layers.Layer):
        def call(self, x):
            return x + random.normal((3,))

    for model in (
        Sequential([Input((3,)), Noisy(name="noisy")]),
        Model(x := Input((3,)), layers.Dropout(0.5, name="noisy")(x, training=True)),
    ):
        with pytest.raises(
            ArgumentError, match=r"of layer 'noisy' \(it draws random numbers.*Nothing was written"
        ):
            export_standalone(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(NotBuiltError, match="no shapes yet"):
        export_standalone(Sequential([layers.Dense(2)]), tmp_path / "out")


def test_code_for_one_number_of_images_is_refused(tmp_path):
    class Counting(layers.Layer):
        def call(self, x):
            return ops.reshape(x, (x.shape[0] * 3,))[:, None]

    model = Sequential([Input((3,)), Counting(name="counting")])
    with pytest.raises(ArgumentError, match="one number of images"):
        export_standalone(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_operator_of_a_prediction_has_its_text():
    """Those without are updates of weights, which no prediction has."""
    left = []
    for name, operator in OPERATORS.items():
        try:
            Collected().add(operator.function)
        except ArgumentError:
            left.append(name)
    assert all(name.endswith("_update") or name in ("assign", "global_norm") for name in left)


def test_an_export_is_not_replaced_unasked_and_other_files_stay(tmp_path):
    model = Sequential([Input((3,)), layers.Dense(2)])
    (tmp_path / "notes.txt").write_text("mine")
    export_standalone(model, tmp_path, overwrite=False)
    with pytest.raises(ArgumentError, match=r"holds predict\.py already"):
        export_standalone(model, tmp_path, overwrite=False)
    export_standalone(model, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt", "predict.py", "weights.npz"]


def test_names_of_a_users_own_are_text_and_never_code(tmp_path):
    evil = 'x"""\nraise SystemExit("run")\n#'
    x = Input((3,), name="import os")
    y = layers.Dense(2, name="lambda")(layers.Dense(2, name="np")(layers.Dense(2, name="dense")(x)))
    model = Model(x, layers.Dense(2, name="print")(y), name=evil)
    model.metadata["class_names"] = [evil, "b\\"]
    check_equal(model, tmp_path, RNG.random((2, 3), "float32"))
    assert (tmp_path / "predict.py").read_text().isascii()


def test_a_weight_may_be_called_like_an_argument_of_numpy(tmp_path):
    class Own(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight("file", shape[1:], "ones")

        def call(self, x):
            return x * self.w

    class Whole(Model):
        def __init__(self):
            super().__init__()
            self.file = Own(name="file")

        def call(self, x):
            return self.file(x)

    model = Whole()
    model.build((None, 3))
    check_equal(model, tmp_path, RNG.random((2, 3), "float32"))


# --- alone in the world

ALONE = """
import sys
class Wall:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "predict"):
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Wall())
sys.path.insert(0, sys.argv.pop(1))
import predict
sys.exit(predict.main(predict.predict, predict.INPUTS[0][1], predict.CLASS_NAMES, sys.argv[1:]))
"""


def alone(folder, *words):
    """predict.py in a process that finds NumPy and nothing else."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", ALONE, str(folder), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    utils.set_random_seed(2)
    model = zoo.get("lenet")((12, 10, 3), 3)
    model.metadata["class_names"] = ["cat", "dog", "owl"]
    export_standalone(model, folder)
    return model, folder


def test_arrays_without_anything_but_numpy(exported, tmp_path):
    model, folder = exported
    x = RNG.random((4, 12, 10, 3), "float32")
    np.save(tmp_path / "x.npy", x)
    done = alone(folder, tmp_path / "x.npy", "--json", "--out", tmp_path / "y.npy", "--top", "3")
    assert done.returncode == 0, done.stderr
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-5)
    names = model.metadata["class_names"]
    assert [one["answer"][0][0] for one in json.loads(done.stdout)] == [names[i] for i in expected.argmax(1)]


def test_a_picture_without_pillow_is_what_the_library_reads(exported, tmp_path):
    image = pytest.importorskip("PIL.Image")
    from kernelearn.data import load_image

    model, folder = exported
    pixels = RNG.integers(0, 256, (12, 10, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "a.png")
    done = alone(folder, tmp_path / "a.png", "--out", tmp_path / "y.npy")
    assert done.returncode == 0, done.stderr
    assert "%" in done.stdout
    expected = model.predict(load_image(tmp_path / "a.png", (12, 10, 3))[None], verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-5)


def test_errors_are_one_line(exported, tmp_path):
    _, folder = exported
    np.save(tmp_path / "wrong.npy", np.zeros((2, 5, 5, 3)))
    (tmp_path / "text.png").write_text("no picture")
    for name in ("wrong.npy", "text.png", "missing.png"):
        done = alone(folder, tmp_path / name)
        assert done.returncode == 1 and done.stderr.startswith("Error: ") and "Traceback" not in done.stderr


def test_a_model_exports_itself(tmp_path):
    model = Sequential([layers.Dense(2, activation="softmax", input_shape=(3,))])
    model.export(tmp_path / "a", format="standalone", class_names=["cat", "dog"])
    export_standalone(model, tmp_path / "b", class_names=["cat", "dog"])
    for name in ("predict.py", "weights.npz"):
        assert (tmp_path / "a" / name).exists()
    assert (tmp_path / "a" / "predict.py").read_text() == (tmp_path / "b" / "predict.py").read_text()
    with pytest.raises(ArgumentError, match="overwrite=True"):
        model.export(tmp_path / "a", format="standalone", overwrite=False)
    with pytest.raises(ArgumentError, match="class_names, input_shape, overwrite; got 'opset'"):
        model.export(tmp_path / "c", format="standalone", opset=3)
    with pytest.raises(ArgumentError, match=r"'onnx' \(\.onnx\) or 'standalone' \(a folder\)"):
        model.export(tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.skipif(os.name == "nt", reason="limits of file sizes are those of POSIX")
@pytest.mark.parametrize("is_there", [False, True])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, is_there):
    import resource

    from kernelearn.errors import StorageError

    model = Sequential([Input((60,)), layers.Dense(60)])
    folder = tmp_path / "new" / "deployed"
    if is_there:
        export_standalone(model, folder)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="disk is full or a size limit"):
            export_standalone(Sequential([Input((60,)), layers.Dense(60)]), folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert folder.exists() == is_there
