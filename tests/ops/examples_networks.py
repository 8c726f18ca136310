"""Examples of cross-entropies, normalisations, and pixels moved between space and channels."""

import numpy as np
from scipy import special

from tests.ops.example import NORMAL, POSITIVE, UNIT, Example

LABELS = (np.arange(24).reshape(6, 4) * 7 % 5).astype("int32")
SHARES = POSITIVE / POSITIVE.sum(-1, keepdims=True)
MAPS = np.random.default_rng(6).normal(size=(6, 4, 2, 8)).astype("float32")


def _shuffled(x, b):
    """Pixel by pixel."""
    n, h, w, c = x.shape
    y = np.zeros((n, h * b, w * b, c // (b * b)))
    for i, j, p, q in np.ndindex(h, w, b, b):
        first = (p * b + q) * y.shape[-1]
        y[:, i * b + p, j * b + q] = x[:, i, j, first : first + y.shape[-1]]
    return y


def _first(x):
    return x.transpose(0, 3, 1, 2)


def _block_last(x, b):
    """Channels (rest, block) as channels (block, rest)."""
    return x.reshape(*x.shape[:-1], -1, b * b).swapaxes(-1, -2).reshape(x.shape)


NETWORKS = [
    Example(
        "categorical_crossentropy",
        lambda f, t, x: f(t, x, from_logits=True),
        lambda t, x: -(t * special.log_softmax(x, -1)).sum(-1),
        (SHARES, NORMAL),
        label="logits",
    ),
    Example(
        "categorical_crossentropy",
        lambda f, t, x: f(t, x, axis=1),
        lambda t, x: -(t * np.log(x / x.sum(1, keepdims=True))).sum(1),
        (SHARES, POSITIVE),
    ),
    Example(
        "sparse_categorical_crossentropy",
        lambda f, t, x: f(t, x, from_logits=True),
        lambda t, x: -np.take_along_axis(special.log_softmax(x, -1), t[..., None], -1)[..., 0],
        (LABELS, NORMAL),
    ),
    Example(
        "sparse_categorical_crossentropy",
        lambda f, t, x: f(t[..., None], x),
        lambda t, x: -np.log(np.take_along_axis(x / x.sum(-1, keepdims=True), t[..., None], -1)[..., 0]),
        (LABELS, POSITIVE),
        label="column",
    ),
    Example(
        "binary_crossentropy",
        lambda f, t, x: f(t, 30 * x, from_logits=True),
        lambda t, x: np.logaddexp(0, 30 * x) - 30 * x * t,
        (SHARES, NORMAL),
        label="logits",
    ),
    Example(
        "binary_crossentropy",
        lambda f, t, x: f(t, abs(x)),
        lambda t, x: -t * np.log(abs(x)) - (1 - t) * np.log(1 - abs(x)),
        (SHARES, UNIT),
    ),
    Example(
        "rms_normalization",
        lambda f, x: f(x, np.arange(5.0), -1, 0.5),
        lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.5) * np.arange(5),
    ),
    Example("normalize", lambda f, x: f(x, 1), lambda x: x / np.sqrt((x * x).sum(1, keepdims=True))),
    Example("normalize", lambda f, x: f(x, -1, 1), lambda x: x / abs(x).sum(-1, keepdims=True), label="1"),
    Example("glu", lambda f, x: f(x, 1), lambda x: x[:, :2] * special.expit(x[:, 2:])),
    Example("multi_hot", lambda f, t: f(t, 5), lambda t: np.eye(5)[t].max(1), (LABELS,)),
    Example("depth_to_space", lambda f, x: f(x, 2), lambda x: _shuffled(x, 2), (MAPS,)),
    Example(
        "depth_to_space",
        lambda f, x: f(x, 2, "channels_first"),
        lambda x: _first(_shuffled(_block_last(x.transpose(0, 2, 3, 1), 2), 2)),
        (_first(MAPS).copy(),),
        label="channels first",
    ),
    Example(
        "unfold",
        lambda f, x: f(x, (3, 2), dilation=(1, 1), padding=(1, 0), stride=(2, 1)),
        lambda x: np.stack(
            [
                np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))[:, :, i : i + 3, j : j + 2].reshape(6, -1)
                for i in (0, 2)
                for j in range(1)
            ],
            -1,
        ),
        (_first(MAPS)[:, :3].copy(),),
    ),
    Example(
        "psnr",
        lambda f, x, y: f(x, y, 2.0),
        lambda x, y: np.asarray(10 * np.log10(4 / ((x - y) ** 2).mean())),
        (NORMAL, UNIT),
        False,
    ),
    Example("space_to_depth", lambda f, x: f(_call_shuffle(x), 2), lambda x: x, (MAPS,)),
    Example(
        "space_to_depth",
        lambda f, x: f(x, 2, "channels_first"),
        lambda x: x.reshape(6, 8, 2, 2, 1, 2).transpose(0, 1, 3, 5, 2, 4).reshape(6, 32, 2, 1),
        (_first(MAPS).copy(),),
        label="channels first",
    ),
]


def _call_shuffle(x):
    from kernelearn import ops

    return ops.depth_to_space(x, 2)
