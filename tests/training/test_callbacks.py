"""Callbacks one by one, on a stand-in for the model; against traces of Keras's own where it has the same."""

import csv
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kernelearn import callbacks as public
from kernelearn.callbacks import (
    BackupAndRestore,
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ProgressBar,
    ReduceLROnPlateau,
    TensorBoard,
    TerminateOnNaN,
)
from kernelearn.errors import ArgumentError, FormatError, MissingDependencyError, NonFiniteError, StorageError
from kernelearn.optimizers import SGD
from kernelearn.schedules import ExponentialDecay
from kernelearn.training.callbacks.base import HOOKS
from kernelearn.training.checkpoint import load_checkpoint, pack, save_checkpoint, unpack

TRACES = json.loads((Path(__file__).parent / "golden" / "callback_traces.json").read_text())


class FakeModel:
    """As much of a model as callbacks touch."""

    def __init__(self, learning_rate=0.5):
        self.stop_training = False
        self.weight = np.zeros(2)
        self.optimizer = SGD(learning_rate)
        self.metrics_by_name = {}
        self.saved = []
        self.fit_state = SimpleNamespace(epoch=0, batch=0)

    def get_weights(self):
        return [self.weight.copy()]

    def set_weights(self, weights):
        self.weight = np.array(weights[0])

    def save(self, path):
        self.saved.append(path)

    def save_weights(self, path):
        self.saved.append(f"weights of {path}")

    def training_fingerprint(self):
        return {"steps_per_epoch": "7"}

    def when_saved(self, action):
        self.waiting = action

    def training_state(self):
        return {"epoch": self.fit_state.epoch, "batch": self.fit_state.batch}, {"w": self.weight}

    def restore_training_state(self, config, arrays):
        self.fit_state = SimpleNamespace(**config)
        self.weight = arrays["w"]


@pytest.fixture(autouse=True)
def signals_as_before():
    """Many tests begin a run that no loop ends; what it did to the signals is undone here."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def attach(callback, model=None, **params):
    """A callback that is ready to be called, in a list of its own."""
    model = model or FakeModel()
    CallbackList(callback, model=model, verbose=0, **params)
    return callback


class Spy(Callback):
    """Notes every call of every hook."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __getattribute__(self, name):
        if name in HOOKS and name not in ("on_batch_begin", "on_batch_end"):
            return lambda *arguments: self.calls.append((name, *arguments))
        return super().__getattribute__(name)


# The list of callbacks


def test_every_hook_reaches_every_callback_with_its_arguments():
    spies = [Spy(), Spy()]
    hooks = CallbackList(spies)
    expected = []
    for hook in HOOKS:
        if hook in ("on_batch_begin", "on_batch_end"):
            continue
        arguments = (3,) if "batch" in hook or "epoch" in hook else ()
        getattr(hooks, hook)(*arguments, {"loss": 1.0})
        expected.append((hook, *arguments, {"loss": 1.0}))
    assert spies[0].calls == spies[1].calls == expected


def test_batch_hooks_have_their_short_names():
    class Old(Callback):
        def on_batch_begin(self, batch, logs=None):
            calls.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            calls.append(("end", batch, logs["loss"]))

    calls = []
    hooks = CallbackList(Old())
    hooks.on_train_batch_begin(4)
    hooks.on_train_batch_end(4, {"loss": 1.0})
    assert calls == [("begin", 4), ("end", 4, 1.0)]


def test_what_a_callback_adds_to_the_logs_is_seen_by_later_ones_and_not_by_the_caller():
    class Adds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["extra"] = 7

    history, logs = History(), {"loss": 1.0}
    CallbackList([Adds(), history]).on_epoch_end(0, logs)
    assert history.history == {"loss": [1.0], "extra": [7]}
    assert logs == {"loss": 1.0}


def test_what_saves_the_others_is_called_last(tmp_path):
    backup, history = BackupAndRestore(tmp_path / "b"), History()
    assert CallbackList([backup, [history, (EarlyStopping(),)]]).callbacks[-1] is backup


def test_history_and_progress_bar_are_added_once():
    model, mine = FakeModel(), History()
    hooks = CallbackList([mine], add_history=True, add_progbar=True, model=model, verbose=0)
    assert [type(c) for c in hooks] == [History, ProgressBar]
    assert hooks.history is model.history is mine
    assert mine.params == {"verbose": 0}
    assert len(CallbackList(hooks, add_history=True, add_progbar=True)) == 2


