"""Random convolutional networks in Keras, made of the layers that its files and ours have in common."""

import numpy as np


def data(count, classes, shape=(8, 8, 3), seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *shape)), np.eye(classes)[rng.integers(0, classes, count)]


def small(keras):
    """A network with all that training changes: kernels, biases, moving statistics."""
    la = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            la.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
            la.BatchNormalization(),
            la.MaxPooling2D(),
            la.Flatten(),
            la.Dense(3, bias_constraint="max_norm"),
        ]
    )


class _Maker:
    """Draws layers for one network."""

    def __init__(self, keras, seed):
        self.keras, self.la = keras, keras.layers
        self.rng = np.random.default_rng(seed)
        self.is_random = False

    def one(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def flip(self, share=0.5):
        return self.rng.random() < share

    def rules(self):
        found = {}
        if self.flip(0.3):
            found["kernel_regularizer"] = self.one("l1", "l2", self.keras.regularizers.L1L2(0.01, 0.02))
        if self.flip(0.3):
            found["kernel_constraint"] = self.one("non_neg", "unit_norm", self.keras.constraints.MaxNorm(2.0))
        if self.flip(0.3):
            found["kernel_initializer"] = self.one("he_normal", "lecun_uniform", "orthogonal")
        if self.flip(0.2):
            found["trainable"] = False
        return found

    def activation(self):
        names = [
            "relu",
            "gelu",
            "tanh",
            "sigmoid",
            "silu",
            "elu",
            "softplus",
            "hard_sigmoid",
            None,
            "leaky_relu",
        ]
        if self.flip(0.2):
            return self.one(self.la.LeakyReLU(0.2), self.la.ReLU(6.0), self.la.ELU(0.7))
        return names[self.rng.integers(len(names))]

    def window(self, share=0.4):
        if self.flip(share):
            return {"strides": 2}
        return {"dilation_rate": 2} if self.flip(0.3) else {}

    def convolution(self, x):
        channels = x.shape[-1]
        size, kind = self.one(1, 2, 3, (3, 2)), self.rng.integers(4)
        more = {
            "padding": self.one("same", "valid") if min(x.shape[1:3]) > 6 else "same",
            "use_bias": self.flip(0.7),
        }
        rules = self.rules()
        if kind == 0:
            window = self.window() if isinstance(size, int) else {}
            return self.la.SeparableConv2D(4, size, depth_multiplier=self.one(1, 2), **more, **window)(x)
        if kind == 1:
            return self.la.DepthwiseConv2D(size, depth_multiplier=self.one(1, 2), **more)(x)
        if kind == 2 and min(x.shape[1:3]) < 8:
            return self.la.Conv2DTranspose(4, size, strides=self.one(1, 2), **more, **rules)(x)
        groups = 2 if channels % 2 == 0 and self.flip(0.3) else 1
        layer = self.la.Conv2D(
            4, size, groups=groups, activation=self.activation(), **more, **self.window(), **rules
        )
        return layer(x)

    def norm(self, x):
        la, channels = self.la, x.shape[-1]
        kind = self.rng.integers(4)
        if kind == 0:
            return la.BatchNormalization(scale=self.flip(), center=self.flip(), momentum=self.one(0.9, 0.99))(
                x
            )
        if kind == 1:
            return la.LayerNormalization(axis=self.one(-1, [-1], [1, 2, 3]), scale=self.flip(0.8))(x)
        if kind == 2:
            return la.GroupNormalization(groups=2 if channels % 2 == 0 else channels)(x)
        return la.RMSNormalization()(x)

    def shape(self, x):
        la, is_large = self.la, min(x.shape[1:3]) >= 4
        kind = self.rng.integers(8)
        if kind == 0 and is_large:
            return self.one(la.MaxPooling2D, la.AveragePooling2D)(2, padding=self.one("same", "valid"))(x)
        if kind == 1:
            return la.ZeroPadding2D(self.one(1, (1, 2), ((0, 1), (2, 0))))(x)
        if kind == 2 and is_large:
            return la.Cropping2D(self.one(1, ((0, 1), (1, 0))))(x)
        if kind == 3 and not is_large:
            return la.UpSampling2D(2, interpolation=self.one("nearest", "bilinear"))(x)
        if kind == 4:
            return la.Permute((2, 1, 3))(x)
        if kind == 5:
            return la.Activation(self.one("relu", "mish", "softsign"))(x)
        if kind == 6:
            return self.one(
                la.PReLU(shared_axes=[1, 2]), la.LeakyReLU(), la.ReLU(max_value=4.0), la.Softmax()
            )(x)
        self.is_random = True
        return self.one(
            la.Dropout(0.3), la.GaussianNoise(0.1), la.SpatialDropout2D(0.2), la.GaussianDropout(0.1)
        )(x)

    def merged(self, x):
        la, other = self.la, self.la.Conv2D(x.shape[-1], 1)(x)
        kind = self.rng.integers(5)
        if kind == 0:
            return la.Concatenate()([x, other])
        if kind == 1:
            return x * 0.5 + other
        shared = la.Conv2D(x.shape[-1], 3, padding="same")
        if kind == 2:
            return la.Add()([shared(x), shared(other)])
        if kind == 3:
            return self.one(la.Multiply, la.Maximum, la.Average, la.Subtract)()([other, x])
        return self.keras.ops.maximum(other, x) - self.keras.ops.mean(x, axis=(1, 2), keepdims=True)

    def nested(self, x):
        la, keras = self.la, self.keras
        if self.flip():
            inner = keras.Sequential([keras.Input(x.shape[1:]), la.Conv2D(4, 1), la.BatchNormalization()])
        else:
            start = keras.Input(x.shape[1:])
            inner = keras.Model(
                start, la.Add()([la.Conv2D(4, 1)(start), la.Conv2D(4, 1, activation="relu")(start)])
            )
        result = inner(x)
        return inner(la.Conv2D(x.shape[-1], 1)(result)) if self.flip(0.3) else result

    def head(self, x, classes):
        la = self.la
        flat = self.one(la.Flatten(), la.GlobalAveragePooling2D(), la.GlobalMaxPooling2D())(x)
        if self.flip(0.3):
            sequence = la.Reshape((-1, x.shape[-1]))(x)
            attention = la.MultiHeadAttention(2, 3, use_bias=self.flip())
            flat = la.Concatenate()([flat, la.GlobalAveragePooling1D()(attention(sequence, sequence))])
        return la.Dense(classes, activation=self.one("softmax", "sigmoid", None), **self.rules())(flat)

    def optimizer(self):
        # NOTE: a gradient that is zero but for rounding becomes a whole step where epsilon is small.
        made = self.keras.optimizers
        return self.one(
            lambda: made.SGD(1e-4),
            lambda: made.SGD(1e-4, momentum=0.9),
            lambda: made.Adam(0.001, epsilon=1e-2),
            lambda: made.AdamW(0.001, epsilon=1e-2),
            lambda: made.RMSprop(0.001, epsilon=1e-3),
            lambda: made.Adagrad(0.001),
        )()


def random_network(keras, seed):
    """A compiled model, images, targets, and whether it draws random numbers in training."""
    keras.backend.clear_session()
    maker = _Maker(keras, seed)
    first = maker.one((8, 8, 3), (9, 7, 2), (12, 10, 4))
    start = x = keras.Input(first)
    steps = [maker.convolution, maker.norm, maker.shape, maker.merged, maker.nested]
    for _ in range(int(maker.rng.integers(4, 9))):
        x = steps[maker.rng.integers(len(steps))](x)
    outputs = {"one": maker.head(x, 3)}
    if maker.flip(0.3):
        outputs["two"] = maker.head(x, 2)
    model = keras.Model(start, outputs if len(outputs) > 1 else outputs["one"])
    several = len(outputs) > 1
    loss_weights = {"one": 1.0, "two": 0.5} if several else None
    model.compile(
        maker.optimizer(), {"one": "mse", "two": "mae"} if several else "mse", loss_weights=loss_weights
    )
    images, targets = data(4, 3, first, seed)
    return model, images, {"one": targets, "two": targets[:, :2]} if several else targets, maker.is_random
