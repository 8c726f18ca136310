"""A training that several processes run: python program.py FOLDER [what goes wrong] ; prints a hash."""

import hashlib
import os
import signal
import subprocess
import sys
import threading

import numpy as np

import kernelearn as kl
from kernelearn import layers

folder, fault = sys.argv[1], sys.argv[2:] or ["none"]
if targets := os.environ.get("PROGRAM_TARGETS", "").split():  # one for each process
    os.environ["KERNELEARN_CPU_TARGET"] = targets[int(os.environ["PMI_RANK"])]
together = kl.distribute()
rank = together.rank
if os.environ.get("PROGRAM_ON_BOARD"):  # sums of any length are added up in shared memory
    together.board.least = 0
if os.environ.get("PROGRAM_SEED"):  # weights of the first process count, whatever the others begin with
    kl.set_random_seed(int(os.environ["PROGRAM_SEED"]) + rank)
else:
    kl.set_random_seed(1)

x = np.random.default_rng(0).normal(size=(52, 6, 6, 1)).astype("float32")
y = np.arange(52) % 3
if fault[0] == "data" and rank == 1:
    x[3] += 1
if fault[0] == "labels" and rank == 1:
    y[3] = 7


class Fault(kl.callbacks.Callback):
    """What goes wrong at a step, on one process."""

    steps = 0

    def on_train_batch_begin(self, batch, logs=None):
        if fault[0] == "kill in" and (rank, self.steps) == (int(fault[1]), int(fault[2])):
            # At some moment of this step or the next ones: while it computes, sends, waits or saves.
            timer = threading.Timer(float(fault[3]), os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if fault[0] == "hold" and (rank, self.steps) == (int(fault[1]), int(fault[2])):
            subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {os.getpid()}"])
            os.kill(os.getpid(), signal.SIGSTOP)
        if fault[0] in ("kill", "raise", "stop") and (rank, self.steps) == (int(fault[1]), int(fault[2])):
            if fault[0] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if fault[0] == "stop":
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                raise ValueError("a picture was bad")
        if fault[0] == "weights" and rank == 1 and self.steps == 2:
            self.model.layers[1].set_weights([w + 1 for w in self.model.layers[1].get_weights()])


model = kl.Sequential(
    [
        layers.Input((6, 6, 1)),
        layers.RandomFlip(),
        layers.Conv2D(4, 3),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dropout(0.3),
        layers.Flatten(),
        layers.Dense(3 + (fault[0] == "network" and rank == 1), activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], shards=12)
callbacks = [Fault()]
if folder != "-":
    callbacks.append(kl.callbacks.BackupAndRestore(folder, save_freq=2))
history = model.fit(
    x,
    y,
    batch_size=16,
    epochs=2 + (fault[0] == "epochs" and rank == 1),
    validation_data=(x[:40], y[:40]),
    validation_batch_size=16,
    seed=3,
    verbose=0,
    callbacks=callbacks,
)
found = hashlib.sha256(b"".join(array.tobytes() for array in model.get_weights()))
found.update(repr(sorted(history.history.items())).encode())
alone = model.evaluate(x, y, batch_size=16, verbose=0) if rank == 0 else None  # while others go on
same = set(kl.parallel.exchange().all_say(found.hexdigest()))
if rank == 0:
    assert model.evaluate(x, y, batch_size=16, verbose=0) == alone  # when the others have ended
    print("hash", found.hexdigest() if len(same) == 1 else "differs between processes")
