"""PyTorch as a contestant: eager, channels_last and compiled steps, inference, single convolutions."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.bench.blueprint import Blueprint, Step, load_weights, make_images
from kernelearn.bench.runners import LEARNING_RATE, MOMENTUM, Prepared, Repeat, digest
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
    if all(step.inputs == (i,) for i, step in enumerate(blueprint.steps)):
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
    nn, attrs = torch.nn, step.attrs
    if step.kind == "conv":
        return _convolution_module(torch, blueprint, step, weights)
    if step.kind == "dense":
        return _dense_module(torch, blueprint, step, weights)
    if step.kind == "batch_norm":
        # Keras counts momentum as the share that is kept, PyTorch as the share that is new.
        module = nn.BatchNorm2d(step.shape[-1], attrs["epsilon"], 1 - attrs["momentum"])
        own = {"gamma": "weight", "beta": "bias"}
        own.update(moving_mean="running_mean", moving_variance="running_var")
        for ours, theirs in own.items():
            _copy(torch, getattr(module, theirs), weights[f"{step.name}/{ours}"])
        return module
    if step.kind == "activation":
        functions = {"relu": lambda: nn.ReLU(inplace=True), "softmax": lambda: nn.Softmax(dim=1)}
        return functions[attrs["function"]]()
    if step.kind == "max_pool":
        return nn.MaxPool2d(tuple(attrs["pool_size"]), tuple(attrs["strides"]))
    if step.kind == "average":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Flatten() if step.kind == "flatten" else _sum_class(torch)()


def _sum_class(torch: Any) -> Any:
    class Sum(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, a: Any, b: Any) -> Any:
            return a + b

    return Sum


def _convolution_module(torch: Any, blueprint: Blueprint, step: Step, weights: dict[str, np.ndarray]) -> Any:
    """NOTE: "same" is symmetric here, as PyTorch's users write it: with stride 2 the window starts one pixel
    earlier than in Keras. The work is the same, the numbers are not.
    """
    attrs = step.attrs
    size = tuple(attrs["kernel_size"])
    padding = tuple((k - 1) // 2 for k in size) if attrs["padding"] == "same" else (0, 0)
    channels = blueprint.shape(step.inputs[0])[-1]
    module = torch.nn.Conv2d(
        channels, step.shape[-1], size, tuple(attrs["strides"]), padding, bias=attrs["use_bias"]
    )
    _copy(torch, module.weight, weights[f"{step.name}/kernel"].transpose(3, 2, 0, 1))
    if attrs["use_bias"]:
        _copy(torch, module.bias, weights[f"{step.name}/bias"])
    return module


def _dense_module(torch: Any, blueprint: Blueprint, step: Step, weights: dict[str, np.ndarray]) -> Any:
    kernel = blueprint.channels_first_rows(step, weights[f"{step.name}/kernel"])
    module = torch.nn.Linear(*kernel.shape, bias=step.attrs["use_bias"])
    _copy(torch, module.weight, kernel.T)
    if step.attrs["use_bias"]:
        _copy(torch, module.bias, weights[f"{step.name}/bias"])
    return module


def _copy(torch: Any, target: Any, values: np.ndarray) -> None:
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _made(torch: Any, task: dict[str, Any], blueprint: Blueprint) -> tuple[Any, Any, Any]:
    """Network, images and labels in the memory format of the task's mode."""
    model = build(torch, blueprint, load_weights(task["weights"]))
    x, y = make_images(blueprint.input_shape, task["batch"], blueprint.classes)
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    if task["mode"] == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    return model, images, torch.from_numpy(y)


def _train(torch: Any, task: dict[str, Any]) -> Prepared:
    """zero_grad, forward, loss, backward, step, on prepared tensors."""
    model, x, y = _made(torch, task, Blueprint.from_dict(task["blueprint"]).logits())
    model.train()
    optimizer = _optimizer(torch, task["optimizer"], model.parameters())
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


def _optimizer(torch: Any, name: str, parameters: Any) -> Any:
    """With the fused update, the fastest that PyTorch has."""
    if name == "sgd":
        return torch.optim.SGD(parameters, LEARNING_RATE[name], momentum=MOMENTUM, fused=True)
    return torch.optim.Adam(parameters, LEARNING_RATE[name], fused=True)


def _predict(torch: Any, task: dict[str, Any]) -> Prepared:
    model, x, _ = _made(torch, task, Blueprint.from_dict(task["blueprint"]))
    model.eval()
    network = torch.compile(model) if task["mode"] == "compile" else model
    precision = _precision(torch, task)

    def step() -> Any:
        with torch.inference_mode(), precision():
            return network(x)

    return Repeat(step, lambda result: digest(result.float().numpy()))


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
