"""Trainings whose weights must not depend on processes and threads: python grid.py THREADS CASE...

Prints a line of JSON: {case: {threads: hash of weights and history}}. Each case is a small training; together
they use every optimiser, every loss, statistics of batches of both kinds, what is random, and short batches.
"""

import hashlib
import json
import sys
import warnings

import numpy as np

import kernelearn as kl
from kernelearn import layers, losses, optimizers

ROWS, BATCH, CLASSES, SHARDS = 50, 24, 3, 12  # the last batch has two rows, and most shards none
X = np.random.default_rng(0).random((ROWS, 7, 7, 2), "float32")
LABELS = np.arange(ROWS) % CLASSES
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]
SHARES = np.random.default_rng(1).dirichlet(np.ones(CLASSES), ROWS).astype("float32")
SIGNS = 2 * ONE_HOT - 1
TEXTS = np.random.default_rng(3).integers(1, CLASSES + 1, (ROWS, 2))
WEIGHTS = np.random.default_rng(2).uniform(0.5, 2, ROWS).astype("float32")


def network(normalize=(), synchronized=False, activation="softmax", **unused):
    """A small network with what is asked for."""
    norms = {
        "batch": lambda: layers.BatchNormalization(synchronized=synchronized),
        "layer": layers.LayerNormalization,
        "group": lambda: layers.GroupNormalization(2),
    }
    return kl.Sequential(
        [
            layers.Input((7, 7, 2)),
            layers.RandomFlip(),
            layers.RandomTranslation(0.1, 0.1),
            layers.Conv2D(4, 3, kernel_regularizer="l2", kernel_constraint="max_norm"),
            *(norms[name]() for name in normalize),
            layers.ReLU(),
            layers.SpatialDropout2D(0.2),
            layers.DepthwiseConv2D(3),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(CLASSES, activation=activation),
        ]
    )


def two_outputs(**unused):
    """A network with two outputs, one of which has a branch of its own."""
    x = layers.Input((7, 7, 2))
    hidden = layers.Conv2D(4, 3, activation="relu")(x)
    first = layers.Dense(CLASSES, activation="softmax", name="a")(layers.Flatten()(hidden))
    second = layers.Dense(CLASSES, name="b")(layers.GlobalAveragePooling2D()(hidden))
    return kl.Model(x, [first, second])


def sequence(**unused):
    """A network that gives logits at seven places in a row."""
    rows = [
        layers.Conv2D(CLASSES + 1, (3, 7)),
        layers.ZeroPadding2D((1, 0)),
        layers.Reshape((7, CLASSES + 1)),
    ]
    return kl.Sequential([layers.Input((7, 7, 2)), *rows])


class OwnLoss(kl.Sequential):
    """Trains on a loss of its own."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The fourth power of the error."""
        from kernelearn import ops

        return ops.mean(ops.square(ops.square(ops.subtract(y_pred, y))))


def own_loss(**options):
    """A network that trains on a loss of its own."""
    return OwnLoss(network(**options).layers)


class OwnStep(kl.Sequential):
    """Says itself what a step does: two updates, one of gradients that it changes."""

    def train_step(self, data):
        """What the second update sees are the weights that the first one has made."""
        from kernelearn import ops

        x, y = data
        loss = losses.SparseCategoricalCrossentropy()
        first = kl.minimize(loss(y, self(x, training=True)), self.optimizer, self.trainable_weights)
        compute = kl.value_and_grad(lambda: loss(y, self(x, training=True)), variables=self.trainable_weights)
        second, gradients = compute()
        largest = ops.max(ops.abs(gradients[-1]))
        halved = [gradient / (1.0 + largest) for gradient in gradients]
        self.optimizer.apply_gradients(zip(halved, self.trainable_weights))
        return {"loss": first + second, "largest": largest}


def own_step(**options):
    """A network that says itself what a step does."""
    return OwnStep(network(**options).layers)


BATCH_NORM, SYNCHRONIZED = {"normalize": ("batch",)}, {"normalize": ("batch",), "synchronized": True}
LABELLED = ("sparse_categorical_crossentropy", LABELS)

# Optimiser -> arguments beside its own defaults.
OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "nesterov": True, "clipnorm": 0.5},
    "Adadelta": {},
    "Adafactor": {},
    "Adagrad": {"clipvalue": 0.1},
    "Adam": {"amsgrad": True},
    "AdamW": {"use_ema": True, "ema_overwrite_frequency": 2},
    "Adamax": {},
    "Ftrl": {"l1_regularization_strength": 1e-3},
    "Lamb": {},
    "Lion": {"gradient_accumulation_steps": 2},
    "Muon": {},
    "Nadam": {"global_clipnorm": 1.0},
    "RMSprop": {"centered": True, "momentum": 0.5},
    "ScheduleFreeAdamW": {"warmup_steps": 2},
}


def _optimizer(name):
    return getattr(optimizers, name)(learning_rate=1e-2, **OPTIMIZERS[name])


