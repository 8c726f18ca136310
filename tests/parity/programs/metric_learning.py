"""Losses over pairs and batches, teachers, experts."""

from typing import Any

import numpy as np

from tests.parity.programs import classes, normal, pictures, program


def _encoder(lib: Any) -> Any:
    layers = lib.layers
    return lib.Sequential(
        [
            lib.Input((8, 8, 2)),
            layers.Conv2D(4, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


def _pairs() -> tuple[list[np.ndarray], np.ndarray]:
    return [normal(6, 8, 8, 2), normal(6, 8, 8, 2, seed=2)], classes(6, 2).astype("float64")[:, None]


@program("Siamese network", "shared encoder, contrastive loss", _pairs)
def siamese(lib: Any) -> Any:
    ops, encoder = lib.ops, _encoder(lib)
    left, right = lib.Input((8, 8, 2)), lib.Input((8, 8, 2))
    distance = ops.sqrt(ops.sum(ops.square(encoder(left) - encoder(right)), axis=-1, keepdims=True) + 1e-7)

    def contrastive(y_true, y_pred):
        return ops.mean(
            y_true * ops.square(y_pred) + (1 - y_true) * ops.square(ops.maximum(2 - y_pred, 0)), axis=-1
        )

    model = lib.Model([left, right], distance)
    model.compile(lib.optimizers.SGD(0.05), contrastive)
    return model


@program("triplets", "three inputs, margin", lambda: ([normal(6, 8, 8, 2, seed=s) for s in range(3)], None))
def triplets(lib: Any) -> Any:
    ops = lib.ops

    class Triplets(lib.Model):
        def __init__(self):
            super().__init__()
            self.encoder = _encoder(lib)

        def call(self, inputs):
            return ops.stack([self.encoder(x) for x in inputs], axis=1)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            anchor, same, other = ops.unstack(y_pred, axis=1)
            near, far = (ops.sum(ops.square(anchor - z), axis=-1) for z in (same, other))
            return ops.mean(ops.relu(near - far + 0.5))

    model = Triplets()
    model.compile(lib.optimizers.Adam(0.01))
    return model


@program("supervised contrast", "all pairs of a batch: `matmul(z, transpose(z))`", pictures)
def supervised_contrast(lib: Any) -> Any:
    ops = lib.ops

    def loss(labels, z):
        z = z / ops.sqrt(ops.sum(ops.square(z), axis=-1, keepdims=True) + 1e-9)
        labels = ops.reshape(labels, (-1, 1))
        others = 1.0 - ops.eye(ops.shape(z)[0], dtype="float64")
        alike = ops.cast(ops.equal(labels, ops.transpose(labels)), "float64") * others
        logits = ops.matmul(z, ops.transpose(z)) / 0.5
        scores = logits - ops.log(ops.sum(ops.exp(logits) * others, axis=1, keepdims=True))
        return -ops.sum(alike * scores, axis=1) / ops.maximum(ops.sum(alike, axis=1), 1.0)

    model = _encoder(lib)
    model.compile(lib.optimizers.SGD(0.1), loss)
    return model


@program("SimCLR", "two views, temperature, labels by `arange`", lambda: (_pairs()[0], None))
def simclr(lib: Any) -> Any:
    ops = lib.ops

    class SimClr(lib.Model):
        def __init__(self):
            super().__init__()
            self.encoder = _encoder(lib)

        def build(self, shape):
            self.heat = self.add_weight(shape=(), initializer="ones", name="heat")

        def call(self, views):
            a, b = (self.encoder(view) for view in views)
            a, b = (z / ops.sqrt(ops.sum(ops.square(z), axis=-1, keepdims=True) + 1e-9) for z in (a, b))
            return ops.matmul(a, ops.transpose(b)) * self.heat

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            own = ops.arange(ops.shape(y_pred)[0])
            ways = (y_pred, ops.transpose(y_pred))
            each = [ops.sparse_categorical_crossentropy(own, logits, from_logits=True) for logits in ways]
            return ops.mean(each[0] + each[1]) / 2

    model = SimClr()
    model.compile(lib.optimizers.Adam(0.01))
    return model


@program("distillation", "a frozen teacher in the loss", pictures)
def distillation(lib: Any) -> Any:
    ops = lib.ops

    class Distiller(lib.Model):
        def __init__(self):
            super().__init__()
            self.teacher, self.student = _encoder(lib), _encoder(lib)
            self.teacher.trainable = False

        def call(self, x, training=None):
            return self.student(x, training=training)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            wanted = ops.softmax(self.teacher(x, training=False) / 3.0)
            soft = -ops.sum(wanted * ops.log_softmax(y_pred / 3.0), axis=-1)
            hard = ops.sparse_categorical_crossentropy(y, y_pred, from_logits=True)
            return ops.mean(0.7 * soft * 9.0 + 0.3 * hard)

    model = Distiller()
    model.compile(lib.optimizers.SGD(0.02))
    return model


@program("mixture of experts", "gates over stacked experts, balance loss", pictures)
def experts(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Experts(layers.Layer):
        def __init__(self, count, units, **options):
            super().__init__(**options)
            self.gate = layers.Dense(count, activation="softmax")
            self.experts = [layers.Dense(units, activation="relu") for _ in range(count)]

        def call(self, x):
            gates = self.gate(x)
            share = ops.mean(gates, axis=0)
            self.add_loss(0.1 * ops.sum(share * ops.log(share + 1e-9)))
            return ops.einsum("be,bed->bd", gates, ops.stack([expert(x) for expert in self.experts], axis=1))

    model = lib.Sequential(
        [lib.Input((8, 8, 2)), layers.Flatten(), Experts(3, 6), layers.Dense(3, activation="softmax")]
    )
    model.compile(lib.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


@program("centre loss", "learned centres looked up by label", pictures)
def centres(lib: Any) -> Any:
    ops = lib.ops

    class Centred(lib.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = _encoder(lib), lib.layers.Dense(3)

        def build(self, shape):
            self.centres = self.add_weight(shape=(3, 5), initializer="zeros", name="centres")

        def call(self, x):
            z = self.encoder(x)
            return ops.concatenate([z, self.head(z)], axis=-1)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            z, logits = y_pred[:, :5], y_pred[:, 5:]
            near = ops.sum(ops.square(z - ops.take(self.centres, y, axis=0)), axis=-1)
            return ops.mean(ops.sparse_categorical_crossentropy(y, logits, from_logits=True) + 0.1 * near)

    model = Centred()
    model.compile(lib.optimizers.SGD(0.05))
    return model


@program("ArcFace", "angles between features and classes", pictures)
def arcface(lib: Any) -> Any:
    ops = lib.ops

    def unit(z, axis):
        return z / ops.sqrt(ops.sum(ops.square(z), axis=axis, keepdims=True) + 1e-9)

    class Cosines(lib.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 3), initializer="ones", name="kernel")

        def call(self, x):
            return ops.matmul(unit(x, -1), unit(self.kernel, 0))

    def margin(labels, cosines):
        own = ops.one_hot(ops.reshape(labels, (-1,)), 3)
        angle = ops.arccos(ops.clip(cosines, -0.999, 0.999))
        logits = 4.0 * ops.where(own > 0, ops.cos(angle + 0.2), cosines)
        return -ops.sum(own * ops.log_softmax(logits), axis=-1)

    encoder = _encoder(lib)
    model = lib.Sequential([lib.Input((8, 8, 2)), encoder, Cosines()])
    model.compile(lib.optimizers.SGD(0.1), margin)
    return model


@program("focal loss", "loss class with settings of its own", pictures)
def focal(lib: Any) -> Any:
    ops = lib.ops

    class Focal(lib.losses.Loss):
        def __init__(self, gamma=2.0, **options):
            super().__init__(**options)
            self.gamma = gamma

        def call(self, y_true, y_pred):
            p = ops.sum(ops.one_hot(ops.reshape(y_true, (-1,)), 5) * ops.softmax(y_pred), axis=-1)
            return -((1 - p) ** self.gamma) * ops.log(p + 1e-7)

    model = _encoder(lib)
    model.compile(lib.optimizers.Adagrad(0.05), Focal(gamma=1.5))
    return model