def test_the_list_closes_its_callbacks_however_the_block_ends():
    closed = []
    callback = Callback()
    callback.close = lambda: closed.append(True)
    with pytest.raises(KeyboardInterrupt), CallbackList(callback):
        raise KeyboardInterrupt
    assert closed == [True]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(History, r"Did you mean History\(\)"), (print, "LambdaCallback"), ("adam", "got 'adam'")],
)
def test_what_is_no_callback_is_refused(wrong, message):
    with pytest.raises(ArgumentError, match=message):
        CallbackList([wrong])


def test_the_public_names():
    assert "ModelCheckpoint" in public.__all__
    assert all(hasattr(public, name) for name in public.__all__)
    assert public.ProgbarLogger is ProgressBar


# History


def test_history_starts_its_epochs_afresh_but_keeps_what_was():
    history = History()
    for start in (0, 1):
        history.on_train_begin()
        history.on_epoch_end(start, {"loss": 1.0 - start})
    assert history.epoch == [1]
    assert history.history == {"loss": [1.0, 0.0]}
    assert "loss=0" in repr(history)


# Early stopping


@pytest.mark.parametrize("case", TRACES["EarlyStopping"])
def test_early_stopping_does_what_keras_does(case):
    model = FakeModel()
    callback = attach(EarlyStopping(**case["arguments"]), model)
    callback.on_train_begin()
    trace = []
    for epoch, value in enumerate(case["values"]):
        model.weight = np.full(2, epoch)
        callback.on_epoch_end(epoch, {"val_loss": value})
        trace.append([callback.wait, callback.best, callback.stopped_epoch, model.stop_training])
        if model.stop_training:
            break
    last = epoch
    callback.on_train_end()
    assert trace == case["trace"]
    assert model.weight[0] == (last if case["restored"] is None else case["restored"])


def test_the_traces_hold_both_outcomes():
    """The comparison would be empty if nothing ever stopped, or nothing was ever restored."""
    stopped = [case["trace"][-1][3] for case in TRACES["EarlyStopping"]]
    assert 5 < sum(stopped) < len(stopped)
    assert any(case["restored"] is not None for case in TRACES["EarlyStopping"])
    assert TRACES["keras"] == "3.15.1"


def test_early_stopping_says_what_it_does(capsys):
    model = FakeModel()
    callback = attach(EarlyStopping("loss", verbose=1, restore_best_weights=True), model)
    callback.on_train_begin()
    for epoch, loss in enumerate([1.0, 0.5, 0.7]):
        callback.on_epoch_end(epoch, {"loss": loss})
    callback.on_train_end()
    out = capsys.readouterr().out
    assert "Epoch 3: early stopping" in out
    assert "best epoch: 2" in out


def test_a_missing_value_is_named_with_those_that_are_there():
    callback = attach(EarlyStopping("val_loss"))
    with pytest.warns(
        UserWarning, match=r"'val_loss', which is not in the logs of this epoch: loss, accuracy"
    ):
        callback.on_epoch_end(0, {"loss": 1.0, "accuracy": 0.5})


@pytest.mark.parametrize(
    ("monitor", "direction"),
    [
        ("val_loss", "min"),
        ("head_loss", "min"),
        ("val_accuracy", "max"),
        ("sparse_categorical_accuracy", "max"),
        ("val_sparse_categorical_crossentropy", "min"),
        ("mean_absolute_error", "min"),
        ("auc", "max"),
        ("f1_score", "max"),
        ("val_accuracy_1", "max"),
    ],
)
def test_the_direction_is_found_from_the_name(monitor, direction):
    assert attach(EarlyStopping(monitor)).direction() == direction


@pytest.mark.parametrize(("is_growing", "direction"), [(True, "max"), (False, "min")])
def test_the_metric_itself_knows_best(is_growing, direction):
    model = FakeModel()
    model.metrics_by_name = {"my_error": SimpleNamespace(higher_is_better=is_growing)}
    assert attach(EarlyStopping("val_my_error"), model).direction() == direction


