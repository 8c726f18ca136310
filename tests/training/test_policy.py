"""The precision policy of a model: choosing it, what it computes, files, summaries, errors."""

import numpy as np
import pytest

import kernelearn
from kernelearn import Model, Sequential, config, layers, load_model, mixed_precision
from kernelearn.data import load
from kernelearn.engine.reference.precision import round_to_bfloat16
from kernelearn.errors import ArgumentError, UnknownNameError
from kernelearn.models import zoo
from tests.sweeps import some


@pytest.fixture(autouse=True)
def plain_afterwards():
    yield
    config.set_policy("float32")


def small_model(policy=None, engine=None):
    kernelearn.set_random_seed(3)
    model = Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(
        "sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], policy=policy, engine=engine
    )
    return model


def batch(n=12):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 8, 8, 1)).astype("float32"), rng.integers(0, 4, n)


def precisions(program):
    return {op.attrs.get("precision") for op in program.operations if op.operator in ("conv", "dense")}


def test_the_default_is_float32():
    model = small_model()
    assert model.policy == "float32"
    assert "precision" not in str(model.program("train"))


@pytest.mark.parametrize("kind", ["train", "test", "predict"])
def test_every_program_of_a_model_uses_the_policy(kind):
    assert precisions(small_model("mixed_bfloat16").program(kind)) == {"bfloat16"}


def test_the_process_has_a_default_that_compile_reads():
    mixed_precision.set_global_policy("mixed_bfloat16")
    assert config.policy() == mixed_precision.global_policy() == "mixed_bfloat16"
    model = small_model()
    config.set_policy("float32")
    assert model.policy == "mixed_bfloat16"
    assert precisions(model.program("predict")) == {"bfloat16"}
    assert small_model("float32").policy == "float32"


def test_weights_and_optimiser_state_stay_float32():
    model = small_model("mixed_bfloat16")
    model.train_on_batch(*batch())
    assert all(w.numpy().dtype == np.float32 for w in model.weights)
    kernel = model.get_weights()[0]
    assert not np.array_equal(kernel, round_to_bfloat16(kernel))


def test_a_prediction_rounds_the_operands_only():
    model = small_model("mixed_bfloat16", "reference")
    x, _ = batch()
    kernel, bias, matrix, last = model.get_weights()
    columns = np.lib.stride_tricks.sliding_window_view(x[..., 0], (3, 3), (1, 2))
    maps = np.einsum("nyxij,ijf->nyxf", round_to_bfloat16(columns), round_to_bfloat16(kernel[:, :, 0]))
    hidden = np.maximum(maps + bias, 0).reshape(len(x), -1)
    logits = round_to_bfloat16(hidden) @ round_to_bfloat16(matrix) + last
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=2e-3)


def test_unknown_policies():
    with pytest.raises(UnknownNameError, match=r"Unknown precision policy 'mixed_float16'.*mixed_bfloat16"):
        small_model("mixed_float16")
    with pytest.raises(UnknownNameError, match="Unknown precision policy 'bf16'"):
        config.set_policy("bf16")


def test_float64_models_are_refused():
    config.set_floatx("float64")
    try:
        with pytest.raises(ArgumentError, match=r"weights and sums in float32.*float64"):
            small_model("mixed_bfloat16").program("train")
    finally:
        config.set_floatx("float32")


def test_files_keep_the_policy(tmp_path):
    model = small_model("mixed_bfloat16")
    model.train_on_batch(*batch())
    model.save(tmp_path / "m.kernelearn")
    again = load_model(tmp_path / "m.kernelearn")
    assert again.policy == "mixed_bfloat16"
    np.testing.assert_array_equal(model.predict(batch()[0], verbose=0), again.predict(batch()[0], verbose=0))
    for a in (model, again):
        a.train_on_batch(*batch())
    for a, b in zip(model.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_the_summary_names_a_mixed_policy_only():
    assert "Policy" not in summary_of(small_model())
    mixed = small_model("mixed_bfloat16")
    assert "Policy: mixed_bfloat16" in summary_of(mixed)
    assert "Policy: mixed_bfloat16" in mixed._repr_html_()


def summary_of(model):
    texts = []
    model.summary(print_fn=texts.append)
    return "\n".join(texts)


def normalised(x):
    """A 3x3 convolution and batch normalisation, with averages that are quick to follow."""
    return layers.BatchNormalization(momentum=0.8)(layers.Conv2D(16, 3, padding="same", use_bias=False)(x))


def small_resnet():
    x = layers.Input((8, 8, 1))
    y = layers.ReLU()(normalised(x))
    z = normalised(layers.ReLU()(normalised(y)))
    y = layers.MaxPooling2D(2)(layers.ReLU()(layers.Add()([y, z])))
    return Model(x, layers.Dense(10, activation="softmax")(layers.Flatten()(y)))


NETWORKS = {"lenet": lambda: zoo.lenet((8, 8, 1), 10), "resnet": small_resnet}


@pytest.mark.parametrize("name", some(NETWORKS, quick=["resnet"]))
def test_training_reaches_the_accuracy_of_float32(name):
    digits = load("digits")
    (x, y), (tx, ty) = digits.train.arrays()[:2], digits.test.arrays()[:2]
    scores = {}
    for policy in config.POLICIES:
        kernelearn.set_random_seed(1)
        model = NETWORKS[name]()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], policy=policy)
        model.fit(x, y, batch_size=32, epochs=6, verbose=0, seed=1)
        scores[policy] = model.evaluate(tx, ty, return_dict=True, verbose=0)["accuracy"]
    assert scores["float32"] > 0.93
    assert abs(scores["float32"] - scores["mixed_bfloat16"]) < 0.03
