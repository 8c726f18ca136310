"""A small training run as a program of its own, for the tests that kill it and start it again.

Usage: resume_program.py RESULT_FILE BACKUP_FOLDER SAVE_FREQ PAUSE. Prints "batch" after every batch and then
pauses so many seconds: without pauses a run would be over before a busy machine comes to kill it.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from kernelearn import Sequential, layers
from kernelearn.callbacks import (
    BackupAndRestore,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
)
from kernelearn.utils import set_random_seed


def random_digits(count):
    """Images of 8 x 8 whose brightest corner is the class, with much noise."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 4, count)
    x = rng.random((count, 8, 8, 1)).astype("float32")
    for image, label in zip(x, y):
        image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 0.5
    return x, y


def build():
    return Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.RandomTranslation(0.1, 0.1),
            layers.Conv2D(6, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )


def main(result, folder, save_freq, pause):
    def tell(batch, logs):
        print("batch", flush=True)
        time.sleep(pause)

    set_random_seed(11)
    x, y = random_digits(130)
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    watchers = [
        BackupAndRestore(folder, save_freq=save_freq),
        EarlyStopping("val_accuracy", patience=6, restore_best_weights=True),
        LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        CSVLogger(Path(result).with_suffix(".csv")),
        ModelCheckpoint(Path(result).with_suffix(".kernelearn"), "val_loss", save_best_only=True),
        LambdaCallback(on_train_batch_end=tell),
    ]
    history = model.fit(x, y, 16, epochs=16, validation_split=0.2, callbacks=watchers, verbose=0)
    told = json.dumps([history.epoch, history.history])
    np.savez(result, *model.get_weights(), history=told, optimizer_steps=model.optimizer.iterations)


if __name__ == "__main__":
    freq = sys.argv[3]
    main(sys.argv[1], sys.argv[2], freq if freq == "epoch" else int(freq), float(sys.argv[4]))
