"""Short recorded trainings for the tests of explanations, each made once for a process."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from kernelearn import Input, Sequential, config, constraints, optimizers, regularizers
from kernelearn import layers as L
from kernelearn.recording import Recorder, Run

# Every optimiser, with each of its switches, and clipping of every kind.
OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "sgd-momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "sgd-nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda: optimizers.Adam(0.01),
    "adam-amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, clipnorm=0.02),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "rmsprop-momentum": lambda: optimizers.RMSprop(0.002, momentum=0.9, weight_decay=0.05),
    "rmsprop-centered": lambda: optimizers.RMSprop(0.002, momentum=0.5, centered=True),
    "adagrad": lambda: optimizers.Adagrad(0.05, clipvalue=0.01),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "adamax": lambda: optimizers.Adamax(0.01, global_clipnorm=0.05),
    "nadam": lambda: optimizers.Nadam(0.005),
    "ftrl": lambda: optimizers.Ftrl(0.1, l1_regularization_strength=0.01, weight_decay=0.1),
    "lamb": lambda: optimizers.Lamb(0.01, weight_decay=0.1, clipnorm=0.1),
    "schedule-free": lambda: optimizers.ScheduleFreeAdamW(0.01, warmup_steps=3),
    "adafactor": lambda: optimizers.Adafactor(0.1, weight_decay=0.1),
    "muon": lambda: optimizers.Muon(0.01, clipnorm=0.5),
    "lion": lambda: optimizers.Lion(0.002, weight_decay=0.1),
}
SAMPLES, CLASSES = 40, 3
_FOLDERS = []  # removed when the process ends


def data(seed=0):
    """Images (40, 7, 7, 1) float32 and their classes."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(SAMPLES, 7, 7, 1)).astype("float32"), rng.integers(0, CLASSES, SAMPLES)


def small_network(**conv):
    """A convolution named "conv" and a dense layer named "dense"."""
    stack = [L.Conv2D(2, 3, strides=2, name="conv", **conv), L.Activation("tanh"), L.Flatten()]
    return Sequential([Input((7, 7, 1)), *stack, L.Dense(CLASSES, activation="softmax", name="dense")])


def train(model, optimizer=None, epochs=2, seed=1, **recording):
    """Train on `data` in batches of 10 (4 updates an epoch) and give back the run.

    The model is compiled first, unless it goes on with the optimiser it has (None).
    """
    folder = _new_folder()
    if optimizer is not None:
        model.compile(optimizer, "sparse_categorical_crossentropy")
    recorder = Recorder(folder, **{"ledger_every": 1, "layers": ["conv", "dense"], **recording})
    model.fit(*data(), batch_size=10, epochs=epochs, verbose=0, seed=seed, callbacks=[recorder])
    return Run(folder)


def _new_folder():
    _FOLDERS.append(tempfile.TemporaryDirectory(prefix="kernelearn-test-"))
    return Path(_FOLDERS[-1].name) / "run"


@cache
def run_with(optimizer, dtype="float32", rules=False):
    """A run of `small_network`; with rules also penalty, constraint and learning-rate multiplier."""
    before = config.floatx()
    config.set_floatx(dtype)
    config.set_random_seed(3)
    try:
        options = {}
        if rules:
            options = {
                "kernel_regularizer": regularizers.L1L2(0.01, 0.02),
                "kernel_constraint": constraints.MaxNorm(0.6, axis=(0, 1, 2)),
                "learning_rate_multiplier": 0.5,
            }
        return train(small_network(**options), OPTIMIZERS[optimizer]())
    finally:
        config.set_floatx(before)
