"""PyTorch as a contestant: eager, channels_last and compiled steps, inference, single convolutions."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.bench.nets.blueprint import Blueprint, Step, load_weights
from kernelearn.bench.runners import (
    CHANNELS_LAST,
    LEARNING_RATE,
    MOMENTUM,
    Prepared,
    Repeat,
    channels_first,
    digest,
)
from kernelearn.bench.runners.own import convolution_problem


def load(threads: int) -> Torch:
    """The runner."""
    torch = require("torch", "comparing with PyTorch")
    torch.set_num_threads(threads)
    return Torch(torch)


class Torch:
    """PyTorch."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch

    def versions(self) -> dict[str, str]:
        """Of the package."""
        return {"torch": self._torch.__version__}

    def prepare(self, task: dict[str, Any]) -> Prepared:
        """Build what the task says."""
        makers = {"train": _train, "predict": _predict, "conv": _convolution}
        return makers[task["what"]](self._torch, task)


def build(torch: Any, blueprint: Blueprint, weights: dict[str, np.ndarray]) -> Any:
    """The network as a `torch.nn.Module`, with these weights; images come as (n, c, h, w)."""
    modules = [_module(torch, blueprint, step, weights) for step in blueprint.steps]
    if blueprint.is_chain:
        return torch.nn.Sequential(*modules)
    return _graph_class(torch)(modules, blueprint)


def _graph_class(torch: Any) -> Any:
    class Graph(torch.nn.Module):  # type: ignore[misc, name-defined]
        """Modules with several inputs; what nothing needs any more is let go, as local variables would be."""

        def __init__(self, modules: list[Any], blueprint: Blueprint) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(modules)
            self.wires = [(step.inputs, free) for step, free in zip(blueprint.steps, blueprint.last_uses())]

        def forward(self, x: Any) -> Any:
            values = [x]
            for part, (inputs, free) in zip(self.parts, self.wires):
                values.append(part(*[values[i] for i in inputs]))
                for number in free:
                    values[number] = None
            return values[-1]

    return Graph


def _module(torch: Any, blueprint: Blueprint, step: Step, weights: dict[str, np.ndarray]) -> Any:
    module = _MODULES[step.kind](torch, blueprint, step)
    for ours, (theirs, turned) in _WEIGHTS.get(step.kind, {}).items():
        if f"{step.name}/{ours}" in weights:
            values = weights[f"{step.name}/{ours}"]
            if step.kind == "dense" and ours == "kernel":
                values = blueprint.channels_first_rows(step, values)
            _copy(torch, getattr(module, theirs), turned(values))
    return module