def test_an_unknown_direction_is_asked_for():
    with pytest.raises(ArgumentError, match=r"whether 'beauty' should grow or shrink. Pass mode='max'"):
        attach(EarlyStopping("beauty")).direction()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(mode="best"), "mode must be one of 'auto', 'min', 'max', got 'best'"),
        (lambda: EarlyStopping(patience=-1), "patience must be an integer, 0 or more, got -1"),
        (lambda: EarlyStopping(patience=1.5), r"got 1\.5"),
        (lambda: EarlyStopping(start_from_epoch=True), "got True"),
        (lambda: ReduceLROnPlateau(factor=1.0), r"factor must be at least 0 and below 1, got 1\.0"),
        (lambda: ReduceLROnPlateau(cooldown="2"), "cooldown must be an integer"),
        (lambda: ModelCheckpoint("a", save_freq=0), "save_freq must be"),
        (lambda: ModelCheckpoint("a", save_freq="batch"), "save_freq must be"),
        (lambda: ModelCheckpoint("{epoch"), "is malformed"),
        (lambda: ModelCheckpoint("{}.kernelearn"), "has the field ''"),
        (lambda: ModelCheckpoint("{a[0]}"), "expected a name in the logs"),
        (lambda: LearningRateScheduler(0.1), "must be a function"),
        (lambda: CSVLogger("a.csv", separator=", "), "must be one character"),
        (lambda: BackupAndRestore(""), "backup_dir must be the name of a folder"),
        (lambda: BackupAndRestore(None), "backup_dir must be the name of a folder"),
        (lambda: BackupAndRestore("b", save_freq=True), "save_freq must be"),
        (lambda: LambdaCallback(on_epoch=print), "'on_epoch' is no hook"),
        (lambda: TensorBoard(update_freq="often"), "update_freq must be"),
        (lambda: TensorBoard(color="red"), "no argument 'color'"),
    ],
)
def test_wrong_arguments_are_refused_at_once(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


# Learning rate


@pytest.mark.parametrize("case", TRACES["ReduceLROnPlateau"])
def test_reduce_on_plateau_does_what_keras_does(case):
    model = FakeModel(learning_rate=0.5)
    callback = attach(ReduceLROnPlateau(**case["arguments"]), model)
    callback.on_train_begin()
    trace = []
    for epoch, value in enumerate(case["values"]):
        logs = {"val_loss": value}
        callback.on_epoch_end(epoch, logs)
        state = [callback.wait, callback.best, callback.cooldown_counter]
        trace.append([*state, logs["learning_rate"], model.optimizer.learning_rate])
    assert trace == case["trace"]


@pytest.mark.parametrize("callback", [ReduceLROnPlateau(), LearningRateScheduler(lambda epoch: 0.1)])
def test_a_schedule_in_the_optimizer_is_reported_before_training(callback):
    attach(callback, FakeModel(ExponentialDecay(0.1, 10, 0.9)))
    with pytest.raises(ArgumentError, match=r"is set by a schedule. Compile with a number"):
        callback.on_train_begin()


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (lambda epoch, rate: rate * 0.5, [0.25, 0.125, 0.0625]),
        (lambda epoch: 1 / (epoch + 1), [1.0, 0.5, 1 / 3]),
        (lambda epoch, rate: np.float32(0.5), [0.5, 0.5, 0.5]),
    ],
)
def test_the_scheduler_sets_the_rate_of_each_epoch(schedule, expected, capsys):
    model, history = FakeModel(), History()
    hooks = CallbackList([LearningRateScheduler(schedule, verbose=1), history], model=model)
    hooks.on_train_begin()
    for epoch in range(3):
        hooks.on_epoch_begin(epoch)
        hooks.on_epoch_end(epoch, {"loss": 0.0})
    assert history.history["learning_rate"] == expected
    assert "Epoch 3: LearningRateScheduler setting learning rate" in capsys.readouterr().out


def test_errors_inside_a_schedule_are_not_hidden():
    def schedule(epoch, rate):
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        attach(LearningRateScheduler(schedule)).on_epoch_begin(0)


def test_a_schedule_has_to_give_a_number():
    with pytest.raises(ArgumentError, match="must give a number, got None for epoch 0"):
        attach(LearningRateScheduler(lambda epoch: None)).on_epoch_begin(0)