# Loss -> targets, and the last activation where it is no softmax.
LOSSES = {
    "BinaryCrossentropy": (ONE_HOT, "sigmoid"),
    "BinaryFocalCrossentropy": (ONE_HOT, "sigmoid"),
    "CategoricalCrossentropy": (SHARES,),
    "CategoricalFocalCrossentropy": (ONE_HOT,),
    "CategoricalGeneralizedCrossEntropy": (LABELS,),
    "CategoricalHinge": (ONE_HOT,),
    "Circle": (LABELS,),
    "CosineSimilarity": (SHARES, "linear"),
    "Dice": (ONE_HOT, "sigmoid"),
    "Hinge": (SIGNS, "tanh"),
    "Huber": (SHARES, "linear"),
    "KLDivergence": (SHARES,),
    "LogCosh": (SHARES, "linear"),
    "MeanAbsoluteError": (SHARES, "linear"),
    "MeanAbsolutePercentageError": (SHARES, "linear"),
    "MeanSquaredError": (SHARES, "linear"),
    "MeanSquaredLogarithmicError": (SHARES, "sigmoid"),
    "Poisson": (SHARES,),
    "SparseCategoricalCrossentropy": (LABELS,),
    "SquaredHinge": (SIGNS, "tanh"),
    "Tversky": (ONE_HOT, "sigmoid"),
}


def cases():
    """Name -> (network, its options, optimiser, loss, targets, options of compile, options of fit)."""
    found = {}
    for name in OPTIMIZERS:
        norm = SYNCHRONIZED if name in ("Adam", "SGD") else BATCH_NORM
        found[name] = (network, norm, lambda name=name: _optimizer(name), *LABELLED, {}, {})
    for name, (y, *activation) in LOSSES.items():
        options = {"activation": activation[0] if activation else "softmax"}
        found[name] = (network, options, lambda: "sgd", getattr(losses, name)(), y, {}, {})
    found["CTC"] = (sequence, {}, lambda: "sgd", losses.CTC(), TEXTS, {}, {})
    summed = losses.SparseCategoricalCrossentropy(reduction="sum")
    several = {"a": losses.CategoricalCrossentropy(), "b": losses.MeanSquaredError()}
    mixed, weighted = {"policy": "mixed_bfloat16"}, {"sample_weight": WEIGHTS}
    steps, rounded = {"steps_per_epoch": 2}, {"transport": "bfloat16"}
    found |= {
        "mixed": (network, BATCH_NORM, lambda: "adamw", *LABELLED, mixed, {}),
        "mixed synchronized": (network, SYNCHRONIZED, lambda: "sgd", *LABELLED, mixed, {}),
        "layer norm": (network, {"normalize": ("layer", "group")}, lambda: "adam", *LABELLED, {}, {}),
        "sum": (network, SYNCHRONIZED, lambda: "adam", summed, LABELS, {}, {}),
        "weighted": (network, BATCH_NORM, lambda: "adam", *LABELLED, {}, weighted),
        "classes": (network, {}, lambda: "adam", *LABELLED, {}, {"class_weight": {0: 1.0, 1: 3.0, 2: 0.2}}),
        "unshuffled": (network, {}, lambda: "sgd", *LABELLED, {}, {"shuffle": False, **steps}),
        "tiny batches": (network, SYNCHRONIZED, lambda: "sgd", *LABELLED, {}, {"batch_size": 7}),
        "two outputs": (two_outputs, {}, lambda: "adam", several, {"a": ONE_HOT, "b": SHARES}, {}, {}),
        "own loss": (own_loss, {"activation": "linear"}, lambda: "adam", None, SHARES, {}, {}),
        "own step": (own_step, SYNCHRONIZED, lambda: "adam", *LABELLED, {}, {}),
        "reference": (network, SYNCHRONIZED, lambda: "adam", *LABELLED, {"engine": "reference"}, {}),
        "rounded": (network, SYNCHRONIZED, lambda: "adam", *LABELLED, rounded, {}),
        "rounded in the reference": (
            *(network, BATCH_NORM, lambda: "sgd", *LABELLED),
            *({**rounded, "engine": "reference"}, {}),
        ),
        "as many shards": (network, BATCH_NORM, lambda: "adam", *LABELLED, {"shards": 6}, {}),
        "odd shards": (network, SYNCHRONIZED, lambda: "adam", *LABELLED, {"shards": 13}, {}),
    }
    return found


def hash_of(case):
    """Of weights and history after two epochs."""
    make, options, optimizer, loss, y, compiled, fitted = case
    kl.set_random_seed(1)
    model = make(**options)
    metrics = ["accuracy"] if y is LABELS else None
    model.compile(optimizer(), loss, metrics=metrics, **{"shards": SHARDS, **compiled})
    history = model.fit(X, y, **{"batch_size": BATCH, "epochs": 2, "seed": 3, "verbose": 0, **fitted})
    found = hashlib.sha256(b"".join(array.tobytes() for array in model.get_weights()))
    found.update(repr(sorted(history.history.items())).encode())
    return found.hexdigest()[:16]


def main(counts, names):
    """Hashes of these cases for these numbers of threads."""
    together, known, found = kl.distribute(), cases(), {}
    for name in names:
        of_one = found[name] = {}
        for count in counts:
            kl.set_num_threads(count)
            own = hash_of(known[name])
            same = set(together.all_say(own))
            of_one[str(count)] = own if len(same) == 1 else f"differs between processes: {sorted(same)}"
    if together.rank == 0:
        print("hashes", json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main([int(count) for count in sys.argv[1].split(",")], sys.argv[2:] or list(cases()))
