"""PyTorch's training loop as a contestant against itself: eager, inductor, and with our engine inside.

A step is `zero_grad`, forward pass, cross-entropy, `backward` and `step` of an optimiser in its fused form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kernelearn._optional import require
from kernelearn.bench.runners import Prepared, Repeat
from kernelearn.bench.runners.pytorch import optimizer_of


@dataclass(frozen=True)
class Mode:
    """How a network is run.

    Attributes:
        backend: of `torch.compile`; None: eager.
        is_arranged: weights lie as our engine reads them.
        is_step: the optimiser inside of the step.
    """

    backend: str | None = None
    is_channels_last: bool = False
    is_arranged: bool = False
    is_step: bool = False


OURS = "kernelearn"
MODES = {
    "eager": Mode(),
    "eager, channels_last": Mode(is_channels_last=True),
    "inductor": Mode("inductor"),
    "inductor, channels_last": Mode("inductor", is_channels_last=True),
    "one argument": Mode(OURS),
    "one argument, channels_last": Mode(OURS, is_channels_last=True),
    "arranged": Mode(OURS, is_channels_last=True, is_arranged=True),
    "whole step": Mode(OURS, is_channels_last=True, is_arranged=True, is_step=True),
}


def load(threads: int) -> TorchModes:
    """The runner."""
    torch = require("torch", "comparing with PyTorch")
    torch.set_num_threads(threads)
    return TorchModes(torch)


class TorchModes:
    """PyTorch, with and without us."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch

    def versions(self) -> dict[str, str]:
        """Of the package."""
        return {"torch": self._torch.__version__}

    def prepare(self, task: dict[str, Any]) -> Prepared:
        """A network of `kernelearn.torch.networks`, and its first steps."""
        maker = {"torch-train": _training, "torch-predict": _prediction}[task["what"]]
        step = maker(self._torch, MODES[task["mode"]], task)
        first = float(step())
        for _ in range(2):
            step()
        return Repeat(step, lambda result: first)


def _made(torch: Any, mode: Mode, task: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The network, images and labels: the same for every mode."""
    from kernelearn.torch import arrange
    from kernelearn.torch.networks import NETWORKS

    torch.manual_seed(0)
    make, size = NETWORKS[task["net"]]
    batch = task["batch"]
    model, x, y = make(), torch.randn(batch, *size), torch.randint(0, 10, (batch,))
    if mode.is_channels_last:
        form = torch.channels_last
        model, x = model.to(memory_format=form), x.to(memory_format=form)
    if mode.is_arranged:
        arrange(model)
    return model, x, y


def _called(torch: Any, mode: Mode, model: Any) -> Any:
    from kernelearn.torch import compile_graph

    if mode.backend is None:
        return model
    # NOTE: the name alone is known where the package is installed, and not where it is only on the path.
    return torch.compile(model, backend=compile_graph if mode.backend == OURS else mode.backend)


def _training(torch: Any, mode: Mode, task: dict[str, Any]) -> Callable[[], Any]:
    from kernelearn.torch import optimize

    model, x, y = _made(torch, mode, task)
    optimizer = optimizer_of(torch, task, model)
    if mode.is_step:
        whole = optimize(model, optimizer)
        return lambda: whole(x, y)
    called, loss_of = _called(torch, mode, model), torch.nn.CrossEntropyLoss()

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of(called(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _prediction(torch: Any, mode: Mode, task: dict[str, Any]) -> Callable[[], Any]:
    model, x, _ = _made(torch, mode, task)
    called = _called(torch, mode, model.eval())

    def step() -> Any:
        with torch.inference_mode():
            return called(x).sum()

    return step