def test_an_epoch_that_is_resumed_does_not_change_its_rate_again():
    def make():
        return attach(LearningRateScheduler(lambda epoch, rate: rate * 0.5), FakeModel(0.25))

    first, resumed = make(), make()
    first.on_train_begin()
    first.on_epoch_begin(4)
    resumed.on_train_begin()
    resumed.set_state(first.get_state())
    resumed.model.optimizer.learning_rate = first.model.optimizer.learning_rate
    resumed.on_epoch_begin(4)
    assert resumed.model.optimizer.learning_rate == 0.125
    resumed.on_epoch_begin(5)
    assert resumed.model.optimizer.learning_rate == 0.0625


# Saving models


@pytest.mark.parametrize("case", TRACES["ModelCheckpoint"])
def test_model_checkpoint_saves_when_keras_does(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = FakeModel()
    path = case["filepath"].replace(".keras", ".kernelearn")
    callback = attach(ModelCheckpoint(path, **case["arguments"]), model)
    callback.on_train_begin()
    for epoch, value in enumerate(case["values"]):
        callback.on_epoch_begin(epoch)
        for batch in range(4):
            callback.on_train_batch_end(batch, {"val_loss": value + (3 - batch) / 64})
        callback.on_epoch_end(epoch, {"val_loss": value})
    assert model.saved == [name.replace(".keras", ".kernelearn") for name in case["saved"]]


def test_model_checkpoint_speaks_and_saves_weights_only(tmp_path, capsys):
    model = FakeModel()
    path = str(tmp_path / "new" / "{epoch:02d}-{val_loss:.2f}.kernelearn")
    callback = attach(ModelCheckpoint(path, save_weights_only=True, save_best_only=True, verbose=1), model)
    callback.on_train_begin()
    for epoch, loss in enumerate([0.5, 0.25, 0.75]):
        callback.on_epoch_end(epoch, {"val_loss": loss})
    folder = tmp_path / "new"
    assert model.saved == [f"weights of {folder}/{name}.kernelearn" for name in ("01-0.50", "02-0.25")]
    out = capsys.readouterr().out
    assert "val_loss improved from 0.50000 to 0.25000" in out
    assert "Epoch 3: val_loss did not improve from 0.25000" in out
    assert folder.is_dir()


def test_an_unknown_field_names_those_that_are_there(tmp_path):
    callback = attach(ModelCheckpoint(str(tmp_path / "{val_acc}.kernelearn")))
    with pytest.raises(ArgumentError, match=r"field 'val_acc' of filepath .* Available: epoch, loss"):
        callback.on_epoch_end(0, {"loss": 1.0})


def test_a_monitor_that_is_missing_saves_anyway(tmp_path):
    callback = attach(ModelCheckpoint(str(tmp_path / "a"), save_best_only=True))
    with pytest.warns(UserWarning, match="val_loss"):
        callback.on_epoch_end(0, {"loss": 1.0})
    assert len(callback.model.saved) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: ModelCheckpoint(folder / "{epoch}.kernelearn"),
        lambda folder: CSVLogger(folder / "log.csv"),
        lambda folder: BackupAndRestore(folder / "backup"),
        lambda folder: TensorBoard(folder / "logs"),
    ],
    ids=["ModelCheckpoint", "CSVLogger", "BackupAndRestore", "TensorBoard"],
)
def test_a_folder_that_cannot_be_written_is_reported_before_training(make, tmp_path):
    if make(tmp_path).__class__ is TensorBoard:
        pytest.importorskip("tensorboard", reason="needs the extra 'tensorboard'")
    (tmp_path / "file").write_bytes(b"")
    callback = attach(make(tmp_path / "file"))
    with pytest.raises(StorageError, match="a file is in the way"):
        callback.on_train_begin()


# CSV


def rows(path, **dialect):
    with open(path, newline="") as file:
        return list(csv.reader(file, **dialect))


def log_epochs(callback, losses, first=0, **more):
    for epoch, loss in enumerate(losses, first):
        callback.on_epoch_end(epoch, {"loss": loss, **more})


