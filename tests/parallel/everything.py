"""What else a script may do in several processes: python everything.py FOLDER ; prints a hash.

An estimator, synchronised statistics, mixed precision, evaluate, predict, callbacks that write and steer.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

import kernelearn as kl
from kernelearn import callbacks, layers

folder = Path(sys.argv[1])
together = kl.distribute()
x = np.random.default_rng(0).random((50, 8, 8, 1), "float32")
y = np.arange(50) % 3
found = hashlib.sha256()


def note(*values):
    """Take arrays and results into the hash."""
    for value in values:
        found.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())


estimator = kl.CNNClassifier(epochs=1, batch_size=16, random_state=0, shards=12).fit(x, y)
note(estimator.predict_proba(x), estimator.score(x, y), *estimator.model_.get_weights())

kl.set_random_seed(together.rank)
model = kl.Sequential(
    [
        layers.Input((8, 8, 1)),
        layers.RandomTranslation(0.1, 0.1),
        layers.Conv2D(4, 3),
        layers.BatchNormalization(synchronized=True),
        layers.ReLU(),
        layers.Dropout(0.2),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
)
loss = "sparse_categorical_crossentropy"
model.compile("adamw", loss, metrics=["accuracy"], shards=12, policy="mixed_bfloat16")
history = model.fit(
    lambda first, step: ((x[i * 10 : i * 10 + 10], y[i * 10 : i * 10 + 10]) for i in range(first, 5, step)),
    epochs=3,
    validation_data=(x[:20], y[:20]),
    seed=4,
    verbose=0,
    callbacks=[
        callbacks.ModelCheckpoint(folder / "best.kernelearn", monitor="val_loss", save_best_only=True),
        callbacks.CSVLogger(folder / "history.csv"),
        callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True),
        callbacks.ReduceLROnPlateau("val_loss", patience=1),
    ],
)
note(sorted(history.history.items()), *model.get_weights())
note(model.evaluate(x, y, verbose=0), model.predict(x, verbose=0))
note(model.train_on_batch(x[:7], y[:7]), *model.get_weights())


class Own(kl.Sequential):
    """A model that says itself what a step does."""

    def train_step(self, data):
        """Two updates."""
        images, classes = data
        for _ in range(2):
            given = kl.losses.SparseCategoricalCrossentropy()(classes, self(images, training=True))
            given = kl.minimize(given, self.optimizer, self.trainable_weights)
        return {"loss": given, **self.compute_metrics(images, classes, self(images))}


own = Own([layers.Input((8, 8, 1)), layers.Dropout(0.3), layers.Flatten(), layers.Dense(3, "softmax")])
own.compile("adam", loss, metrics=["accuracy"], shards=12)
note(sorted(own.fit(x, y, batch_size=16, epochs=1, verbose=0, seed=5).history.items()))
note(own.train_on_batch(x[:7], y[:7]), *own.get_weights())
if together.rank == 0:
    note(*kl.load_model(folder / "best.kernelearn").get_weights())
    print("files", *sorted(path.name for path in folder.iterdir()))
hashes = together.all_say((found if together.rank else hashlib.sha256()).hexdigest())
assert len(set(hashes[1:])) <= 1, "processes differ"
if together.rank == 0:
    print("hash", found.hexdigest())
