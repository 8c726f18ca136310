"""Between the last step and the program's own `save` nothing is lost: killed at every file operation."""

import builtins
import io
import os
import subprocess
import sys
import warnings
from contextlib import ExitStack
from unittest import mock

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers, optimizers
from kernelearn.callbacks import BackupAndRestore, Callback, CSVLogger, EarlyStopping
from kernelearn.models import load_model
from kernelearn.recording import Recorder, Run
from tests.sweeps import some

KILLED = 9
# Every way by which the library changes files; `open` counts where it is not for reading.
CHANGES = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "fsync", "truncate", "ftruncate")
MOST = 200


class Switch:
    """Ends the process, as kill -9 would, just before the file operation of this number."""

    def __init__(self, at):
        self.at, self.count = at, None

    def operation(self, real, is_change=lambda *args: True):
        def guarded(*args, **options):
            if self.count is not None and is_change(*args):
                self.count += 1
                if self.count == self.at:
                    os._exit(KILLED)
            return real(*args, **options)

        return guarded


def writes(path, mode="r", *rest):
    return any(letter in mode for letter in "wax+")


def opens_for_writing(path, flags=0, *rest):
    return bool(flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR))


def armed(switch):
    patches = [mock.patch.object(os, name, switch.operation(getattr(os, name))) for name in CHANGES]
    patches += [mock.patch.object(place, "open", switch.operation(open, writes)) for place in (builtins, io)]
    patches.append(mock.patch.object(os, "open", switch.operation(os.open, opens_for_writing)))
    return patches


class Arm(Callback):
    """Starts counting when the last step is done."""

    def __init__(self, switch, last):
        super().__init__()
        self.switch, self.last = switch, last

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == self.last:
            self.switch.count = 0


def program(folder, switch, delete, more=()):
    """Train three epochs of four steps, save the model, write down what came out."""
    rng = np.random.default_rng(0)
    x, y = rng.random((16, 4, 4, 1)).astype("float32"), rng.random((16, 1)).astype("float32")
    model = Sequential(
        [Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Dropout(0.5), layers.Flatten(), layers.Dense(1)]
    )
    model.set_weights([np.full(w.shape, 0.1) for w in model.weights])
    model.compile(optimizers.Adam(0.01), "mse", engine="reference")
    callbacks = [
        Arm(switch, 12),
        CSVLogger(folder / "log.csv"),
        EarlyStopping("loss", patience=9, restore_best_weights=True),
        BackupAndRestore(folder / "backup", delete_checkpoint=delete),
        *[make(folder) for make in more],
    ]
    history = model.fit(x, y, 4, epochs=3, seed=1, callbacks=callbacks, verbose=0)
    model.save(folder / "model.kernelearn")
    np.savez(folder / "result.npz", *history.history["loss"])


