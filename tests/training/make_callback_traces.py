"""Write golden/callback_traces.json: what Keras's own callbacks do with given values, epoch by epoch.

Run with an environment that has Keras 3.15.1: `python tests/training/make_callback_traces.py`.
All values are multiples of 1/64, exact in float32 and float64, so that ties are ties everywhere.
"""

import json
import random
from pathlib import Path

import keras
from keras.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau

TARGET = Path(__file__).parent / "golden" / "callback_traces.json"
EPOCHS = 16


class FakeModel:
    """As much of a model as the callbacks touch; its only weight is the number of the epoch."""

    def __init__(self):
        self.stop_training = False
        self.weights_now = None
        self.restored = None
        self.saved = []
        self.optimizer = type("FakeOptimizer", (), {"learning_rate": 0.5})()

    def get_weights(self):
        return [self.weights_now]

    def set_weights(self, weights):
        self.restored = weights[0]

    def save(self, filepath, overwrite=True):
        self.saved.append(filepath)


def random_values(rng, mode):
    """A noisy improvement with plateaus."""
    level, values = 64, []
    for _ in range(EPOCHS):
        level += rng.choice([0, 0, 0, 1, -1, -2, -6])
        values.append(level / 64 if mode == "min" else 2 - level / 64)
    return values


def early_stopping(rng):
    mode = rng.choice(["min", "max"])
    arguments = {
        "monitor": "val_loss",
        "mode": mode,
        "patience": rng.choice([0, 1, 3, 6, 9]),
        "min_delta": rng.choice([0, 1 / 64, 4 / 64]),
        "baseline": rng.choice([None, None, 50 / 64 if mode == "min" else 2 - 50 / 64]),
        "restore_best_weights": rng.choice([True, False]),
        "start_from_epoch": rng.choice([0, 0, 3]),
    }
    values, callback, model = random_values(rng, mode), EarlyStopping(**arguments), FakeModel()
    callback.set_model(model)
    callback.on_train_begin()
    trace = []
    for epoch, value in enumerate(values):
        model.weights_now = epoch
        callback.on_epoch_end(epoch, {"val_loss": value})
        trace.append([callback.wait, callback.best, callback.stopped_epoch, model.stop_training])
        if model.stop_training:
            break
    callback.on_train_end()
    return {"arguments": arguments, "values": values, "trace": trace, "restored": model.restored}


def reduce_on_plateau(rng):
    mode = rng.choice(["min", "max"])
    arguments = {
        "monitor": "val_loss",
        "mode": mode,
        "factor": rng.choice([0.5, 0.25]),
        "patience": rng.choice([0, 1, 2, 3]),
        "min_delta": rng.choice([0, 1 / 64, 4 / 64]),
        "cooldown": rng.choice([0, 1, 2]),
        "min_lr": rng.choice([0, 0.0625]),
    }
    values, callback, model = random_values(rng, mode), ReduceLROnPlateau(**arguments), FakeModel()
    callback.set_model(model)
    callback.on_train_begin()
    trace = []
    for epoch, value in enumerate(values):
        logs = {"val_loss": value}
        callback.on_epoch_end(epoch, logs)
        state = [callback.wait, callback.best, callback.cooldown_counter]
        trace.append([*state, logs["learning_rate"], model.optimizer.learning_rate])
    return {"arguments": arguments, "values": values, "trace": trace}


def model_checkpoint(rng):
    mode = rng.choice(["min", "max"])
    is_by_batch = rng.random() < 0.5
    arguments = {
        "monitor": "val_loss",
        "mode": mode,
        "save_best_only": rng.choice([True, False]),
        "save_freq": rng.choice([1, 2, 3, 5, 7]) if is_by_batch else "epoch",
        "initial_value_threshold": rng.choice([None, None, 58 / 64 if mode == "min" else 2 - 58 / 64]),
    }
    filepath = "{epoch:02d}-{batch}.keras" if is_by_batch else "{epoch:02d}-{val_loss:.3f}.keras"
    values, callback, model = random_values(rng, mode), ModelCheckpoint(filepath, **arguments), FakeModel()
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch)
        callback._set_monitor_op()
        for batch in range(4):
            callback.on_train_batch_end(batch, {"val_loss": value + (3 - batch) / 64})
        callback.on_epoch_end(epoch, {"val_loss": value})
    return {"filepath": filepath, "arguments": arguments, "values": values, "saved": model.saved}


def main():
    rng = random.Random(5)
    makers = {"EarlyStopping": early_stopping, "ReduceLROnPlateau": reduce_on_plateau}
    makers["ModelCheckpoint"] = model_checkpoint
    traces = {name: [make(rng) for _ in range(30)] for name, make in makers.items()}
    text = json.dumps({"keras": keras.__version__, **traces}, separators=(",", ":"))
    TARGET.write_text(text.replace('},{"', '},\n{"') + "\n")


if __name__ == "__main__":
    main()