def test_csv_columns_are_sorted_and_leave_room_for_validation(tmp_path):
    callback = attach(CSVLogger(tmp_path / "new" / "log.csv"))
    callback.on_train_begin()
    callback.on_epoch_end(0, {"loss": 0.1 + 0.2, "accuracy": 0.5})
    callback.on_epoch_end(1, {"loss": 0.25, "accuracy": 0.5, "val_loss": 0.75, "val_accuracy": 0.5})
    callback.on_train_end()
    assert rows(tmp_path / "new" / "log.csv") == [
        ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"],
        ["0", "0.5", "0.30000000000000004", "NA", "NA"],
        ["1", "0.5", "0.25", "0.5", "0.75"],
    ]


def test_csv_lines_are_on_the_disk_at_once_and_arrays_fit_in_a_cell(tmp_path):
    callback = attach(CSVLogger(tmp_path / "log.csv", separator=";"))
    callback.on_train_begin()
    callback.on_epoch_end(0, {"loss": 1.0, "confusion": np.eye(2, dtype=int)[0], "val_loss": 2.0})
    assert rows(tmp_path / "log.csv", delimiter=";")[1] == ["0", "[1, 0]", "1.0", "2.0"]
    callback.close()


def test_csv_replaces_or_appends(tmp_path):
    path = tmp_path / "log.csv"
    for append, expected in ((False, ["0", "1"]), (True, ["0", "1", "0", "1"]), (False, ["0", "1"])):
        callback = attach(CSVLogger(path, append=append))
        callback.on_train_begin()
        log_epochs(callback, [1.0, 0.5])
        callback.on_train_end()
        assert [row[0] for row in rows(path)[1:]] == expected