def run(folder, at, delete, more=()):
    """Whether a process that runs the program, and is killed before the operation `at`, came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            warnings.simplefilter("ignore")
            switch = Switch(at)
            with ExitStack() as stack:
                for patch in armed(switch):
                    stack.enter_context(patch)
                program(folder, switch, delete, more)
                switch.count = None
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == 0


def outcome(folder):
    with np.load(folder / "result.npz") as file:
        history = [file[name].tolist() for name in file.files]
    return (folder / "model.kernelearn").read_bytes(), (folder / "log.csv").read_bytes(), history


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed process is a forked one")
@pytest.mark.parametrize("every", some([1, 4], quick=[4]))
@pytest.mark.parametrize("delete", [True, False])
def test_killed_at_any_file_operation_behind_the_last_step(tmp_path, delete, every):
    """At each operation in the slow sweeps, else at every fourth, other ones with `delete` than without."""
    whole = tmp_path / "whole"
    whole.mkdir()
    assert run(whole, 0, delete)
    for at in range(1 + every // 2 * delete, MOST, every):
        folder = tmp_path / str(at)
        folder.mkdir()
        has_ended = run(folder, at, delete)
        assert run(folder, 0, delete), f"killed before operation {at}, it could not go on"
        assert outcome(folder) == outcome(whole), f"killed before operation {at}"
        assert (folder / "backup").exists() is not delete
        assert not (folder / "backup.finished.kernelearn").exists()
        if has_ended:
            break
    assert 10 < at < MOST - 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed process is a forked one")
@pytest.mark.parametrize("every", some([3, 9], quick=[9]))
def test_a_recorded_run_is_finished_when_the_training_is_resumed(tmp_path, every):
    recording = [lambda folder: Recorder(folder / "run")]
    whole = tmp_path / "whole"
    whole.mkdir()
    assert run(whole, 0, True, recording)
    for at in range(1, MOST, every):  # a recorded run takes a second
        folder = tmp_path / str(at)
        folder.mkdir()
        run(folder, at, True, recording)
        if (folder / "model.kernelearn").exists():
            break  # from here on the same program trains a second model
        assert run(folder, 0, True, recording), f"killed before operation {at}, it could not go on"
        assert outcome(folder) == outcome(whole), f"killed before operation {at}"
        recorded = Run(folder / "run")
        assert (recorded.status, recorded.last_step) == ("finished", 12), f"killed before operation {at}"
    assert 20 < at < MOST - 1


FINISHED = """
import sys, warnings
import numpy as np
from kernelearn import Sequential, Input, layers
from kernelearn.callbacks import BackupAndRestore, LambdaCallback
model = Sequential([Input((2,)), layers.Dense(1)])
model.compile("sgd", "mse", engine="reference")
steps = []
count = LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
x = np.arange(8, dtype="float32").reshape(4, 2) / 8
model.fit(x, x[:, :1], 2, epochs=2, verbose=0, callbacks=[count, BackupAndRestore(sys.argv[1])])
print(len(steps), model.get_weights()[0].tobytes().hex())
{end}
"""


def printed(folder, end):
    run = subprocess.run(
        [sys.executable, "-c", FINISHED.format(end=end), str(folder)], capture_output=True, text=True
    )
    steps, weights = run.stdout.split()
    return int(steps), weights


def test_a_program_that_fails_before_it_saves_gets_its_model_back(tmp_path):
    kept = tmp_path / "b.finished.kernelearn"
    first = printed(tmp_path / "b", "raise RuntimeError('before save')")
    assert first[0] == 4 and kept.exists() and not (tmp_path / "b").exists()
    assert printed(tmp_path / "b", "pass") == (0, first[1])
    assert not kept.exists()
    assert printed(tmp_path / "b", "pass")[0] == 4


def test_the_end_of_another_training_does_not_stop_this_one(tmp_path):
    printed(tmp_path / "b", "raise RuntimeError('before save')")
    model = Sequential([Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mae", engine="reference")
    x = np.zeros((4, 2), "float32")
    with pytest.warns(UserWarning, match="end of another training"):
        history = model.fit(x, x[:, :1], verbose=0, callbacks=[BackupAndRestore(tmp_path / "b")])
    assert history.epoch == [0]
    model.save(tmp_path / "m.kernelearn")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.kernelearn"]
    assert load_model(tmp_path / "m.kernelearn").optimizer.iterations == 1


def test_the_same_folder_twice_in_one_process_trains_twice(tmp_path):
    x = np.zeros((4, 2), "float32")
    for _ in range(2):
        model = Sequential([Input((2,)), layers.Dense(1)])
        model.compile("sgd", "mae", engine="reference")
        model.fit(x, x[:, :1], 2, epochs=2, verbose=0, callbacks=[BackupAndRestore(tmp_path / "b")])
        assert model.optimizer.iterations == 4
        assert not (tmp_path / "b").exists()


def test_a_training_that_kept_its_checkpoint_goes_on_with_more_epochs(tmp_path):
    x = np.random.default_rng(0).random((4, 2)).astype("float32")
    weights = []
    for parts in ([4], [2, 4]):
        for epochs in parts:
            model = Sequential([Input((2,)), layers.Dense(1, kernel_initializer="ones")])
            model.compile("adam", "mse", engine="reference")
            keep = BackupAndRestore(tmp_path / f"{parts}", delete_checkpoint=False)
            history = model.fit(x, x[:, :1], 2, epochs=epochs, seed=1, verbose=0, callbacks=[keep])
        assert history.epoch == [0, 1, 2, 3]
        weights.append(model.get_weights()[0].tobytes())
    assert weights[0] == weights[1]
