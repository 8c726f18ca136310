"""Examples of functions that move numbers, and of `x[...]`; all are linear in their first argument."""

import numpy as np

from tests.ops.example import NORMAL, Example

SQUARE = NORMAL[:, :, :4].copy()
OTHER = np.flip(NORMAL, 0).copy()


def _one(name, call, oracle, is_batched=True, arrays=(NORMAL,), label=""):
    return Example(name, call, oracle, arrays, is_batched=is_batched, label=label)


def _keys():
    rows = np.array([[2, 0], [-1, 2]])
    keys = {
        "slices": np.s_[:, 1:3, ::2],
        "backwards": np.s_[:, ::-1, 4:0:-2],
        "places": np.s_[:, -1, 1],
        "new axes": np.s_[:, None, ..., 0, None],
        "images": np.s_[1:5:2],
        "one image": np.s_[-2],
        "array": np.s_[:, rows, 1:],
        "list": np.s_[..., [0, 3, 3]],
        "pairs": np.s_[[0, -1, 2], [1, 1, -4]],
        "array and place": np.s_[1:3, rows, 2],
    }
    for label, key in keys.items():
        first = key[0] if isinstance(key, tuple) else key
        is_batched = first is Ellipsis or (isinstance(first, slice) and first == slice(None))
        yield _one("get_item", lambda f, x, k=key: f(x, k), lambda x, k=key: x[k], is_batched, label=label)


FAR = ((0, 0), (9, 5), (0, 11))
WIDTHS = ((0, 0), (1, 3), (2, 0))


def _pads():
    for mode in ("constant", "reflect", "symmetric", "edge", "wrap"):
        yield _one(
            "pad", lambda f, x, m=mode: f(x, WIDTHS, m), lambda x, m=mode: np.pad(x, WIDTHS, m), label=mode
        )
    for mode in ("reflect", "symmetric", "wrap"):
        yield _one(
            "pad",
            lambda f, x, m=mode: f(x, FAR, m),
            lambda x, m=mode: np.pad(x, FAR, m),
            label=f"{mode} to and fro",
        )
    yield _one(
        "pad",
        lambda f, x: f(x, 2, constant_values=1.5),
        lambda x: np.pad(x, 2, constant_values=1.5),
        False,
        label="of a number",
    )