def test_csv_appends_to_the_columns_that_are_there(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,val_loss\n0,1.0,2.0")
    callback = attach(CSVLogger(path, append=True))
    callback.on_train_begin()
    log_epochs(callback, [0.5], first=1, extra=3)
    callback.on_train_end()
    assert path.read_text() == "epoch,loss,val_loss\n0,1.0,2.0\n1,0.5,NA\n"


def test_csv_refuses_to_append_to_something_else(tmp_path):
    (tmp_path / "notes.txt").write_text("dear diary\n")
    callback = attach(CSVLogger(tmp_path / "notes.txt", append=True))
    callback.on_train_begin()
    with pytest.raises(ArgumentError, match=r"cannot append to .*'dear diary'"):
        callback.on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(StorageError, match="it is a folder"):
        attach(CSVLogger(tmp_path)).on_train_begin()


@pytest.mark.parametrize("append", [False, True])
def test_csv_of_a_resumed_run_is_that_of_a_whole_one(tmp_path, append):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,val_loss\n9,9.0,9.0\n")
    killed = attach(CSVLogger(path, append=append))
    killed.on_train_begin()
    log_epochs(killed, [1.0, 0.5])
    saved = json.loads(json.dumps(killed.get_state()))
    log_epochs(killed, [0.4, 0.3], first=2)
    killed._file.write(b"4,0.")  # killed in the middle of a line
    killed.close()
    resumed = attach(CSVLogger(path, append=append))
    resumed.on_train_begin()
    resumed.set_state(saved)
    log_epochs(resumed, [0.4, 0.3, 0.2], first=2)
    resumed.on_train_end()
    assert [row[0] for row in rows(path)[1:]] == (["9"] if append else []) + ["0", "1", "2", "3", "4"]


def test_csv_goes_on_when_its_file_was_deleted(tmp_path):
    callback = attach(CSVLogger(tmp_path / "log.csv"))
    callback.on_train_begin()
    callback.set_state({"position": 1000})
    log_epochs(callback, [0.5], first=7)
    callback.on_train_end()
    assert rows(tmp_path / "log.csv") == [["epoch", "loss", "val_loss"], ["7", "0.5", "NA"]]


def test_csv_says_when_the_disk_is_full(tmp_path):
    import resource

    callback = attach(CSVLogger(tmp_path / "log.csv"))
    callback.on_train_begin()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"log.csv.*disk is full"):
            log_epochs(callback, [0.5] * 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        callback.close()


# Small ones


@pytest.mark.parametrize(("loss", "stops"), [(1.0, False), (float("nan"), True), (float("inf"), True)])
def test_terminate_on_nan(loss, stops, capsys):
    callback = attach(TerminateOnNaN())
    CallbackList(callback, model=callback.model).on_train_batch_end(3, {"loss": loss})
    assert callback.model.stop_training is stops
    assert ("Batch 3: Invalid loss" in capsys.readouterr().out) is stops


def test_terminate_on_nan_can_raise():
    with pytest.raises(NonFiniteError, match="loss is nan after batch 3"):
        attach(TerminateOnNaN(raise_error=True)).on_train_batch_end(3, {"loss": float("nan")})


def test_lambda_callbacks():
    seen = []
    hooks = CallbackList(
        LambdaCallback(
            on_epoch_begin=lambda epoch, logs: seen.append(("epoch", epoch)),
            on_train_batch_end=lambda batch, logs: seen.append((batch, logs["loss"])),
            on_test_begin=lambda logs: seen.append("test"),
        )
    )
    hooks.on_epoch_begin(2)
    hooks.on_train_batch_end(0, {"loss": 0.5})
    hooks.on_test_begin()
    hooks.on_train_end()
    assert seen == [("epoch", 2), (0, 0.5), "test"]


# TensorBoard


def test_tensorboard_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'kernelearn\[tensorboard\]'"):
        attach(TensorBoard(tmp_path)).on_train_begin()


def tensorboard_run(folder, **arguments):
    """Three epochs of four batches, and what TensorBoard itself reads from the files."""
    pytest.importorskip("tensorboard", reason="needs the extra 'tensorboard'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = FakeModel()
    kernel = np.random.default_rng(0).standard_normal((3, 3, 2, 5)).astype("float32")
    model.weights = [SimpleNamespace(path="conv/kernel", numpy=lambda: kernel)]
    hooks = CallbackList(TensorBoard(folder, **arguments), model=model)
    hooks.on_train_begin()
    for epoch in range(3):
        hooks.on_epoch_begin(epoch)
        for batch in range(4):
            hooks.on_train_batch_end(batch, {"loss": 10.0 * epoch + batch})
        hooks.on_epoch_end(epoch, {"loss": 1.0 / (epoch + 1), "val_loss": 2.0})
    hooks.on_train_end()
    readers = {}
    for part in ("train", "validation"):
        readers[part] = EventAccumulator(str(folder / part), size_guidance={"images": 0, "histograms": 0})
        readers[part].Reload()
    return readers, kernel


def test_tensorboard_reads_our_scalars(tmp_path):
    readers, _ = tensorboard_run(tmp_path, update_freq=2, write_steps_per_second=True)
    scalars = {name: readers["train"].Scalars(name) for name in readers["train"].Tags()["scalars"]}
    assert [(s.step, round(s.value, 4)) for s in scalars["epoch_loss"]] == [(0, 1.0), (1, 0.5), (2, 0.3333)]
    assert [(s.step, s.value) for s in scalars["batch_loss"]][:3] == [(2, 1.0), (4, 3.0), (6, 11.0)]
    assert [s.value for s in scalars["epoch_learning_rate"]] == [0.5] * 3
    assert all(s.value > 0 for s in scalars["epoch_steps_per_second"])
    assert [s.value for s in readers["validation"].Scalars("epoch_loss")] == [2.0] * 3


def test_tensorboard_reads_our_histograms_and_kernels(tmp_path):
    image_module = pytest.importorskip("PIL.Image", reason="needs pillow to read the picture back")
    import io

    readers, kernel = tensorboard_run(tmp_path, histogram_freq=2, write_images=True)
    histograms = readers["train"].Histograms("conv/kernel")
    assert [h.step for h in histograms] == [0, 2]
    assert sum(histograms[0].histogram_value.bucket) == kernel.size
    assert histograms[0].histogram_value.sum == pytest.approx(kernel.sum(dtype="float64"))
    images = readers["train"].Images("conv/kernel/image")
    picture = np.asarray(image_module.open(io.BytesIO(images[0].encoded_image_string)).convert("RGB"))
    assert picture.shape == (2 * 25, 5 * 25, 3)
    assert (images[0].height, images[0].width) == picture.shape[:2]
    for channel in range(2):
        for filter_ in range(5):
            tile = kernel[:, :, channel, filter_]
            shown = picture[channel * 25 : channel * 25 + 24 : 8, filter_ * 25 : filter_ * 25 + 24 : 8]
            i, j = np.unravel_index(np.abs(tile).argmax(), tile.shape)
            assert tuple(shown[i, j]) == ((255, 0, 0) if tile[i, j] > 0 else (0, 0, 255))


def test_tensorboard_drops_what_a_killed_run_wrote_for_the_same_epochs(tmp_path):
    tensorboard_run(tmp_path)
    readers, _ = tensorboard_run(tmp_path)
    assert [s.step for s in readers["train"].Scalars("epoch_loss")] == [0, 1, 2]


# Checkpoints of a run


def test_states_with_arrays_come_back_exactly(tmp_path):
    state = {
        "best": 0.1,
        "none": None,
        "nested": [{"w": np.arange(3.0)}, [np.ones((2, 2), "float32")]],
        "text": "a",
    }
    arrays = {}
    packed = json.loads(json.dumps(pack(state, "x", arrays)))
    back = unpack(packed, arrays)
    np.testing.assert_equal(back, state)
    assert back["nested"][1][0].dtype == "float32"


def stateful_callbacks():
    return [
        EarlyStopping("loss", patience=9, restore_best_weights=True),
        ReduceLROnPlateau("loss", patience=2),
        EarlyStopping("loss", patience=3),
        History(),
        ModelCheckpoint("unused", "loss"),
    ]


def test_every_callback_goes_on_where_it_was(tmp_path):
    values = [1.0, 0.8, 0.9, 0.85, 0.95, 0.7, 0.75, 0.75, 0.75, 0.75, 0.75]

    def run(hooks, model, epochs):
        for epoch in epochs:
            model.weight = np.full(2, float(epoch))
            hooks.on_epoch_end(epoch, {"loss": values[epoch]})

    whole_model, whole = FakeModel(), CallbackList(stateful_callbacks())
    killed_model, killed = FakeModel(), CallbackList(stateful_callbacks())
    resumed_model, resumed = FakeModel(), CallbackList(stateful_callbacks())
    for hooks, model in ((whole, whole_model), (killed, killed_model), (resumed, resumed_model)):
        hooks.set_model(model)
        for callback in hooks:
            if not isinstance(callback, ModelCheckpoint):
                callback.on_train_begin()
    run(whole, whole_model, range(11))
    run(killed, killed_model, range(5))
    save_checkpoint(tmp_path / "c.kernelearn", killed_model, killed)
    load_checkpoint(tmp_path / "c.kernelearn", resumed_model, resumed)
    resumed_model.optimizer.learning_rate = killed_model.optimizer.learning_rate
    run(resumed, resumed_model, range(5, 11))
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_equal(other.get_state(), one.get_state())
    assert resumed_model.optimizer.learning_rate == whole_model.optimizer.learning_rate < 0.5
    assert resumed_model.stop_training
    for hooks in (whole, resumed):
        next(iter(hooks)).on_train_end()
    assert resumed_model.weight.tolist() == whole_model.weight.tolist() == [5.0, 5.0]


def test_a_best_epoch_before_the_kill_is_still_the_best(tmp_path):
    killed, resumed = (attach(EarlyStopping("loss", patience=9, restore_best_weights=True)) for _ in range(2))
    killed.on_train_begin()
    killed.model.weight = np.full(2, 3.0)
    killed.on_epoch_end(0, {"loss": 0.1})
    save_checkpoint(tmp_path / "c.kernelearn", killed.model, [killed])
    resumed.on_train_begin()
    load_checkpoint(tmp_path / "c.kernelearn", resumed.model, [resumed])
    resumed.model.weight = np.full(2, 4.0)
    resumed.on_epoch_end(1, {"loss": 0.2})
    resumed.on_train_end()
    assert resumed.model.weight.tolist() == [3.0, 3.0]


def test_a_run_that_was_told_to_stop_stays_stopped(tmp_path):
    model, other = FakeModel(), FakeModel()
    model.stop_training = True
    save_checkpoint(tmp_path / "c.kernelearn", model)
    load_checkpoint(tmp_path / "c.kernelearn", other)
    assert other.stop_training is True


def test_batches_are_counted_on_after_a_kill(tmp_path):
    killed, resumed = (attach(ModelCheckpoint(str(tmp_path / "m"), save_freq=5)) for _ in range(2))
    for batch in range(3):
        killed.on_train_batch_end(batch, {"loss": 1.0})
    resumed.set_state(killed.get_state())
    resumed.on_train_batch_end(3, {"loss": 1.0})
    assert resumed.model.saved == []
    resumed.on_train_batch_end(4, {"loss": 1.0})
    assert len(resumed.model.saved) == 1


def test_states_that_nobody_takes_are_named(tmp_path):
    model = FakeModel()
    save_checkpoint(tmp_path / "c.kernelearn", model, [History(), EarlyStopping()])
    with pytest.warns(UserWarning, match="not there now: EarlyStopping"):
        load_checkpoint(tmp_path / "c.kernelearn", model, [History(), ReduceLROnPlateau()])


def test_another_kernelearn_file_is_no_checkpoint(tmp_path):
    from kernelearn.formats import native

    native.write(tmp_path / "m.kernelearn", {"kind": "model"}, {})
    with pytest.raises(FormatError, match="not a training checkpoint"):
        load_checkpoint(tmp_path / "m.kernelearn", FakeModel())


def backup_in(folder, **arguments):
    params = {key: arguments.pop(key) for key in ("steps", "batch_size") if key in arguments}
    callback = attach(BackupAndRestore(folder, **arguments), **params)
    return callback


def train_to(callback, epoch, value):
    callback.model.fit_state = SimpleNamespace(epoch=epoch, batch=0)
    callback.model.weight = np.full(2, value)
    callback.on_epoch_end(epoch - 1)


def test_a_backup_brings_the_model_back(tmp_path):
    first = backup_in(tmp_path / "b")
    first.on_train_begin()
    train_to(first, 3, 7.0)
    first.close()
    second = backup_in(tmp_path / "b")
    second.on_train_begin()
    assert second.model.fit_state.epoch == 3
    assert second.model.weight.tolist() == [7.0, 7.0]
    second.on_train_end()
    assert not (tmp_path / "b").exists()


def test_a_backup_can_stay_and_foreign_files_stay(tmp_path):
    callback = backup_in(tmp_path / "b", delete_checkpoint=False)
    callback.on_train_begin()
    train_to(callback, 1, 1.0)
    callback.on_train_end()
    assert os.listdir(tmp_path / "b") == ["checkpoint.kernelearn"]
    (tmp_path / "b" / "notes.txt").write_text("mine")
    callback = backup_in(tmp_path / "b")
    callback.on_train_begin()
    callback.on_train_end()
    assert os.listdir(tmp_path / "b") == ["notes.txt"]


def test_backups_by_batches(tmp_path):
    callback = backup_in(tmp_path / "b", save_freq=3)
    callback.on_train_begin()
    existed = []
    for batch in range(7):
        callback.on_train_batch_end(batch)
        existed.append(callback.path.exists())
        callback.path.unlink(missing_ok=True)
    callback.on_epoch_end(0)
    assert existed == [False, False, True, False, False, True, False]
    assert not callback.path.exists()


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_backup_is_reported_before_training(tmp_path):
    callback = backup_in(tmp_path / "b")
    callback.on_train_begin()
    train_to(callback, 3, 7.0)
    damage(callback.path)
    with pytest.raises(FormatError, match=r"To train from the beginning, delete .*checkpoint"):
        backup_in(tmp_path / "b").on_train_begin()


def test_a_second_backup_stands_in_for_a_damaged_one(tmp_path):
    callback = backup_in(tmp_path / "b", double_checkpoint=True)
    callback.on_train_begin()
    for epoch in (1, 2, 3):
        train_to(callback, epoch, float(epoch))
    damage(callback.path)
    other = backup_in(tmp_path / "b", double_checkpoint=True)
    with pytest.warns(UserWarning, match="Going on from the state before it"):
        other.on_train_begin()
    assert other.model.weight.tolist() == [2.0, 2.0]
    other.path.unlink()
    third = backup_in(tmp_path / "b", double_checkpoint=True)
    third.on_train_begin()
    assert third.model.weight.tolist() == [2.0, 2.0]
    third.on_train_end()
    assert not (tmp_path / "b").exists()


def test_too_little_space_for_backups_is_reported_before_training(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_500_000))
    callback = backup_in(tmp_path / "b")
    callback.on_train_begin()
    callback.close()
    callback.model.weight = np.zeros(10**6)
    with pytest.raises(StorageError, match=r"needs 17\.0 MB, but only 1\.5 MB are free"):
        callback.on_train_begin()
