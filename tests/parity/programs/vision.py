"""Networks for images, with blocks of the user's own."""

from typing import Any

import numpy as np

from tests.parity.programs import normal, pictures, program

CE = "sparse_categorical_crossentropy"


def _classifier(lib: Any, *middle: Any, rate: float = 0.05) -> Any:
    """Blocks between an input of 8 x 8 x 2 and three classes."""
    layers = lib.layers
    model = lib.Sequential(
        [
            lib.Input((8, 8, 2)),
            *middle,
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(lib.optimizers.SGD(rate, momentum=0.9), CE)
    return model


@program("squeeze and excite", "layer with sublayers made in `build`", pictures)
def squeeze_excite(lib: Any) -> Any:
    class SqueezeExcite(lib.layers.Layer):
        def build(self, shape):
            self.squeeze = lib.layers.Dense(2, activation="relu")
            self.excite = lib.layers.Dense(shape[-1], activation="sigmoid")

        def call(self, x):
            scale = self.excite(self.squeeze(lib.ops.mean(x, axis=(1, 2))))
            return x * scale[:, None, None, :]

    return _classifier(lib, lib.layers.Conv2D(4, 3, activation="relu"), SqueezeExcite())


@program("ConvNeXt block", "depthwise convolution, layer scale, residual", pictures)
def convnext(lib: Any) -> Any:
    layers = lib.layers

    class Block(layers.Layer):
        def __init__(self, width, **options):
            super().__init__(**options)
            self.spatial = layers.DepthwiseConv2D(5, padding="same")
            self.norm = layers.LayerNormalization(epsilon=1e-6)
            self.widen = layers.Dense(2 * width)
            self.narrow = layers.Dense(width)

        def build(self, shape):
            self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones", name="gamma")

        def call(self, x):
            y = lib.ops.gelu(self.widen(self.norm(self.spatial(x))), approximate=False)
            return x + self.gamma * self.narrow(y)

    return _classifier(lib, layers.Conv2D(4, 2, strides=2), Block(4), Block(4))


@program("ConvNeXt V2 block", "global response normalisation by `ops`", pictures)
def convnext_v2(lib: Any) -> Any:
    ops = lib.ops

    class ResponseNorm(lib.layers.Layer):
        def build(self, shape):
            self.gamma = self.add_weight(shape=(shape[-1],), initializer="zeros", name="gamma")
            self.beta = self.add_weight(shape=(shape[-1],), initializer="zeros", name="beta")

        def call(self, x):
            size = ops.sqrt(ops.sum(ops.square(x), axis=(1, 2), keepdims=True) + 1e-9)
            share = size / (ops.mean(size, axis=-1, keepdims=True) + 1e-6)
            return self.gamma * (x * share) + self.beta + x

    return _classifier(lib, lib.layers.Conv2D(4, 3, activation="gelu"), ResponseNorm())


@program("residual blocks", "list of own layers with batch normalisation", pictures)
def residual(lib: Any) -> Any:
    layers = lib.layers

    class Block(layers.Layer):
        def __init__(self, width, **options):
            super().__init__(**options)
            self.norms = [layers.BatchNormalization(), layers.BatchNormalization()]
            self.convs = [layers.Conv2D(width, 3, padding="same") for _ in range(2)]

        def call(self, x, training=False):
            y = x
            for norm, conv in zip(self.norms, self.convs):
                y = conv(lib.ops.relu(norm(y, training=training)))
            return x + y

    return _classifier(lib, layers.Conv2D(4, 3), Block(4), Block(4), rate=0.02)


@program("dense block", "concatenation in a loop", pictures)
def dense_block(lib: Any) -> Any:
    class Grow(lib.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.convs = [lib.layers.Conv2D(2, 3, padding="same", activation="relu") for _ in range(3)]

        def call(self, x):
            for conv in self.convs:
                x = lib.ops.concatenate([x, conv(x)], axis=-1)
            return x

    return _classifier(lib, Grow())


@program("inception block", "branches in a dictionary", pictures)
def inception(lib: Any) -> Any:
    layers = lib.layers

    class Branches(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.ways = {str(k): layers.Conv2D(2, k, padding="same", activation="relu") for k in (1, 3, 5)}

        def call(self, x):
            pooled = lib.ops.average_pool(x, 2, strides=1, padding="same", data_format="channels_last")
            return lib.ops.concatenate([*[way(x) for way in self.ways.values()], pooled], axis=-1)

    return _classifier(lib, Branches())


@program("spatial attention", "mean and maximum over channels", pictures)
def spatial_attention(lib: Any) -> Any:
    ops = lib.ops

    class Look(lib.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.where = lib.layers.Conv2D(1, 3, padding="same", activation="sigmoid")

        def call(self, x):
            seen = [ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)]
            return x * self.where(ops.concatenate(seen, axis=-1))

    return _classifier(lib, lib.layers.Conv2D(4, 3, activation="tanh"), Look())


@program("attention block", "products of matrices and softmax", pictures)
def attention_block(lib: Any) -> Any:
    ops = lib.ops

    class Attend(lib.layers.Layer):
        def __init__(self, width, **options):
            super().__init__(**options)
            self.parts = [lib.layers.Dense(width, use_bias=False) for _ in range(3)]

        def call(self, x):
            height, width, channels = x.shape[1:]
            flat = ops.reshape(x, (-1, height * width, channels))
            q, k, v = [part(flat) for part in self.parts]
            scores = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))) / channels**0.5, axis=-1)
            return x + ops.reshape(ops.matmul(scores, v), (-1, height, width, channels))

    return _classifier(lib, lib.layers.Conv2D(4, 3, strides=2), Attend(4))