def _convolution_module(torch: Any, blueprint: Blueprint, step: Step) -> Any:
    """NOTE: "same" is symmetric here, as PyTorch's users write it: with stride 2 the window starts one pixel
    earlier than in Keras where sizes are even. The work is the same, the numbers are not.
    """
    attrs, rank = step.attrs, blueprint.rank(step)
    size, channels = tuple(attrs["kernel_size"]), blueprint.shape(step.inputs[0])[-1]
    holes = tuple(attrs.get("dilation_rate", (1,) * rank))
    padding = tuple((k - 1) * d // 2 for k, d in zip(size, holes)) if attrs["padding"] == "same" else 0
    groups = channels if step.kind == "depthwise" else attrs["groups"]
    make = getattr(torch.nn, f"Conv{rank}d")
    strides, bias = tuple(attrs["strides"]), attrs["use_bias"]
    return make(channels, step.shape[-1], size, strides, padding, holes, groups, bias=bias)


def _transposed_module(torch: Any, blueprint: Blueprint, step: Step) -> Any:
    attrs, channels = step.attrs, blueprint.shape(step.inputs[0])[-1]
    make = getattr(torch.nn, f"ConvTranspose{blueprint.rank(step)}d")
    size, strides = tuple(attrs["kernel_size"]), tuple(attrs["strides"])
    return make(channels, step.shape[-1], size, strides, bias=attrs["use_bias"])


def _batch_norm(torch: Any, blueprint: Blueprint, step: Step) -> Any:
    """Keras counts momentum as the share that is kept, PyTorch as the share that is new."""
    make = getattr(torch.nn, f"BatchNorm{max(blueprint.rank(step), 1)}d")
    return make(step.shape[-1], step.attrs["epsilon"], 1 - step.attrs["momentum"])


def _layer_norm(torch: Any, blueprint: Blueprint, step: Step) -> Any:
    """Over the channels, which other layers of PyTorch want in front."""

    class ChannelNorm(torch.nn.LayerNorm):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return super().forward(x.movedim(1, -1)).movedim(-1, 1)

    return ChannelNorm(step.shape[-1], step.attrs["epsilon"])


def _pool(kind: str) -> Any:
    def make(torch: Any, blueprint: Blueprint, step: Step) -> Any:
        module = getattr(torch.nn, f"{kind}Pool{blueprint.rank(step)}d")
        return module(tuple(step.attrs["pool_size"]), tuple(step.attrs["strides"]))

    return make


def _average(torch: Any, blueprint: Blueprint, step: Step) -> Any:
    nn = torch.nn
    return nn.Sequential(getattr(nn, f"AdaptiveAvgPool{blueprint.rank(step)}d")(1), nn.Flatten())


def _joining(join: Any) -> Any:
    """A module without weights that takes several tensors."""

    def make(torch: Any, blueprint: Blueprint, step: Step) -> Any:
        class Join(torch.nn.Module):  # type: ignore[misc, name-defined]
            def forward(self, *given: Any) -> Any:
                return join(torch, *given)

        return Join()

    return make


def _activation(torch: Any, blueprint: Blueprint, step: Step) -> Any:
    nn = torch.nn
    makers = {
        "relu": lambda: nn.ReLU(inplace=True),
        "softmax": lambda: nn.Softmax(dim=1),
        "tanh": nn.Tanh,
        "gelu": nn.GELU,
    }
    return makers[step.attrs["function"]]()


_MODULES: dict[str, Any] = {
    "conv": _convolution_module,
    "depthwise": _convolution_module,
    "conv_transpose": _transposed_module,
    "dense": lambda torch, b, s: torch.nn.Linear(
        b.shape(s.inputs[0])[-1], s.shape[-1], bias=s.attrs["use_bias"]
    ),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "activation": _activation,
    "max_pool": _pool("Max"),
    "average_pool": _pool("Avg"),
    "average": _average,
    "flatten": lambda torch, b, s: torch.nn.Flatten(),
    "add": _joining(lambda torch, a, b: a + b),
    "concatenate": _joining(lambda torch, *given: torch.cat(given, 1)),
}


def _kernel_last(values: np.ndarray) -> np.ndarray:
    """(..., a, b) as (b, a, ...): a kernel's (c, filters), and a transposed one's (filters, c)."""
    return np.moveaxis(values, (-1, -2), (0, 1))


def _as_is(values: np.ndarray) -> np.ndarray:
    return values


_KERNEL = {"kernel": ("weight", _kernel_last), "bias": ("bias", _as_is)}
_NORM = {"gamma": ("weight", _as_is), "beta": ("bias", _as_is)}
# Kind of step -> our name of a weight -> PyTorch's, and how its axes are turned.
_WEIGHTS: dict[str, dict[str, tuple[str, Any]]] = {
    "conv": _KERNEL,
    "conv_transpose": _KERNEL,
    "dense": _KERNEL,
    "depthwise": {"kernel": ("weight", lambda v: np.moveaxis(v, (-2, -1), (0, 1))), "bias": ("bias", _as_is)},
    "layer_norm": _NORM,
    "batch_norm": {
        **_NORM,
        "moving_mean": ("running_mean", _as_is),
        "moving_variance": ("running_var", _as_is),
    },
}


def _copy(torch: Any, target: Any, values: np.ndarray) -> None:
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _made(torch: Any, task: dict[str, Any], blueprint: Blueprint) -> tuple[Any, Any, Any]:
    """Network, images and labels in the memory format of the task's mode."""
    model = build(torch, blueprint, load_weights(task["weights"]))
    x, y = blueprint.images(task["batch"])
    images = torch.from_numpy(channels_first(x))
    if task["mode"] == "channels_last":
        form = getattr(torch, CHANNELS_LAST[images.ndim - 1])
        model, images = model.to(memory_format=form), images.contiguous(memory_format=form)
    return model, images, torch.from_numpy(y)


def _train(torch: Any, task: dict[str, Any]) -> Prepared:
    """zero_grad, forward, loss, backward, step, on prepared tensors."""
    model, x, y = _made(torch, task, Blueprint.from_dict(task["blueprint"]).logits())
    model.train()
    optimizer = optimizer_of(torch, task, model)
    loss_of = torch.nn.CrossEntropyLoss()
    network = torch.compile(model) if task["mode"] == "compile" else model
    precision = _precision(torch, task)

    def step() -> Any:
        optimizer.zero_grad()
        with precision():
            loss = loss_of(network(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Repeat(step, lambda loss: float(loss.detach()))


def _precision(torch: Any, task: dict[str, Any]) -> Any:
    if task.get("dtype", "float32") == "float32":
        return contextlib.nullcontext
    return lambda: torch.autocast("cpu", dtype=getattr(torch, task["dtype"]))


def optimizer_of(torch: Any, task: dict[str, Any], model: Any) -> Any:
    """With the fused update, the fastest that PyTorch has."""
    rate = task.get("rate", LEARNING_RATE)
    if task["optimizer"] == "sgd":
        return torch.optim.SGD(model.parameters(), rate, momentum=MOMENTUM, fused=True)
    return torch.optim.Adam(model.parameters(), rate, fused=True)


def _predict(torch: Any, task: dict[str, Any]) -> Prepared:
    model, x, _ = _made(torch, task, Blueprint.from_dict(task["blueprint"]))
    model.eval()
    network = torch.compile(model) if task["mode"] == "compile" else model
    precision = _precision(torch, task)

    def step() -> Any:
        with torch.inference_mode(), precision():
            return network(x)

    return Repeat(step, lambda result: digest(result.float().movedim(1, -1).numpy()))


def _convolution(torch: Any, task: dict[str, Any]) -> Prepared:
    """One convolution or gradient by PyTorch's own operators."""
    arrays, _ = convolution_problem(task)
    form = torch.channels_last if task["mode"] == "channels_last" else torch.contiguous_format

    def tensor(name: str, axes: tuple[int, ...]) -> Any:
        values = np.ascontiguousarray(arrays[name].transpose(axes))
        return torch.from_numpy(values).contiguous(memory_format=form)

    held = {name: tensor(name, (3, 2, 0, 1) if name == "kernel" else (0, 3, 1, 2)) for name in arrays}
    stride, padding = task["stride"], task["padding"]
    if task["operator"] == "conv":
        return Repeat(lambda: torch.nn.functional.conv2d(held["x"], held["kernel"], None, stride, padding))
    wants_input = task["operator"] == "conv_grad_input"
    # The operator asks for all three tensors, and reads of the one that is not needed only the shape.
    size, channels, filters = task["size"], task["channels"], task["filters"]
    held.setdefault("x", torch.zeros(task["batch"], channels, size, size).contiguous(memory_format=form))
    held.setdefault("kernel", torch.zeros(filters, channels, 3, 3).contiguous(memory_format=form))
    options = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [wants_input, not wants_input, False])
    gradient = torch.ops.aten.convolution_backward
    return Repeat(lambda: gradient(held["grad"], held["x"], held["kernel"], None, *options))
