"""More expressions of random compositions: what moves, chooses and multiplies, and parts of networks."""

import numpy as np

from tests.parity.compositions import Draw, template


@template("reshape")
def _reshape(d: Draw) -> str:
    v = d.of_rank(1)
    size = int(np.prod(d.shape(v)))
    first = int(d.rng.choice([k for k in range(1, size + 1) if size % k == 0]))
    return f"ops.reshape({v}, {d.choice((first, size // first), (first, -1), (-1, size // first, 1), (-1,))})"


@template("transpose")
def _transpose(d: Draw) -> str:
    v = d.of_rank(1)
    axes = tuple(int(a) for a in d.rng.permutation(len(d.shape(v))))
    return f"ops.transpose({v}, axes={axes})" if d.flip() else f"ops.transpose({v})"


@template("moveaxis")
def _moveaxis(d: Draw) -> str:
    v = d.of_rank(2)
    return f"ops.moveaxis({v}, {d.axis(v)}, {d.axis(v)})"


@template("swapaxes")
def _swapaxes(d: Draw) -> str:
    v = d.of_rank(2)
    return f"ops.swapaxes({v}, {d.axis(v)}, {d.axis(v)})"


@template("expand_dims")
def _expand(d: Draw) -> str:
    v = d.of_rank(0, 3)
    rank = len(d.shape(v)) + 1
    return f"ops.expand_dims({v}, {int(d.rng.integers(-rank, rank))})"


@template("squeeze")
def _squeeze(d: Draw) -> str:
    v = d.value(lambda a: 1 in a.shape[1:])
    return f"ops.squeeze({v}, axis={d.rng.choice([k for k, s in enumerate(d.shape(v)) if s == 1 and k])})"


@template("concatenate")
def _concatenate(d: Draw) -> str:
    v = d.of_rank(1)
    axis = d.axis(v)
    w = d.value(lambda a: a.shape == d.shape(v))
    return f"ops.concatenate([{v}, ops.sin({w}), {d.constant(d.shape(v))}], axis={axis})"


@template("stack")
def _stack(d: Draw) -> str:
    v = d.of_rank(0, 3)
    rank = len(d.shape(v)) + 1
    return f"ops.stack([{v}, ops.cos({v})], axis={int(d.rng.integers(-rank, rank))})"


@template("unstack")
def _unstack(d: Draw) -> str:
    v = d.of_rank(1)
    return f"sum((k + 1) * p for k, p in enumerate(ops.unstack({v}, axis={d.axis(v)})))"


@template("split")
def _split(d: Draw) -> str:
    v = d.value(lambda a: a.ndim > 0 and any(s > 1 for s in a.shape))
    axis = int(d.rng.choice([k for k, s in enumerate(d.shape(v)) if s > 1]))
    cut = int(d.rng.integers(1, d.shape(v)[axis]))
    first = d.choice(f"[{cut}]", str(d.shape(v)[axis]))
    return f"ops.split({v}, {first}, axis={axis})[{d.choice(0, -1)}]"


@template("get_item")
def _get_item(d: Draw) -> str:
    v = d.of_rank(1)
    parts = [_index(d, s) for s in d.shape(v)[: int(d.rng.integers(1, len(d.shape(v)) + 1))]]
    extra = d.choice([], [], ["..."], ["None"])
    return f"{v}[{', '.join(parts + extra)}]"


def _index(d: Draw, size: int) -> str:
    low, high = sorted(int(k) for k in d.rng.choice(size + 1, 2, replace=False))
    return d.choice(f"{low}:{high}", "::2", str(int(d.rng.integers(-size, size))), ":", "-1:")


@template("slice")
def _slice(d: Draw) -> str:
    v = d.of_rank(1)
    start = tuple(int(d.rng.integers(s)) for s in d.shape(v))
    sizes = tuple(int(d.rng.integers(1, s - b + 1)) for s, b in zip(d.shape(v), start))
    return f"ops.slice({v}, {start}, {sizes})"


