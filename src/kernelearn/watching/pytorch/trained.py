"""A module with its optimiser: weights, gradients, rules and slots, in this library's layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kernelearn.watching.pytorch import rules
from kernelearn.watching.pytorch.names import Names
from kernelearn.watching.seen import Array, SeenModel, SeenRule


class Trained:
    """What is trained, and by what.

    Attributes:
        names: of the module's weights.
        optimizer: of torch.optim, without wrappers.
    """

    def __init__(self, module: Any, optimizer: Any) -> None:
        self.module, self.optimizer = module, rules.plain_optimizer(optimizer)
        self.names = Names(module)
        self._first: dict[int, int] = {}  # id of a parameter -> step behind which it got its first update

    def about(self) -> dict[str, Any]:
        """What the manifest says of the whole run."""
        import torch

        return {
            "model": None,
            "metadata": {"program": f"PyTorch {torch.__version__}", "module": type(self.module).__name__},
            "weights": {path: list(seen.shape) for path, seen in self.names.weights().items()},
            "engine": "PyTorch",
            "policy": None,
        }

    @property
    def learning_rate(self) -> float:
        """Of the next update; those of other groups are multiples of it."""
        return rules.base_rate(self.optimizer)

    def gradients(self) -> dict[str, Array]:
        """Path -> gradient of now, for every weight that has one."""
        found = {}
        for path, tensor in self.names.tensors.items():
            gradient = getattr(tensor, "grad", None)
            if gradient is not None and not gradient.is_sparse:
                found[path] = np.array(self.names.turned(tensor, gradient), np.float32)
        return found

    def model(self, step: int, has_numbers: bool) -> SeenModel:
        """What is known before the update behind a step, once there are gradients."""
        kind, groups = rules.kind_of(self.optimizer), self.optimizer.param_groups
        found: dict[str, SeenRule] = {}
        began: dict[str, int] = {}
        for group in groups:
            for parameter in group["params"]:
                path = self.names.path(parameter)
                if path is not None and parameter.grad is not None:
                    found[path] = self._rule(kind, group, parameter)
                    began[path] = self._begun(step, parameter)
        offset = min(began.values(), default=step)
        for path in [path for path, first in began.items() if first > offset]:
            attrs = {**found[path].attrs, "late": began[path] - offset}
            found[path] = replace(found[path], attrs=attrs)
        optimizer = {"kind": kind, "attrs": rules.attrs_of(self.optimizer, groups[0]), "clipping": None}
        changing = [path for path, tensor in self.names.tensors.items() if _changes(tensor)]
        weights = self.names.weights()
        return SeenModel(weights, found, {**optimizer, "config": None}, changing, offset, has_numbers)

    def _begun(self, step: int, parameter: Any) -> int:
        """The step behind which a parameter got its first update, negative for one before the run.

        Gradient descent does not count: that a parameter has no buffer yet says that its first update comes
        now, and one that was not seen without it got its first before.
        """
        done = rules.updates_before(self.optimizer, parameter)
        if done is not None:
            return step - done
        if rules.is_first(self.optimizer, parameter):
            self._first[id(parameter)] = step
        return self._first.get(id(parameter), -1)

    def _rule(self, kind: str, group: dict[str, Any], parameter: Any) -> SeenRule:
        attrs, rate = rules.attrs_of(self.optimizer, group), self.learning_rate
        multiplier = float(group["lr"]) / rate if rate else 1.0
        slots = {slot: self._slot(parameter, name) for slot, name in rules.slots_of(kind, attrs).items()}
        return SeenRule(kind, {**attrs, "multiplier": multiplier}, slots)

    def _slot(self, parameter: Any, name: str) -> Callable[[], Array]:
        def read() -> Array:
            value = self.optimizer.state.get(parameter, {}).get(name)
            if value is None:  # the optimiser makes its arrays at its first update
                return np.zeros_like(self.names.turned(parameter, parameter))
            return self.names.turned(parameter, value)

        return read


def _changes(tensor: Any) -> bool:
    """Whether training changes it: a parameter that is trained, or a statistic."""
    import torch

    return tensor.requires_grad or not isinstance(tensor, torch.nn.Parameter)
