"""Every error of thirty networks against PyTorch's gradients, in float64.

The forward pass of a training step is run once more by torch.nn.functional, operation by operation; what
autograd then says of each buffer is compared with the errors that paths and columns are made of.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kernelearn import explain
from kernelearn.engine.program import Operation
from kernelearn.explain.passes.replay import Replay, replay_training
from tests.explain.networks import NETWORKS
from tests.explain.test_networks import layers_of, opened, some_units

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
CURVES: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "elu": F.elu,
    "silu": F.silu,
    "swish": F.silu,
}
Tensors = list[torch.Tensor]


def first(x: torch.Tensor) -> torch.Tensor:
    """Channels first, as PyTorch wants them."""
    return torch.movedim(x, -1, 1)


def last(x: torch.Tensor) -> torch.Tensor:
    return torch.movedim(x, 1, -1)


def padded(x: torch.Tensor, padding: Any, value: float = 0.0) -> torch.Tensor:
    """Channels first; the pairs of each axis, the last axis first for torch."""
    return F.pad(x, [n for pair in reversed(padding) for n in pair], value=value)


def conv(x: torch.Tensor, kernel: torch.Tensor, a: Any) -> torch.Tensor:
    rank = x.dim() - 2
    turned = kernel.permute(rank + 1, rank, *range(rank))
    return last(
        CONV[rank](padded(first(x), a["padding"]), turned, None, a["stride"], 0, a["dilation"], a["groups"])
    )


def conv_transpose(x: torch.Tensor, kernel: torch.Tensor, a: Any) -> torch.Tensor:
    """The whole result, of which `padding` is cut off in front and `output_size` kept, with zeros beyond."""
    rank = x.dim() - 2
    turned = kernel.permute(rank + 1, rank, *range(rank))
    full = TRANSPOSED[rank](first(x), turned, None, a["stride"], 0, 0, 1, a["dilation"])
    for axis, ((before, _), size) in enumerate(zip(a["padding"], a["output_size"]), start=2):
        lacking = max(0, before + size - full.shape[axis])
        pairs = [(0, lacking if i == axis else 0) for i in range(2, rank + 2)]
        full = padded(full, pairs).narrow(axis, before, size)
    return last(full)


def max_pool(x: torch.Tensor, a: Any) -> torch.Tensor:
    return last(MAX[x.dim() - 2](padded(first(x), a["padding"], -torch.inf), a["size"], a["stride"]))


def average_pool(x: torch.Tensor, a: Any) -> torch.Tensor:
    """Means over the cells that lie in the map: sums of these by their number."""
    pool, volume = MEAN[x.dim() - 2], float(np.prod(a["size"]))
    inside = torch.ones_like(first(x))
    sums, counts = (
        volume * pool(padded(t, a["padding"]), a["size"], a["stride"]) for t in (first(x), inside)
    )
    return last(sums / counts)


def normalize(x: torch.Tensor, a: Any) -> torch.Tensor:
    mean = x.mean(a["axes"], keepdim=True)
    variance = torch.square(x - mean).mean(a["axes"], keepdim=True)
    return (x - mean) / torch.sqrt(variance + a["epsilon"])


OPERATIONS: Mapping[str, Callable[[Tensors, Any], torch.Tensor]] = {
    "conv": lambda t, a: conv(*t, a),
    "conv_transpose": lambda t, a: conv_transpose(*t, a),
    "dense": lambda t, a: t[0] @ t[1],
    "bias_add": lambda t, a: t[0] + t[1],
    "activation": lambda t, a: CURVES[a["kind"]](t[0]),
    "prelu": lambda t, a: torch.where(t[0] >= 0, t[0], t[0] * t[1]),
    "softmax": lambda t, a: torch.softmax(t[0], a["axis"]),
    "max_pool": lambda t, a: max_pool(t[0], a),
    "average_pool": lambda t, a: average_pool(t[0], a),
    "reduce_max": lambda t, a: torch.amax(t[0], a["axes"], a["keepdims"]),
    "reduce_mean": lambda t, a: torch.mean(t[0], a["axes"], a["keepdims"]),
    "reshape": lambda t, a: t[0].reshape(len(t[0]), *a["shape"][1:]),
    "transpose": lambda t, a: t[0].permute(*a["axes"]),
    "concatenate": lambda t, a: torch.cat(t, a["axis"]),
    "add": lambda t, a: t[0] + t[1],
    "multiply": lambda t, a: t[0] * t[1],
    "normalize": lambda t, a: normalize(t[0], a),
    "affine": lambda t, a: t[0] * t[1] + t[2],
    "pad": lambda t, a: torch.nn.functional.pad(t[0], [n for pair in reversed(a["padding"]) for n in pair]),
}


def gradients(replay: Replay, classes: np.ndarray) -> dict[str, torch.Tensor]:
    """Every buffer of the forward pass as PyTorch computes it, with its gradient."""
    known: dict[str, torch.Tensor] = {}

    def of(name: str) -> torch.Tensor:
        if name not in known:
            known[name] = torch.tensor(replay.value(name), requires_grad=replay.value(name).dtype.kind == "f")
        return known[name]

    for op in replay.program.operations:
        if op.phase != "forward":
            continue
        if op.operator == "loss":
            loss = F.cross_entropy(of(op.inputs[0]), torch.tensor(classes))
            break
        found = dropped(replay, op, of) if op.operator == "dropout" else run(op, of)
        found.retain_grad()
        known[op.outputs[0]] = found
    loss.backward()
    return known


def run(op: Operation, of: Callable[[str], torch.Tensor]) -> torch.Tensor:
    return OPERATIONS[op.operator]([of(name) for name in op.inputs], op.attrs)


def dropped(replay: Replay, op: Operation, of: Callable[[str], torch.Tensor]) -> torch.Tensor:
    """Dropout with the mask that the engine drew."""
    return of(op.inputs[0]) * torch.tensor(replay.value(op.outputs[1]))


@pytest.mark.parametrize("name", NETWORKS)
def test_errors_are_the_gradients_of_pytorch(name: str) -> None:
    model, x, y = opened(name, "float64")
    replay = replay_training(model, x, y)
    theirs = gradients(replay, y)
    compared = 0
    for buffer, tensor in theirs.items():
        ours = replay.gradient(buffer)
        if ours is None or tensor.grad is None or not replay.has_images(buffer):
            continue
        np.testing.assert_allclose(tensor.detach().numpy(), replay.value(buffer), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=1e-9, atol=1e-13)
        compared += 1
    assert compared >= 2


@pytest.mark.parametrize("name", NETWORKS)
def test_paths_begin_at_the_gradients_of_pytorch(name: str) -> None:
    model, x, y = opened(name, "float64")
    replay = replay_training(model, x, y)
    theirs = gradients(replay, y)
    rng = np.random.default_rng(4)
    for layer, shape in layers_of(replay).items():
        grad = theirs[replay.units_of(layer).outputs[0]].grad
        assert grad is not None
        for unit in some_units(shape, rng, 2):
            path = explain.delta(model, layer, x, y, unit[-1], unit[:-1], 1)
            assert path.error == pytest.approx(float(grad[(1, *unit)]), rel=1e-9, abs=1e-13)
            first_hop = path.hops[0]
            assert abs(first_hop.total - float(grad[(1, *unit)])) <= 1e-12 * max(first_hop.size, 1e-3)