SHAPING = [
    *_keys(),
    *_pads(),
    _one("reshape", lambda f, x: f(x, (-1, 20)), lambda x: x.reshape(6, 20)),
    _one("reshape", lambda f, x: f(x, (None, 2, -1)), lambda x: x.reshape(6, 2, 10), label="open"),
    _one("reshape", lambda f, x: f(x, (4, -1)), lambda x: x.reshape(4, 30), False, label="across images"),
    _one("ravel", lambda f, x: f(x), np.ravel, False),
    _one("expand_dims", lambda f, x: f(x, -1), lambda x: x[..., None]),
    _one("expand_dims", lambda f, x: f(x, (0, 2)), lambda x: np.expand_dims(x, (0, 2)), False, label="first"),
    _one("squeeze", lambda f, x: f(x[:, :1], 1), lambda x: x[:, 0]),
    _one("squeeze", lambda f, x: f(x[:, :1, :1]), lambda x: x[:, 0, 0], label="all"),
    _one("atleast_1d", lambda f, x: f(x), np.asarray),
    _one("atleast_2d", lambda f, x: f(x[:, 0, 0]), lambda x: x[None, :, 0, 0], False),
    _one("transpose", lambda f, x: f(x, (0, 2, 1)), lambda x: x.transpose(0, 2, 1)),
    _one("transpose", lambda f, x: f(x), np.transpose, False, label="all"),
    _one("swapaxes", lambda f, x: f(x, 1, -1), lambda x: x.swapaxes(1, 2)),
    _one("moveaxis", lambda f, x: f(x, -1, 1), lambda x: np.moveaxis(x, -1, 1)),
    _one(
        "moveaxis",
        lambda f, x: f(x, (0, 1), (2, 0)),
        lambda x: np.moveaxis(x, (0, 1), (2, 0)),
        False,
        label="two",
    ),
    _one("flip", lambda f, x: f(x, (1, 2)), lambda x: np.flip(x, (1, 2))),
    _one("flip", lambda f, x: f(x), np.flip, False, label="all"),
    *[
        _one("rot90", lambda f, x, k=k: f(x, k, (1, 2)), lambda x, k=k: np.rot90(x, k, (1, 2)), label=str(k))
        for k in (1, 2, 3, 4)
    ],
    _one("roll", lambda f, x: f(x, (1, -2), (1, 2)), lambda x: np.roll(x, (1, -2), (1, 2))),
    _one("roll", lambda f, x: f(x, 7), lambda x: np.roll(x, 7), False, label="all"),
    _one(
        "concatenate",
        lambda f, x, y: f([x, y[:, :, :1]], -1),
        lambda x, y: np.concatenate([x, y[:, :, :1]], -1),
        arrays=(NORMAL, OTHER),
    ),
    _one(
        "concatenate",
        lambda f, x, y: f((x, y)),
        lambda x, y: np.concatenate((x, y)),
        False,
        (NORMAL, OTHER),
        "images",
    ),
    _one("stack", lambda f, x, y: f([x, y], 1), lambda x, y: np.stack([x, y], 1), arrays=(NORMAL, OTHER)),
    _one("hstack", lambda f, x, y: f([x, y]), lambda x, y: np.hstack([x, y]), arrays=(NORMAL, OTHER)),
    _one("vstack", lambda f, x, y: f([x, y]), lambda x, y: np.vstack([x, y]), False, (NORMAL, OTHER)),
    _one("unstack", lambda f, x: f(x, axis=1), lambda x: [x[:, i] for i in range(4)]),
    _one("split", lambda f, x: f(x, 2, 1), lambda x: np.split(x, 2, 1)),
    _one("split", lambda f, x: f(x, [1, -1], 0), lambda x: np.split(x, [1, -1]), False, label="images"),
    _one("array_split", lambda f, x: f(x, 3, 2), lambda x: np.array_split(x, 3, 2)),
    _one("broadcast_to", lambda f, x: f(x[:, :1], (6, 7, 5)), lambda x: np.repeat(x[:, :1], 7, 1), False),
    _one(
        "broadcast_to", lambda f, x: f(x, (2, 6, 4, 5)), lambda x: np.stack([x, x]), False, label="in front"
    ),
    _one("repeat", lambda f, x: f(x, 3, 1), lambda x: np.repeat(x, 3, 1)),
    _one("repeat", lambda f, x: f(x, 2, 0), lambda x: np.repeat(x, 2, 0), False, label="images"),
    _one("repeat", lambda f, x: f(x, [0, 2, 1, 3], 1), lambda x: np.repeat(x, [0, 2, 1, 3], 1), label="each"),
    _one("tile", lambda f, x: f(x, (2, 3)), lambda x: np.tile(x, (2, 3))),
    _one(
        "tile", lambda f, x: f(x, (2, 1, 1, 2)), lambda x: np.tile(x, (2, 1, 1, 2)), False, label="in front"
    ),
    *[
        _one(
            "meshgrid",
            lambda f, x, y, k=k: f(x[0, 0], y[:, 0, 0], indexing=k),
            lambda x, y, k=k: list(np.meshgrid(x[0, 0], y[:, 0, 0], indexing=k)),
            False,
            (NORMAL, OTHER),
            k,
        )
        for k in ("xy", "ij")
    ],
    _one("diag", lambda f, x: f(x[0, 0], -2), lambda x: np.diag(x[0, 0], -2), False),
    _one("diag", lambda f, x: f(x[0], 1), lambda x: np.diag(x[0], 1), False, label="of a matrix"),
    _one("append", lambda f, x, y: f(x, y, 2), lambda x, y: np.append(x, y, 2), arrays=(NORMAL, OTHER)),
    _one("append", lambda f, x, y: f(x, y), np.append, False, (NORMAL, OTHER), "rows"),
    _one(
        "dstack",
        lambda f, x, y: f([x, y[:, :, 0:1]]),
        lambda x, y: np.dstack([x, y[:, :, :1]]),
        arrays=(NORMAL, OTHER),
    ),
    _one("hsplit", lambda f, x: f(x, 2), lambda x: np.hsplit(x, 2)),
    _one("vsplit", lambda f, x: f(x, 3), lambda x: np.vsplit(x, 3), False),
    _one("dsplit", lambda f, x: f(x, [2]), lambda x: np.dsplit(x, [2])),
    _one("fliplr", lambda f, x: f(x), np.fliplr),
    _one("flipud", lambda f, x: f(x), np.flipud, False),
    _one("diagflat", lambda f, x: f(x[0, :2], 1), lambda x: np.diagflat(x[0, :2], 1), False),
    _one("tril", lambda f, x: f(x, 1), lambda x: np.tril(x, 1)),
    _one("triu", lambda f, x: f(x), np.triu),
    _one("slice", lambda f, x: f(x, (0, 1, 2), (6, 2, 3)), lambda x: x[:, 1:3, 2:], False),
    _one(
        "slice_update",
        lambda f, x, y: f(x, (1, 0, 2), y[:2, :, :3]),
        lambda x, y: _set(x, y),
        False,
        (NORMAL, OTHER),
    ),
]


def _set(x, y):
    x = x.copy()
    x[1:3, :, 2:5] = y[:2, :, :3]
    return x
