"""Processes of which the last one is told something else: python otherwise.py ; prints what all met."""

import numpy as np

import kernelearn as kl
from kernelearn import layers
from kernelearn.parallel import waiting

waiting.PATIENCE = 0.3
together = kl.distribute()
is_odd = together.rank == together.size - 1
x = np.random.default_rng(0).normal(size=(24, 4, 4, 1)).astype("float32")
y = np.arange(24) % 3
X, Y = x[:12], y[:12]


def either(usual, other):
    """What the last process is told differs."""
    return other if is_odd else usual


class Own(kl.Sequential):
    """With a training step of its own."""

    def train_step(self, data):
        images, labels = data
        loss = self.compute_loss(images, labels, self(images, training=True))
        kl.minimize(loss, self.optimizer, self.trainable_weights)
        return {"loss": loss}


def new(kind=kl.Sequential, rate=0.1, momentum=0.0, filters=2, **options):
    kl.set_random_seed(1)
    model = kind(
        [
            layers.Input((4, 4, 1)),
            layers.Conv2D(filters, 3),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )
    loss = kl.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"engine": "reference", "shards": 6, **options}
    model.compile(kl.optimizers.SGD(rate, momentum=momentum), loss, **options)
    return model


def batches(images=X, labels=Y, between=None, model=None, **options):
    """Two updates, of which the second may differ."""
    model = model or new()
    model.train_on_batch(X, Y)
    if between is not None:
        between(model)
    model.train_on_batch(images, labels, **options)


def crossed():
    """Two models that are alike, and not trained in the same order."""
    one, other = new(), new()
    for model in (one, other, either(one, other)):
        model.train_on_batch(X, Y)


def fit(*callbacks, model=None, **options):
    (model or new()).fit(x, y, batch_size=12, epochs=2, verbose=0, callbacks=callbacks, **options)


class Moves(kl.callbacks.Callback):
    """Changes the model behind a batch, on the last process."""

    def __init__(self, change):
        self.change = change

    def on_train_batch_end(self, batch, logs=None):
        if is_odd:
            self.change(self.model)


class MovesAtEnd(Moves):
    on_train_batch_end = kl.callbacks.Callback.on_train_batch_end

    def on_train_end(self, logs=None):
        super().on_train_batch_end(0)


def add(model):
    model.set_weights([weight + 1 for weight in model.get_weights()])


def moved():
    model = new()
    add(model)
    return model


def set_rate(model):
    model.optimizer.learning_rate = 0.5


def freeze(model):
    model.layers[0].trainable = False


# What the last process is told -> what is done.
TOLD = {
    "rows": lambda: batches(X[: either(12, 7)], Y[: either(12, 7)]),
    "images": lambda: batches(either(X, x[12:])),
    "labels": lambda: batches(labels=either(Y, Y[::-1])),
    "weights of images": lambda: batches(sample_weight=either(None, np.arange(12.0))),
    "momentum": lambda: batches(model=new(momentum=either(0.0, 0.9))),
    "network": lambda: batches(model=new(filters=either(2, 3))),
    "shards": lambda: batches(model=new(shards=either(6, 12))),
    "transport": lambda: batches(model=new(transport=either("float32", "bfloat16"))),
    "engine": lambda: batches(model=new(engine=either("reference", "cpu"))),
    "rate": lambda: batches(between=either(None, set_rate)),
    "frozen": lambda: batches(between=either(None, freeze)),
    "set": lambda: batches(between=either(None, add)),
    "crossed": crossed,
    "own images": lambda: batches(either(X, x[12:]), model=new(Own)),
    "own rate": lambda: batches(between=either(None, set_rate), model=new(Own)),
    "stop": lambda: fit(model=new(rate=1e30), terminate_on_nan=either(True, False)),
    "callbacks": lambda: fit(*either([], [kl.callbacks.EarlyStopping("loss")])),
    "schedule": lambda: fit(kl.callbacks.LearningRateScheduler(lambda epoch: either(0.1, 0.2))),
    "set in fit": lambda: fit(Moves(add)),
    "rate in fit": lambda: fit(Moves(set_rate)),
    "frozen in fit": lambda: fit(Moves(freeze)),
    "set at end": lambda: fit(MovesAtEnd(add)),
}
# What it may do alone.
ALLOWED = {
    "seed": lambda: fit(seed=either(3, None)),
    "prints": lambda: fit(*either([kl.callbacks.LambdaCallback(on_epoch_end=lambda *_: None)], [])),
    "names": lambda: [batches(model=model) for model in [new(), *either([], [new()])][-1:]],
    "set by all": lambda: batches(between=add),
    "set before": lambda: batches(model=moved() if is_odd else new()),
    "written": lambda: batches(between=either(None, lambda model: model.set_weights(model.get_weights()))),
}


for name, act in {**TOLD, **ALLOWED}.items():
    met = "nothing"
    try:
        act()
    except kl.errors.KernelearnError as error:
        met = f"{type(error).__name__}: {error}"
    said = together.all_say(met)
    if together.rank == 0:
        print("met", name, said, flush=True)
