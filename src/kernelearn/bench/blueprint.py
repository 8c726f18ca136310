"""A network as plain data, so that every framework can build the same one: layers, connections, FLOPs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError


@dataclass(frozen=True)
class Step:
    """One layer applied to earlier results.

    Attributes:
        kind: "conv", "batch_norm", "activation", "max_pool", "average", "flatten", "dense" or "add".
        name: of the layer; its weights are "name/kernel" and so on.
        inputs: numbers of the results that go in: 0 is the network's input, i the result of step i - 1.
        shape: of the result without images: (h, w, c) or (units,).
        attrs: what else a framework needs to know.
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Blueprint:
    """A classifier of images, its last step a softmax."""

    name: str
    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]

    def shape(self, number: int) -> tuple[int, ...]:
        """Shape of result `number`."""
        return self.steps[number - 1].shape if number else self.input_shape

    @property
    def classes(self) -> int:
        return self.steps[-1].shape[0]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "input_shape": self.input_shape, "steps": [asdict(s) for s in self.steps]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Blueprint:
        """The inverse of `to_dict`, also after a way through JSON."""
        steps = [
            Step(s["kind"], s["name"], tuple(s["inputs"]), tuple(s["shape"]), s["attrs"])
            for s in values["steps"]
        ]
        return cls(values["name"], tuple(values["input_shape"]), tuple(steps))

    def logits(self) -> Blueprint:
        """The same network without the softmax at its end, for losses that contain it."""
        is_softmax = self.steps[-1].attrs.get("function") == "softmax"
        return Blueprint(self.name, self.input_shape, self.steps[:-1] if is_softmax else self.steps)

    def last_uses(self) -> list[list[int]]:
        """Per step the results that nothing needs afterwards."""
        last = {number: i for i, step in enumerate(self.steps) for number in step.inputs}
        return [[n for n, i in last.items() if i == place] for place in range(len(self.steps))]

    def channels_first_rows(self, step: Step, kernel: np.ndarray) -> np.ndarray:
        """The kernel of a dense step for frameworks that flatten images as (c, h, w) and not as (h, w, c)."""
        before = self.steps[step.inputs[0] - 1]
        if before.kind != "flatten":
            return kernel
        h, w, c = self.shape(before.inputs[0])
        return kernel.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(h * w * c, -1)

    def forward_flops(self) -> float:
        """Multiplications and additions of convolutions and dense layers for one image."""
        return sum(self._flops(step) for step in self.steps)

    def training_flops(self) -> float:
        """The same for a training step: forward, and two gradients of each layer; the first layer has one."""
        each = [self._flops(step) for step in self.steps]
        first = next((f for f in each if f), 0.0)
        return 3 * sum(each) - first

    def _flops(self, step: Step) -> float:
        if step.kind not in ("conv", "dense"):
            return 0.0
        window = math.prod(step.attrs.get("kernel_size", ()))
        return 2.0 * window * self.shape(step.inputs[0])[-1] * math.prod(step.shape)


def blueprint_of(model: Any) -> Blueprint:
    """The blueprint of a model of this library, made of the layers that the networks of the zoo have.

    Raises: ArgumentError for a layer that the peers' builders do not know.
    """
    numbers = {id(model.inputs[0]): 0}
    steps: list[Step] = []
    for call in model.calls:
        result, shape = call.outputs[0], tuple(call.outputs[0].shape[1:])
        sources = tuple(numbers[id(tensor)] for tensor in call.inputs)
        for kind, attrs in _parts(call.layer):
            steps.append(Step(kind, call.layer.name, sources, shape, attrs))
            sources = (len(steps),)
        numbers[id(result)] = len(steps)
    return Blueprint(model.name, tuple(model.inputs[0].shape[1:]), tuple(steps))


def _parts(layer: Any) -> list[tuple[str, dict[str, Any]]]:
    """The steps of a layer: itself, and the activation that it contains."""
    kind = type(layer).__name__
    config = layer.get_config()
    if kind not in _ATTRS or (
        kind == "Conv2D" and (config["groups"], config["dilation_rate"]) != (1, [1, 1])
    ):
        raise ArgumentError(
            f"Layer {layer.name!r} ({kind}) cannot be built in the other frameworks; the benchmark knows "
            f"{', '.join(_ATTRS)}, without groups and dilation."
        )
    step, attrs = _ATTRS[kind]
    parts = [(step, attrs(config))]
    inner = config.get("activation", "linear") if step in ("conv", "dense") else "linear"
    return parts if inner == "linear" else [*parts, ("activation", {"function": inner})]


def _taking(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda config: {name: config[name] for name in names}


_ATTRS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "Conv2D": ("conv", _taking("filters", "kernel_size", "strides", "padding", "use_bias")),
    "Dense": ("dense", _taking("units", "use_bias")),
    "BatchNormalization": ("batch_norm", _taking("momentum", "epsilon")),
    "ReLU": ("activation", lambda config: {"function": "relu"}),
    "Activation": ("activation", lambda config: {"function": config["activation"]}),
    "MaxPooling2D": ("max_pool", _taking("pool_size", "strides")),
    "GlobalAveragePooling2D": ("average", lambda config: {}),
    "Flatten": ("flatten", lambda config: {}),
    "Add": ("add", lambda config: {}),
}


def save_weights(model: Any, path: Path) -> None:
    """Write all weights as arrays named by their paths."""
    np.savez(path, **{name: weight.numpy() for name, weight in model.weight_paths().items()})


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """What `save_weights` wrote."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def make_images(shape: Sequence[int], count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The same random images and labels in every process: float32 in [0, 1), int64."""
    rng = np.random.default_rng(0)
    x = rng.random((count, *shape), dtype=np.float32)
    return x, rng.integers(0, classes, count)