@program("MLP-Mixer", "transposed dense layers", pictures)
def mixer(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Mix(layers.Layer):
        def __init__(self, patches, width, **options):
            super().__init__(**options)
            self.norms = [layers.LayerNormalization(), layers.LayerNormalization()]
            self.tokens = [layers.Dense(8, activation="gelu"), layers.Dense(patches)]
            self.channels = [layers.Dense(8, activation="gelu"), layers.Dense(width)]

        def call(self, x):
            y = ops.swapaxes(self.norms[0](x), 1, 2)
            x = x + ops.swapaxes(self.tokens[1](self.tokens[0](y)), 1, 2)
            return x + self.channels[1](self.channels[0](self.norms[1](x)))

    model = lib.Sequential(
        [
            lib.Input((8, 8, 2)),
            layers.Conv2D(6, 4, strides=4),
            layers.Reshape((4, 6)),
            Mix(4, 6),
            Mix(4, 6),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ]
    )
    model.compile(lib.optimizers.Adam(0.01), lib.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


# Keras on JAX attends in float32.
@program("ViT", "patches, class token, positions, attention of several heads", pictures, tolerance=1e-6)
def vit(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Tokens(layers.Layer):
        def __init__(self, patch, width, **options):
            super().__init__(**options)
            self.patch, self.project = patch, layers.Dense(width)
            self.width = width

        def build(self, shape):
            count = (shape[1] // self.patch) * (shape[2] // self.patch)
            self.first = self.add_weight(shape=(1, 1, self.width), initializer="zeros", name="first")
            self.places = self.add_weight(shape=(count + 1, self.width), initializer="zeros", name="places")

        def call(self, x):
            height, width, channels = x.shape[1:]
            p = self.patch
            x = ops.reshape(x, (-1, height // p, p, width // p, p, channels))
            x = ops.reshape(
                ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height * width // p**2, p * p * channels)
            )
            first = ops.broadcast_to(self.first, (ops.shape(x)[0], 1, self.width))
            return ops.concatenate([first, self.project(x)], axis=1) + self.places

    class Encoder(layers.Layer):
        def __init__(self, width, **options):
            super().__init__(**options)
            self.norms = [layers.LayerNormalization(), layers.LayerNormalization()]
            self.attention = layers.MultiHeadAttention(2, width // 2)
            self.mlp = [layers.Dense(2 * width, activation="gelu"), layers.Dense(width)]

        def call(self, x):
            y = self.norms[0](x)
            x = x + self.attention(y, y)
            return x + self.mlp[1](self.mlp[0](self.norms[1](x)))

    class Vit(lib.Model):
        def __init__(self):
            super().__init__()
            self.tokens, self.encoders = Tokens(4, 6), [Encoder(6) for _ in range(2)]
            self.head = layers.Dense(3)

        def call(self, x):
            x = self.tokens(x)
            for encoder in self.encoders:
                x = encoder(x)
            return self.head(x[:, 0])

    model = Vit()
    model.compile(lib.optimizers.AdamW(0.01), lib.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@program("MobileViT block", "unfold, attend within, fold again", pictures)
def mobile_vit(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Block(layers.Layer):
        def __init__(self, width, **options):
            super().__init__(**options)
            self.local, self.back = layers.Conv2D(width, 3, padding="same"), layers.Conv2D(width, 1)
            self.attention = layers.MultiHeadAttention(1, width)

        def call(self, x):
            y = self.local(x)
            height, width, channels = y.shape[1:]
            y = ops.reshape(y, (-1, height // 2, 2, width // 2, 2, channels))
            y = ops.reshape(ops.transpose(y, (0, 2, 4, 1, 3, 5)), (-1, 4, height * width // 4, channels))
            y = y + self.attention(y, y)
            y = ops.reshape(y, (-1, 2, 2, height // 2, width // 2, channels))
            y = ops.reshape(ops.transpose(y, (0, 3, 1, 4, 2, 5)), (-1, height, width, channels))
            return ops.concatenate([x, self.back(y)], axis=-1)

    return _classifier(lib, layers.Conv2D(4, 3, strides=2, padding="same"), Block(4))


def _masks() -> tuple[np.ndarray, np.ndarray]:
    x = normal(4, 8, 8, 2)
    return x, (x[..., :1] > 0.3).astype("float64")


@program("U-Net with Dice loss", "skips of a functional model, loss as function", _masks)
def unet(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    def dice(y_true, y_pred):
        both = ops.sum(y_true * y_pred, axis=(1, 2, 3))
        return 1 - (2 * both + 1) / (ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(y_pred, axis=(1, 2, 3)) + 1)

    x = lib.Input((8, 8, 2))
    high = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    low = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.MaxPooling2D(2)(high))
    up = layers.Conv2DTranspose(4, 2, strides=2)(low)
    y = layers.Conv2D(1, 1, activation="sigmoid")(ops.concatenate([high, up], axis=-1))
    model = lib.Model(x, y)
    model.compile(lib.optimizers.SGD(0.5), dice)
    return model


@program(
    "super-resolution",
    "PixelShuffle by reshape and transpose",
    lambda: (normal(4, 4, 4, 1), normal(4, 8, 8, 1)),
)
def super_resolution(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class PixelShuffle(layers.Layer):
        def __init__(self, factor, **options):
            super().__init__(**options)
            self.factor = factor

        def call(self, x):
            height, width, channels = x.shape[1:]
            r = self.factor
            x = ops.reshape(x, (-1, height, width, r, r, channels // r**2))
            return ops.reshape(
                ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height * r, width * r, channels // r**2)
            )

    x = lib.Input((4, 4, 1))
    y = layers.Conv2D(4, 3, padding="same", activation="tanh")(x)
    y = PixelShuffle(2)(layers.Conv2D(4, 3, padding="same")(y))
    model = lib.Model(x, y)
    model.compile("adam", lambda a, b: ops.mean(ops.sqrt(ops.square(a - b) + 1e-6), axis=-1))
    return model


@program("feature pyramid", "upsampling and sums of symbolic tensors", pictures)
def pyramid(lib: Any) -> Any:
    layers = lib.layers
    x = lib.Input((8, 8, 2))
    fine = layers.Conv2D(4, 3, padding="same", activation="relu")(x * 0.5 - 0.1)
    coarse = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(fine)
    joined = fine + layers.UpSampling2D(2)(coarse)
    y = layers.Dense(3, activation="softmax")(layers.GlobalMaxPooling2D()(joined))
    model = lib.Model(x, y)
    model.compile(lib.optimizers.RMSprop(0.01), CE)
    return model
