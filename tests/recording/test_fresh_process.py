"""A run is read in a process that has not built a model: what needs the model finds its class by itself."""

import subprocess
import sys

import numpy as np

from kernelearn import Sequential
from kernelearn.layers import Conv2D, Dense, Flatten, Input
from kernelearn.recording import Recorder

PROGRAM = """
import sys
from kernelearn.recording import Run
run = Run(sys.argv[1])
print(type(run.model()).__name__)
"""
PENALTY = """
import sys
from kernelearn.explain.update.run_updates import update_split
from kernelearn.recording import Run
print(sorted(update_split(Run(sys.argv[1]), "conv", 2).parts))
"""


def read_anew(program, folder):
    words = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_model_and_penalties_in_a_fresh_process(tmp_path):
    conv = Conv2D(2, 3, kernel_regularizer="l2", name="conv")
    model = Sequential([Input((5, 5, 1)), conv, Flatten(), Dense(2, name="dense")])
    model.compile("sgd", "mse")
    recorder = Recorder(tmp_path / "run", kernels_every=1, ledger_every=1)
    x = np.random.default_rng(0).normal(size=(8, 5, 5, 1)).astype("float32")
    model.fit(x, np.ones((8, 2)), batch_size=4, verbose=0, callbacks=[recorder])
    assert read_anew(PROGRAM, tmp_path / "run") == "Sequential"
    assert read_anew(PENALTY, tmp_path / "run") == "['gradient', 'penalty']"
