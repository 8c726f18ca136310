"""Processes of which one gives up what all do: python giving_up.py SCENARIO [FAULT ...]

Prints what they met.
"""

import hashlib
import os
import signal
import sys
import time

import numpy as np

import kernelearn as kl
from kernelearn import layers
from kernelearn.parallel import waiting

scenario = sys.argv[1]
together = kl.distribute()
rank = together.rank
if os.environ.get("PROGRAM_ON_BOARD"):  # sums of any length are added up in shared memory
    together.board.least = 0
waiting.PATIENCE = 0.3
x = np.random.default_rng(0).normal(size=(48, 6, 6, 1)).astype("float32")
y = np.arange(48) % 3


class Inside(kl.callbacks.Callback):
    """Trains another model behind the first epoch, on one process or on all."""

    def __init__(self, who, train):
        self.who, self.train = who, train

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0 and rank in self.who:
            self.train(new_model())


class Fault(kl.callbacks.Callback):
    """Raises at a hook on one process, the second time; or gets a signal."""

    def __init__(self, hook, who, error):
        self.seen, self.who, self.error = 0, who, error
        setattr(self, hook, self.fail)

    def fail(self, *_, **__):
        self.seen += 1
        if self.seen == 2 and rank == self.who:
            if isinstance(self.error, BaseException):
                raise self.error
            signal.raise_signal(self.error)


def new_model():
    kl.set_random_seed(2)
    model = kl.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(synchronized=True),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", shards=12)
    return model


def fit(model, *callbacks, epochs=2):
    model.fit(
        x,
        y,
        batch_size=16,
        epochs=epochs,
        validation_data=(x, y),
        validation_batch_size=16,
        seed=3,
        verbose=0,
        callbacks=callbacks,
    )


def train_on_batches(model):
    """Two steps; in the second one process fails behind the exchange: others go on, until they meet."""
    model.train_on_batch(x[:16], y[:16])
    add = model.programs.results.add
    if rank == 0:
        model.programs.results.add = refuse
    try:
        model.train_on_batch(x[:16], y[:16])
    finally:
        model.programs.results.add = add
    model.set_weights([weight + 1 for weight in model.get_weights()])


def refuse(*_):
    raise ValueError("no room")


def hash_of(model):
    found = hashlib.sha256(b"".join(array.tobytes() for array in model.get_weights())).hexdigest()
    return found if len(set(together.all_say(found))) == 1 else "differs between processes"


# What goes wrong -> what is done.
FAULTS = {
    "step": lambda m: fit(m, Fault("on_train_batch_end", 1, ValueError("a picture was bad"))),
    "begin": lambda m: fit(m, Fault("on_epoch_begin", 0, ValueError("no room"))),
    "end": lambda m: fit(m, Fault("on_epoch_end", 1, ValueError("a disk is full"))),
    "validation": lambda m: fit(m, Fault("on_test_batch_end", 0, ValueError("no room"))),
    "last": lambda m: fit(m, Fault("on_train_batch_end", 1, ValueError("too late")), epochs=1),
    "interrupt": lambda m: fit(m, Fault("on_train_batch_begin", 0, KeyboardInterrupt())),
    "exit": lambda m: fit(m, Fault("on_train_batch_begin", 1, SystemExit(7))),
    "evaluate": lambda m: m.evaluate(
        x, y, batch_size=8, verbose=0, callbacks=[Fault("on_test_batch_end", 1, ValueError("odd"))]
    ),
    "inside": lambda m: fit(m, Inside([1], fit)),
    "inside batch": lambda m: fit(m, Inside([0], lambda other: other.train_on_batch(x[:16], y[:16]))),
    "inside alike": lambda m: fit(m, Inside(range(together.size), fit)),
    "alike": lambda m: fit(m, Fault("on_epoch_end", rank, ValueError("all"))),
    "batch": train_on_batches,
}

if scenario == "caught":  # by all alike, who go on
    for name in sys.argv[2:] or FAULTS:
        model, met = new_model(), "nothing"
        try:
            FAULTS[name](model)
        except (ValueError, kl.errors.KernelearnError, KeyboardInterrupt, SystemExit) as error:
            met = f"{type(error).__name__}: {error}"
        said = together.all_say(met)
        if rank == 0:
            print("met", name, said)
        if name == "batch":  # weights that differed are those of the first process again
            model.train_on_batch(x[:16], y[:16])
            same = hash_of(model)
            if rank == 0:
                print("batch", "differs" if "differs" in same else "same")
elif scenario == "apart":  # caught by one alone, who does something else
    try:
        FAULTS["step"](new_model())
    except ValueError:
        time.sleep(600)
elif scenario == "ended":  # by one alone, whose script is over
    try:
        FAULTS["step"](new_model())
    except ValueError:
        sys.exit()
elif scenario == "more":  # another number of trainings
    for _ in range(1 + rank):
        fit(new_model())
# Ctrl-C that reaches one process alone.
who = int(scenario.removeprefix("ctrl-c ")) if scenario.startswith("ctrl-c") else -1
model = new_model()
fit(model, Fault("on_train_batch_end", who, signal.SIGINT))
found = hash_of(model)
if rank == 0:
    print("hash", found)
