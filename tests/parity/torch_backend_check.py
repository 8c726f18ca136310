"""A function or module on the engine against PyTorch: both against PyTorch in float64.

`compared(module, inputs)` runs forward and backward three times and says how far both float32 runs are from
the third; `Share` says how much of a module ran in regions of ours.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kernelearn.torch.backend import compile_graph
from kernelearn.torch.inside import ConvNd


@dataclass
class Share:
    """What became of the operators of all graphs.

    Attributes:
        graphs: how many graphs there were.
        taken: operators in regions.
        left: name of an operator that stayed with PyTorch -> why.
        refused: why whole graphs stayed.
    """

    graphs: int = 0
    taken: int = 0
    left: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def listen(self, found: Any) -> None:
        self.graphs += 1
        if isinstance(found, Exception):
            self.refused.append(f"{type(found).__name__}: {found}")
            return
        self.taken += sum(len(list(_calls(region))) for region in found.regions)
        self.left |= dict(found.reasons)


def _calls(region: Any) -> Any:
    """The operators of a region."""
    return (
        n for n in region.module.graph.nodes if n.op == "call_function" and "getitem" not in str(n.target)
    )


def on_engine(module: Any, share: Share) -> Any:
    """The module compiled for the engine: every region, worth it or not."""
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = 64

    def backend(graph: Any, example_inputs: Any) -> Any:
        return compile_graph(graph, example_inputs, {"every": True}, share.listen)

    return torch.compile(module, backend=backend)


@dataclass
class Found:
    """Results, gradients of inputs and of weights, and buffers, by name, in float64.

    Attributes:
        terms: gradient of a bias -> the sum of the sizes of its terms: behind a bias before a normalisation
            they cancel, and where the normalised numbers hardly vary they are hundreds of times as large.
    """

    numbers: dict[str, Tensor]
    terms: dict[str, float] = field(default_factory=dict)

    def errors(self, truth: Found) -> dict[str, float]:
        """Name -> largest distance from the truth, by the truth's size, or by that of all gradients / 100.

        Biases before a normalisation have gradients whose terms cancel: they are as exact as the terms.
        """
        assert self.numbers.keys() == truth.numbers.keys()
        found = {}
        all_of = [v.abs().max().item() for n, v in truth.numbers.items() if "gradient" in n and v.numel()]
        least = {True: 0.01 * max(all_of, default=0.0) + 1e-3, False: 1e-3}
        for name, value in self.numbers.items():
            exact = truth.numbers[name]
            assert value.shape == exact.shape, (name, value.shape, exact.shape)
            size = exact.abs().max().item() if exact.numel() else 0.0
            size = max(size, truth.terms.get(name, 0.0))
            away = (value - exact).abs().max().item() if exact.numel() else 0.0
            found[name] = (
                away / (size + least["gradient" in name]) if torch.isfinite(value).all() else float("inf")
            )
        return found


def listed(found: Any) -> list[Tensor]:
    if isinstance(found, dict):
        return listed(list(found.values()))
    if isinstance(found, Tensor):
        return [found]
    return [t for part in found for t in listed(part)] if isinstance(found, list | tuple) else []


def run(module: nn.Module, inputs: list[Tensor], called: Any = None, seed: int = 0) -> Found:
    """One forward and backward pass."""
    inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    module.zero_grad()
    terms: dict[str, float] = {}
    told = [] if called is not None else [*_plain_gradients(module), *_sum_terms(module, terms)]
    torch.manual_seed(seed)
    results = listed((module if called is None else called)(*inputs))
    loss: Any = 0
    for k, y in enumerate(results):
        if y.requires_grad:
            ramp = torch.linspace(-1.0, 1.5, y.numel(), dtype=torch.float64).reshape(y.shape)
            loss = loss + (y * torch.cos(3 * ramp + k).to(y.dtype)).sum()
    if isinstance(loss, Tensor):
        loss.backward()
    for hook in told:
        hook.remove()
    numbers = {f"result {k}": y.detach() for k, y in enumerate(results)}
    numbers |= {f"gradient of input {k}": x.grad for k, x in enumerate(inputs) if x.grad is not None}
    numbers |= {f"gradient of {n}": p.grad for n, p in module.named_parameters() if p.grad is not None}
    numbers |= {f"buffer {n}": b for n, b in module.named_buffers()}
    return Found({name: value.detach().double().clone() for name, value in numbers.items()}, terms)


def _sum_terms(module: nn.Module, terms: dict[str, float]) -> list[Any]:
    """Hooks that add up the sizes of what the gradients of biases of convolutions are sums of."""

    def watch(name: str) -> Any:
        def add(grad: Tensor) -> None:
            sizes = grad.abs().transpose(0, 1).flatten(1).sum(1)
            terms[name] = terms.get(name, 0.0) + sizes.max().item()

        def hook(part: nn.Module, inputs: Any, y: Tensor) -> None:
            if y.requires_grad and y.dim() > 2:
                y.register_hook(add)

        return hook

    named = [(n, part) for n, part in module.named_modules() if isinstance(part, ConvNd)]
    return [part.register_forward_hook(watch(f"gradient of {n}.bias")) for n, part in named]


def _plain_gradients(module: nn.Module) -> list[Any]:
    """Hooks that give batch normalisations their gradients in the plain order of memory.

    Of maps of a single column whose channels lie side by side PyTorch (2.13) reads them in the wrong order.
    """

    def hook(norm: nn.Module, inputs: Any, y: Tensor) -> None:
        if y.requires_grad:
            y.register_hook(lambda grad: grad.contiguous())

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return [part.register_forward_hook(hook) for part in module.modules() if isinstance(part, kinds)]


def compared(
    module: nn.Module, inputs: list[Tensor], seed: int = 0
) -> tuple[dict[str, float], dict[str, float], Share]:
    """Errors of the engine, errors of eager PyTorch, both against float64, and what ran where."""
    doubles = [x.double() if x.is_floating_point() else x for x in inputs]
    truth = run(copy.deepcopy(module).double(), doubles, seed=seed)
    eager = run(copy.deepcopy(module), inputs, seed=seed)
    share, ours = Share(), copy.deepcopy(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = run(ours, inputs, on_engine(ours, share), seed=seed)
    return found.errors(truth), eager.errors(truth), share


def wrong(
    ours: dict[str, float], eager: dict[str, float], factor: float = 16.0, floor: float = 3e-6
) -> list[str]:
    """What is farther from the truth than so many times eager's error, which is small for all."""
    usual = sorted(eager.values())[len(eager) // 2] if eager else 0.0
    bounds = {name: floor + factor * max(eager[name], usual) for name in ours}
    return [
        f"{name}: {error:.1e} (eager {eager[name]:.1e})"
        for name, error in ours.items()
        if not error <= bounds[name]
    ]
