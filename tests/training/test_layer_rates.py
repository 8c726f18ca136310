"""Layers at rates of their own: which a name means, what an update makes of it, and that it is kept."""

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Model, Sequential, layers, optimizers, utils
from kernelearn.callbacks import BackupAndRestore
from kernelearn.errors import ArgumentError, NotBuiltError, UnknownNameError
from kernelearn.explain.update.linear_steps import replay
from tests.rounding import assert_same_but_for_rounding

RNG = np.random.default_rng(0)
X, Y = RNG.random((24, 8, 8, 1), "float32"), RNG.integers(0, 3, 24)
LOSS = "sparse_categorical_crossentropy"


def network(**first):
    utils.set_random_seed(3)
    return Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="conv1", **first),
            layers.Conv2D(4, 3, activation="relu", name="conv2"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    )


def factors(model):
    return {layer.name: layer.learning_rate_multiplier for layer in model.flat_layers()}


def moved(model, **options):
    """How far each weight moves in one step of SGD at rate 0.1."""
    model.compile(optimizers.SGD(0.1), LOSS, **options)
    before = {name: w.numpy() for name, w in model.weight_paths().items()}
    model.train_on_batch(X, Y)
    return {name: w.numpy() - before[name] for name, w in model.weight_paths().items()}


def test_names_patterns_and_paths():
    base = Sequential(
        [Input((8, 8, 1)), layers.Conv2D(2, 3, name="a"), layers.Conv2D(2, 3, name="b")], name="base"
    )
    x = Input((8, 8, 1))
    model = Model(x, layers.Dense(3, name="head")(layers.Flatten()(base(x))))
    model.compile("sgd", LOSS, learning_rate_multipliers={"base": 0.1, "base/b": 0.5, "h*": 2})
    found = factors(model)
    assert (found["a"], found["b"], found["head"]) == (0.1, 0.5, 2.0)
    model.compile("sgd", LOSS)
    assert factors(model) == found, "nothing is said, nothing changes"


def test_one_number_slows_each_layer_below_the_head():
    model = network()
    model.compile("sgd", LOSS, learning_rate_multipliers=0.5)
    assert factors(model) == {
        "conv1": 0.25,
        "conv2": 0.5,
        "flat": 1.0,
        "head": 1.0,
        **{name: 1.0 for name in factors(model) if name.startswith("input")},
    }


@pytest.mark.parametrize(
    "wrong", [{"conv1": -1}, {"conv1": "0.1"}, {"conv1": True}, {"conv1": float("nan")}, -0.5]
)
def test_what_is_no_factor_is_refused_and_changes_nothing(wrong):
    model = network()
    with pytest.raises(ArgumentError, match="at least 0"):
        model.compile("sgd", LOSS, learning_rate_multipliers=wrong)
    assert set(factors(model).values()) == {1.0} and not model.compiled


def test_a_wrong_optimizer_changes_no_factor():
    model = network()
    with pytest.raises(UnknownNameError, match="sgdd"):
        model.compile("sgdd", LOSS, learning_rate_multipliers={"conv1": 0.5})
    assert set(factors(model).values()) == {1.0}


def test_a_name_without_a_layer_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'conv1'"):
        network().compile("sgd", LOSS, learning_rate_multipliers={"head": 0.5, "conv_1": 0.1})
    with pytest.raises(NotBuiltError, match="input shape"):
        Sequential([layers.Dense(3)]).compile("sgd", LOSS, learning_rate_multipliers=0.5)
    with pytest.raises(ArgumentError, match="at least 0"):
        layers.Dense(3, learning_rate_multiplier=-1)


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_an_update_is_the_factor_times_the_plain_one(engine):
    plain = moved(network(), engine=engine)
    slowed = moved(network(), engine=engine, learning_rate_multipliers={"conv*": 0.1})
    for name, step in plain.items():
        factor = 0.1 if name.startswith("conv") else 1.0
        assert_same_but_for_rounding(slowed[name], factor * step, 4, np.abs(step).max() + 1)


