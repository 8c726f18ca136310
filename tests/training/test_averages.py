"""Accumulated gradients, averages of weights, special optimizers: numbers of live Keras 3.15 on jax."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, config, layers, optimizers
from kernelearn.callbacks import BackupAndRestore, EarlyStopping, LambdaCallback, SwapEMAWeights
from kernelearn.errors import ArgumentError
from tests.explain.training_runs import small_network, train

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 3)).astype("float32"), RNG.normal(size=(24, 2)).astype("float32")
START = [np.arange(6, dtype="float32").reshape(3, 2) / 6, np.float32([0.1, -0.2])]


def model_with(optimizer, engine=None, **dense):
    model = Sequential([Input((3,)), layers.Dense(2, name="d", **dense)])
    model.set_weights(START)
    model.compile(optimizer, "mse", **({"engine": engine} if engine else {}))
    return model


def fit(model, epochs=3, batch_size=4, **options):
    return model.fit(X, Y, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0, **options)


KERAS = [
    (
        optimizers.SGD,
        {"momentum": 0.5, "gradient_accumulation_steps": 4},
        [-0.007339, 0.06371, 0.287148, 0.418035, 0.548397, 0.642379, 0.015869, -0.156535],
    ),
    (
        optimizers.Adam,
        {"gradient_accumulation_steps": 3, "global_clipnorm": 0.5, "weight_decay": 0.1},
        [-0.059576, -0.056941, 0.12978, 0.232147, 0.557495, 0.517652, -0.018093, -0.027048],
    ),
    (
        optimizers.Nadam,
        {"gradient_accumulation_steps": 3},
        [0.013965, -0.018121, 0.234627, 0.29997, 0.584928, 0.610764, 0.015945, -0.144645],
    ),
    (
        optimizers.SGD,
        {"use_ema": True, "ema_momentum": 0.8},
        [0.008328, -0.001852, 0.246223, 0.340123, 0.451224, 0.466497, -0.039374, -0.103368],
    ),
    (
        optimizers.Adam,
        {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 4},
        [-0.005848, 0.030211, 0.2144, 0.438156, 0.643775, 0.672382, 0.076955, -0.10852],
    ),
    (
        optimizers.SGD,
        {
            "learning_rate": 0.1,
            "use_ema": True,
            "ema_momentum": 0.7,
            "ema_overwrite_frequency": 2,
            "gradient_accumulation_steps": 2,
        },
        [-0.004134, 0.038819, 0.267184, 0.404213, 0.544311, 0.623675, 0.021253, -0.131093],
    ),
    (
        optimizers.Ftrl,
        {
            "learning_rate": 0.5,
            "l1_regularization_strength": 0.05,
            "l2_regularization_strength": 0.01,
            "l2_shrinkage_regularization_strength": 0.02,
            "beta": 0.1,
            "weight_decay": 0.01,
        },
        [0.053497, -0.092582, 0.273913, 0.0, 0.136222, -0.213392, -0.069621, 0.194542],
    ),
    (
        optimizers.Ftrl,
        {"learning_rate": 0.3, "learning_rate_power": -0.7},
        [0.041862, -0.056341, 0.200355, 0.025338, 0.291154, -0.055314, -0.163255, 0.14736],
    ),
    (
        optimizers.Lamb,
        {"weight_decay": 0.1},
        [0.005419, -0.115796, 0.109075, 0.13727, 0.376251, 0.358569, 0.004587, -0.112685],
    ),
    (
        optimizers.Adafactor,
        {},
        [-0.020622, 0.029478, 0.241444, 0.321916, 0.557537, 0.616488, 0.059438, -0.1594],
    ),
    (
        optimizers.Adafactor,
        {"learning_rate": 0.5, "weight_decay": 0.1, "clip_threshold": 0.5, "beta_2_decay": -0.5},
        [-0.016241, 0.023649, 0.095427, 0.062754, 0.211446, 0.097278, 0.016002, -0.015906],
    ),
    (
        optimizers.Muon,
        {},
        [0.092553, 0.019051, 0.277772, 0.4273, 0.549844, 0.673332, -0.161337, -0.031998],
    ),
    (
        optimizers.Muon,
        {
            "nesterov": False,
            "rms_rate": None,
            "adam_lr_ratio": 2.0,
            "weight_decay": 0.1,
            "adam_weight_decay": 0.2,
        },
        [0.1359, -0.142447, 0.251712, 0.222422, 0.304448, 0.310752, -0.276524, 0.012112],
    ),
    (
        optimizers.ScheduleFreeAdamW,
        {"warmup_steps": 4, "weight_decay": 0.1},
        [-0.006046, -0.04942, 0.219091, 0.192469, 0.446737, 0.530778, -0.094654, -0.108871],
    ),
    (
        optimizers.ScheduleFreeAdamW,
        {"beta_1": 0.7},
        [-0.014596, -0.065552, 0.211425, 0.174235, 0.454672, 0.467338, -0.110567, -0.054014],
    ),
]


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize(("make", "arguments", "expected"), KERAS)
def test_a_training_ends_where_that_of_keras_does(make, arguments, expected, engine):
    options = {"kernel_constraint": "non_neg"} if arguments.get("ema_momentum") == 0.9 else {}
    model = model_with(make(**{"learning_rate": 0.05, **arguments}), engine, **options)
    fit(model)
    np.testing.assert_allclose(np.concatenate([w.ravel() for w in model.get_weights()]), expected, atol=3e-6)


def test_three_batches_are_one_of_three_times_the_size():
    before = config.floatx()
    config.set_floatx("float64")
    try:
        small = model_with(optimizers.Adam(0.05, clipnorm=0.3, gradient_accumulation_steps=3), "reference")
        large = model_with(optimizers.Adam(0.05, clipnorm=0.3), "reference")
    finally:
        config.set_floatx(before)
    fit(small, batch_size=4)
    fit(large, batch_size=12)
    for a, b in zip(small.get_weights(), large.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_run_that_stopped_between_updates_goes_on_bitwise(tmp_path):
    def optimizer():
        return optimizers.Adam(0.05, use_ema=True, ema_overwrite_frequency=3, gradient_accumulation_steps=4)

    whole = model_with(optimizer())
    fit(whole)
    stopped, resumed = model_with(optimizer()), model_with(optimizer())
    backup = [BackupAndRestore(tmp_path / "b", save_freq=1)]

    def stop(batch, logs):
        if stopped.optimizer.iterations == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(stopped, callbacks=[*backup, LambdaCallback(on_train_batch_end=stop)])
    fit(resumed, callbacks=[BackupAndRestore(tmp_path / "b", save_freq=1)])
    for a, b in zip(whole.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_averages_take_the_place_of_the_weights_and_leave_it():
    plain, swapped = (model_with(optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)) for _ in range(2))
    raw, seen = [], []
    watch = LambdaCallback(on_epoch_end=lambda epoch, logs: raw.append(plain.get_weights()))
    fit(plain, callbacks=[watch])
    callbacks = [
        SwapEMAWeights(swap_on_epoch=True),
        LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(swapped.get_weights())),
        LambdaCallback(on_epoch_begin=lambda epoch, logs: raw.append(swapped.get_weights())),
    ]
    fit(swapped, callbacks=callbacks, validation_data=(X, Y))
    for a, b in zip(raw[0], raw[-2]):
        np.testing.assert_array_equal(a, b)  # the second epoch begins where the first one ended
    for a, b in zip(seen[-1], plain.get_weights()):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(swapped.get_weights(), plain.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_averages_stay_when_training_stops_early():
    model, seen = model_with(optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)), []
    callbacks = [
        SwapEMAWeights(swap_on_epoch=True),
        LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.get_weights())),
        EarlyStopping("loss", min_delta=100.0, patience=1),
    ]
    fit(model, epochs=9, callbacks=callbacks)
    assert len(seen) == 2
    for a, b in zip(model.get_weights(), seen[-1]):
        np.testing.assert_array_equal(a, b)
    model.evaluate(X, Y, verbose=0, callbacks=[SwapEMAWeights()])
    for a, b in zip(model.get_weights(), seen[-1]):
        np.testing.assert_array_equal(a, b)


def test_swapping_needs_averages():
    with pytest.raises(ArgumentError, match="use_ema=True"):
        fit(model_with("sgd"), callbacks=[SwapEMAWeights()])


@pytest.mark.parametrize("clip", [{}, {"clipnorm": 0.02}, {"global_clipnorm": 0.05}])
def test_updates_of_gathered_gradients_and_averages_are_split_exactly(clip):
    from kernelearn import explain

    optimizer = optimizers.Adam(
        0.01, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2, **clip
    )
    run = train(small_network(kernel_regularizer="l2", kernel_constraint="max_norm"), optimizer)
    splits = [explain.update_split(run, "conv", step) for step in range(1, 9)]
    assert all(split.is_exact for split in splits)
    assert not splits[0].parts["gradient"].any() and splits[1].parts["gradient"].any()
    assert np.abs(splits[1].parts["accumulated"]).max() > 0
    assert np.abs(splits[3].parts["averaging"]).max() > 0
    with pytest.raises(ArgumentError, match="gradient_accumulation_steps=2"):
        explain.history(run, "conv", (0, 0, 0, 0))