@template("slice_update")
def _slice_update(d: Draw) -> str:
    v = d.of_rank(1)
    w = d.value(lambda a: a.ndim == len(d.shape(v)) and all(m <= n for m, n in zip(a.shape, d.shape(v))))
    start = tuple(int(d.rng.integers(n - m + 1)) for m, n in zip(d.shape(w), d.shape(v)))
    return f"ops.slice_update({v}, {start}, {w})"


@template("pad")
def _pad(d: Draw) -> str:
    v = d.of_rank(1)
    widths = tuple(tuple(int(k) for k in d.rng.integers(0, 2, 2)) for _ in d.shape(v))
    return f"ops.pad({v}, {widths})"


@template("pad:reflect")
def _pad_reflect(d: Draw) -> str:
    v = d.value(lambda a: a.ndim == 3 and a.shape[-1] > 1)  # PyTorch has no other
    return f"ops.pad({v}, ((0, 0), (0, 0), {d.choice((1, 0), (0, 1), (1, 1))}), mode='reflect')"


@template("flip")
def _flip(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.flip({v}, axis={d.axes(v)})"


@template("roll")
def _roll(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.roll({v}, {d.choice(-2, 1, 3)}, axis={d.axis(v)})"


@template("repeat")
def _repeat(d: Draw) -> str:
    v = d.of_rank(1, 3)
    return f"ops.repeat({v}, 2, axis={d.axis(v)})"


@template("tile")
def _tile(d: Draw) -> str:
    v = d.of_rank(1, 3)
    return f"ops.tile({v}, {tuple(int(k) for k in d.rng.integers(1, 3, len(d.shape(v))))})"


@template("broadcast_to")
def _broadcast_to(d: Draw) -> str:
    v = d.of_rank(0, 3)
    return f"ops.broadcast_to({v}, {(2, *d.shape(v))})"


@template("ravel")
def _ravel(d: Draw) -> str:
    return f"ops.ravel({d.value()})"


@template("meshgrid")
def _meshgrid(d: Draw) -> str:
    a, b = d.of_rank(1, 1), d.of_rank(1, 1)
    return f"ops.meshgrid({a}, {b}, indexing={d.choice('xy', 'ij')!r})[{d.choice(0, 1)}]"


@template("diagonal")
def _diagonal(d: Draw) -> str:
    return f"ops.diagonal({d.of_rank(2)}, offset={d.choice(0, 0, 0)})"


@template("tril")
def _tril(d: Draw) -> str:
    return f"ops.{d.choice('tril', 'triu')}({d.of_rank(2)}, k={d.choice(-1, 0, 1)})"


@template("matmul")
def _matmul(d: Draw) -> str:
    v = d.of_rank(1)
    inner = d.shape(v)[-1]
    other = d.choice([inner], [inner, 3], [2, inner, 3] if len(d.shape(v)) == 2 else [inner, 2])
    return d.choice(f"ops.matmul({v}, {d.constant(other)})", f"{v} @ {d.constant(other)}", _gram(d, v))


def _gram(d: Draw, v: str) -> str:
    return f"ops.matmul({v}, ops.swapaxes({v}, -1, -2))" if len(d.shape(v)) > 1 else f"ops.matmul({v}, {v})"


@template("dot")
def _dot(d: Draw) -> str:
    v = d.of_rank(1, 3)
    return f"ops.dot({v}, {d.constant((d.shape(v)[-1], 2))})"


@template("tensordot")
def _tensordot(d: Draw) -> str:
    v = d.of_rank(2, 3)
    w = d.value(lambda a: a.ndim == 2 and a.shape[0] == d.shape(v)[-1])
    return d.choice(f"ops.tensordot({v}, {w}, axes=1)", f"ops.tensordot({v}, {w}, axes=[[-1], [0]])")


@template("einsum")
def _einsum(d: Draw) -> str:
    v = d.of_rank(1, 3)
    letters = "abc"[: len(d.shape(v))]
    out = "".join(s for s in d.rng.permutation(list(letters + "z")) if s != letters[-1])
    w = d.constant((d.shape(v)[-1], 2))
    mine = f"ops.einsum('{letters},{letters[-1]}z->{out}', {v}, {w})"
    return mine if d.flip() else f"ops.einsum('{letters},{letters}->{letters[0]}', {v}, ops.sin({v}))"


@template("outer")
def _outer(d: Draw) -> str:
    return f"ops.outer({d.of_rank(1, 1)}, {d.of_rank(1, 2)})"


@template("take")
def _take(d: Draw) -> str:
    v = d.of_rank(1, 3)
    axis = d.axis(v)
    where = d.rng.integers(0, d.shape(v)[axis], d.choice((3,), (2, 2), ()))
    return f"ops.take({v}, {d.constant((), where.astype('int32'))}, axis={axis})"


@template("take_along_axis")
def _take_along(d: Draw) -> str:
    v = d.of_rank(1)
    axis = d.axis(v)
    x = d.distinct(v)
    return f"ops.take_along_axis({v}, ops.argsort({x}, axis={axis}), axis={axis})"


@template("sort")
def _sort(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.sort({d.distinct(v)}, axis={d.axis(v)})"


@template("top_k")
def _top_k(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.top_k({d.distinct(v)}, {int(d.rng.integers(1, d.shape(v)[-1] + 1))})[0]"


@template("one_hot")
def _one_hot(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.sum({v} * ops.one_hot(ops.argmax({d.distinct(v)}, axis=-1), {d.shape(v)[-1]}), axis=-1)"


@template("argmin")
def _argmin(d: Draw) -> str:
    v = d.of_rank(1)
    return f"{v} * ops.cast(ops.expand_dims(ops.argmin({d.distinct(v)}, axis=0), 0), 'float64')"


@template("segment_sum")
def _segment_sum(d: Draw) -> str:
    v = d.of_rank(1, 3)
    ids = np.sort(d.rng.integers(0, 3, d.shape(v)[0])).astype("int32")
    return f"ops.segment_sum({v}, {d.constant((), ids)}, num_segments=3)"


@template("scatter_update")
def _scatter_update(d: Draw) -> str:
    v = d.of_rank(2, 2)
    rows = d.rng.permutation(d.shape(v)[0])[:1].astype("int32").reshape(1, 1)
    return f"ops.scatter_update({v}, {d.constant((), rows)}, 2.0 * {v}[:1])"


@template("conv")
def _conv(d: Draw) -> str:
    v = d.value(lambda a: a.ndim in (3, 4))
    rank = len(d.shape(v)) - 2
    kernel = d.constant((*[int(d.rng.integers(1, 3))] * rank, d.shape(v)[-1], 2))
    return f"ops.conv({v}, {kernel}, strides={d.choice(1, 2)}, padding='same', data_format='channels_last')"


@template("average_pool")
def _average_pool(d: Draw) -> str:
    v = d.value(lambda a: a.ndim == 4 and min(a.shape[1:3]) > 1)
    return f"ops.average_pool({v}, 2, strides={d.choice(1, 2)}, padding='valid', data_format='channels_last')"


@template("max_pool")
def _max_pool(d: Draw) -> str:
    v = d.value(lambda a: a.ndim == 4 and min(a.shape[1:3]) > 1)
    return f"ops.max_pool({d.distinct(v)}, 2, strides=1, padding='valid', data_format='channels_last')"


@template("shape")
def _shape(d: Draw) -> str:
    v = d.of_rank(1)
    return f"ops.sum({v}, axis=0) / ops.shape({v})[0]"


@template("ones_like")
def _ones_like(d: Draw) -> str:
    v = d.value()
    return f"{v} + 0.5 * ops.{d.choice('ones_like', 'zeros_like')}({v})"


@template("arange")
def _arange(d: Draw) -> str:
    v = d.of_rank(1)
    return f"{v} * ops.cast(ops.arange({d.shape(v)[-1]}), 'float64')"