@pytest.mark.parametrize("rule", ["sgd", "adam", "rmsprop", "lion", "adamw"])
def test_both_engines_agree(rule):
    def trained(engine):
        model = network()
        model.compile(rule, LOSS, engine=engine, learning_rate_multipliers={"conv1": 0.1, "head": 3.0})
        for _ in range(3):
            model.train_on_batch(X, Y)
        return model.get_weights()

    for a, b in zip(trained("cpu"), trained("reference")):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


def test_zero_costs_no_gradient_and_moves_nothing():
    model = network()
    steps = moved(model, learning_rate_multipliers={"conv1": 0})
    assert not steps["conv1/kernel"].any() and steps["conv2/kernel"].any()
    operations = model.program("train").operations
    assert {op.layer for op in operations if op.phase == "update"} == {"conv2", "head"}
    assert "conv1" not in {op.layer for op in operations if op.phase == "backward"}
    assert "conv_grad_input" not in {op.operator for op in operations}, "nothing below conv2 learns"


def test_zero_in_a_step_of_ones_own():
    class Own(Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers.Dense(4, name="a"), layers.Dense(1, name="b")

        def call(self, x):
            return self.b(self.a(x))

        def train_step(self, data):
            x, y = data
            loss = kernelearn.ops.mean((self(x, training=True) - y) ** 2)
            kernelearn.minimize(loss, self.optimizer, self.trainable_weights)
            return {"loss": loss}

    model = Own()
    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    model.build((None, 3))
    model.compile("sgd", learning_rate_multipliers={"a": 0})
    before = [w.numpy() for w in model.a.weights + model.b.weights]
    model.fit(x, y, verbose=0)
    after = [w.numpy() for w in model.a.weights + model.b.weights]
    assert [np.array_equal(a, b) for a, b in zip(before, after)] == [True, True, False, False]


def test_factors_are_saved_and_resumed(tmp_path):
    model = network()
    model.compile("adam", LOSS, learning_rate_multipliers={"conv*": 0.1})
    model.save(tmp_path / "m.kernelearn")
    assert factors(kernelearn.load_model(tmp_path / "m.kernelearn"))["conv2"] == 0.1

    def fit(epochs, place=None, **rates):
        made = network()
        made.compile("adam", LOSS, learning_rate_multipliers=rates or {"conv*": 0.1})
        backup = [BackupAndRestore(place, delete_checkpoint=False)] if place else []
        made.fit(X, Y, 8, epochs=epochs, verbose=0, seed=1, callbacks=backup)
        return made.get_weights()

    whole = fit(4)
    fit(2, tmp_path / "b")
    assert all(np.array_equal(a, b) for a, b in zip(whole, fit(4, tmp_path / "b")))
    with pytest.raises(ArgumentError, match="the network"):
        fit(6, tmp_path / "b", conv1=0.5)


def test_a_recorded_update_says_the_factor(tmp_path):
    from kernelearn import explain
    from kernelearn.recording import Recorder, Run

    model = network()
    model.compile(optimizers.SGD(0.1, momentum=0.9), LOSS, learning_rate_multipliers={"conv1": 0.25})
    recorder = Recorder(tmp_path / "r", ledger_every=1, full_layers=["conv1", "head"])
    model.fit(X, Y, 8, epochs=1, verbose=0, callbacks=[recorder])
    run = Run(tmp_path / "r")
    split = explain.update_split(run, "conv1", 2)
    assert split.multiplier == 0.25 and split.is_exact
    assert "at 0.25 times the learning rate" in str(split)
    assert explain.update_split(run, "conv1").multiplier == 0.25
    assert explain.update_split(run, "head", 2).multiplier == 1.0
    done = replay(
        np.ones(2),
        np.ones(2),
        {"momentum": np.zeros(2)},
        "sgd_update",
        {"momentum": 0.9, "multiplier": 0.25},
        0.1,
        1,
    )
    np.testing.assert_allclose(done.weight, 1 - 0.025)
