"""Random functional models of ours with every layer that PyTorch has, and options that it says otherwise."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kernelearn import Input, Model, layers

NAMED = ("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "tanh")
NAMED += ("softplus", "softsign", "hard_sigmoid", "hard_silu")


def random_model(seed: int) -> Model:
    """A model of two to five random blocks, some joined with what they began with, and a head."""
    r = random.Random(seed)
    rank = r.choice((1, 2, 2, 2, 3))
    sizes = tuple(r.randint(5, {1: 20, 2: 12, 3: 7}[rank]) for _ in range(rank))
    start = Input((*sizes, r.randint(1, 4)))
    x = start
    for _ in range(r.randint(2, 5)):
        y = _block(r, x)
        if y.shape == x.shape and r.random() < 0.5:
            y = r.choice((layers.Add, layers.Multiply, layers.Maximum, layers.Average))()([x, y])
        elif y.shape[:-1] == x.shape[:-1] and r.random() < 0.3:
            y = layers.Concatenate()([x, y])
        x = y
    return Model(start, _head(r, rank, x))


@dataclass
class Choices:
    """What a block is made from: maps `x` of some axes, and what was drawn for a block of any kind."""

    r: random.Random
    x: Any
    padding: str
    activation: str | None

    @property
    def rank(self) -> int:
        return len(self.x.shape) - 2

    @property
    def is_small(self) -> bool:
        return min(self.x.shape[1:-1]) < 3

    def each(self, low: int, high: int) -> tuple[int, ...]:
        """A number for each axis."""
        return tuple(self.r.randint(low, high) for _ in range(self.rank))

    def layer(self, name: str, *arguments: Any, **options: Any) -> Any:
        """The layer of this name for so many axes, on x: "Conv{}D" is Conv2D."""
        return getattr(layers, name.format(self.rank))(*arguments, **options)(self.x)


def _conv(c: Choices) -> Any:
    channels = c.x.shape[-1]
    groups = c.r.choice((1, channels))
    if c.r.random() < 0.5:
        window = {"strides": c.each(1, 2)}
    else:
        window = {"dilation_rate": 1 if c.is_small else c.each(1, 2)}
    return c.layer(
        "Conv{}D",
        groups * c.r.randint(1, 3),
        c.each(1, 2) if c.padding == "valid" else c.each(1, 4),
        padding=c.padding,
        groups=groups,
        activation=c.activation,
        use_bias=c.r.random() < 0.7,
        bias_initializer="random_normal",
        **window,
    )


def _depthwise(c: Choices) -> Any:
    if c.rank == 3:
        return _conv(c)
    options = {"depth_multiplier": c.r.randint(1, 2), "strides": c.r.randint(1, 2)}
    return c.layer("DepthwiseConv{}D", 2, padding=c.padding, **options)


def _separable(c: Choices) -> Any:
    if c.rank == 3:
        return _conv(c)
    return c.layer("SeparableConv{}D", c.r.randint(1, 4), 3, padding="same", activation=c.activation)


def _transposed(c: Choices) -> Any:
    if max(c.x.shape[1:-1]) > 16:
        return c.x
    strides = c.each(1, 2)
    extra = c.r.choice((None, tuple(c.r.randint(0, s - 1) for s in strides)))
    options = {"output_padding": extra, "activation": c.activation}
    return c.layer("Conv{}DTranspose", c.r.randint(1, 3), c.each(1, 4), strides, c.padding, **options)


def _pool(c: Choices) -> Any:
    size = c.each(1, 2) if c.padding == "valid" else c.each(1, 3)
    return c.layer(c.r.choice(("MaxPooling{}D", "AveragePooling{}D")), size, c.each(1, 3), c.padding)


def _norm(c: Choices) -> Any:
    """Normalisations, and the layers whose weights or axes follow the shape of what they get."""
    r = c.r
    made = (
        layers.BatchNormalization(momentum=0.8, epsilon=r.choice((1e-3, 1e-5)), scale=r.random() < 0.7),
        layers.BatchNormalization(axis=1),
        layers.LayerNormalization(axis=list(range(-r.randint(1, c.rank + 1), 0))),
        layers.GroupNormalization(groups=r.choice((1, -1))),
        layers.PReLU(shared_axes=list(range(1, c.rank + 1)), alpha_initializer="random_normal"),
        layers.LeakyReLU(),
        layers.ReLU(max_value=r.choice((1.0, 6.0))),
        layers.ELU(0.7),
        layers.Softmax(r.choice((-1, 1))),
        layers.Dense(3, activation=c.activation),
        layers.Dropout(0.2),
    )
    return r.choice(made)(c.x)


def _shape(c: Choices) -> Any:
    """What moves numbers, or scales them."""
    widths = tuple((c.r.randint(0, 1), c.r.randint(0, 2)) for _ in range(c.rank))
    made: tuple[Callable[[], Any], ...] = (
        lambda: c.layer("ZeroPadding{}D", widths if c.rank > 1 else widths[0]),
        lambda: c.layer("UpSampling{}D", 2) if max(c.x.shape[1:-1]) < 10 else c.x,
        lambda: c.layer("Permute", (*range(2, c.rank + 2), 1)),
        lambda: c.layer("Rescaling", 0.5, 0.1),
        lambda: c.x * 2.0 - 1.0,
    )
    return c.r.choice(made)()


# Kinds of blocks, convolutions twice: as often as each is drawn.
BLOCKS = (_conv, _conv, _depthwise, _separable, _transposed, _pool, _norm, _shape)


def _block(r: random.Random, x: Any) -> Any:
    padding = "same" if min(x.shape[1:-1]) < 3 else r.choice(("same", "valid"))
    make = r.choice(BLOCKS)
    return make(Choices(r, x, padding, activation=r.choice((None, *NAMED))))


def _head(r: random.Random, rank: int, x: Any) -> Any:
    kind = r.choice(("flatten", "flatten", "average", "max", "maps"))
    if kind == "maps":
        return layers.Activation("tanh")(x)
    if kind == "flatten":
        x = layers.Dropout(0.1)(layers.Flatten()(x))
        if r.random() < 0.5:
            x = layers.BatchNormalization()(x)
    else:
        x = getattr(layers, f"Global{kind.title()}Pooling{rank}D")(keepdims=False)(x)
    return layers.Dense(3, activation="softmax")(layers.Dense(5, activation="relu")(x))
