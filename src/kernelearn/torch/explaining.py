"""What of a model runs on the engine, and what stays with PyTorch and why."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from kernelearn.torch.assembly import Assembled, calls
from kernelearn.torch.backend import compile_graph
from kernelearn.torch.inside import any_number_of_variants
from kernelearn.torch.measuring import Measured
from kernelearn.torch.passes import RegionCall
from kernelearn.torch.translation.region import name_of
from kernelearn.torch.translation.table import reason_of

# Graphs of one function that are compiled before Dynamo gives up, while a model is explained.
_LIMIT = 1000


@dataclass(frozen=True)
class GraphExplanation:
    """One graph of Dynamo's.

    Attributes:
        regions: for each region on the engine the operators of PyTorch that it stands for, in order.
        times: for each what was measured; None where nothing was.
        in_pytorch: (operator, why it stays with PyTorch).
        failure: why the whole graph stays with PyTorch; "" if it does not.
    """

    regions: tuple[tuple[str, ...], ...] = ()
    times: tuple[Measured | None, ...] = ()
    in_pytorch: tuple[tuple[str, str], ...] = ()
    failure: str = ""


@dataclass
class Explanation:
    """What runs where: `print` it.

    Attributes:
        graphs: in the order in which they were met; more than one where Dynamo had to break.
    """

    graphs: list[GraphExplanation] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether one region is the whole model."""
        only = self.graphs[0] if len(self.graphs) == 1 else None
        return only is not None and len(only.regions) == 1 and not only.in_pytorch

    def __str__(self) -> str:
        lines = []
        for number, graph in enumerate(self.graphs, 1):
            lines.append(f"graph {number}: {_counted(len(graph.regions), 'region')} on the engine")
            for names, time in zip(graph.regions, graph.times):
                lines.append(f"  kernelearn: {summed(names)}" + (f" ({time})" if time else ""))
            for (name, reason), count in Counter(graph.in_pytorch).items():
                lines.append(f"  PyTorch: {name}{f' x{count}' if count > 1 else ''}: {reason}")
            if graph.failure:
                lines.append(f"  PyTorch: the whole graph: {graph.failure}")
        return "\n".join(lines) or "No graph was compiled: nothing of the model computes with tensors."


def explain(model: nn.Module, *inputs: Any, measure: bool | None = None) -> Explanation:
    """Say what of a model the backend would run on the engine, and what was measured.

    A copy of the model is called once, as it is (`train()` or `eval()`, with or without gradients, under
    autocast); the model itself, its statistics and PyTorch's random numbers stay as they are.

    Args:
        inputs: what the model is called with.
        measure: as in `optimize`.

    >>> print(explain(torch.nn.Linear(8, 4), torch.ones(2, 8)))  # doctest: +SKIP
    graph 1: 1 region on the engine
      kernelearn: linear
    """
    found: list[Assembled | Exception] = []

    def backend(gm: Any, example_inputs: Any) -> Any:
        return compile_graph(gm, example_inputs, {"measure": measure}, found.append)

    compiled = torch.compile(copy.deepcopy(model), backend=backend)
    with any_number_of_variants(_LIMIT), torch.random.fork_rng(devices=[]):
        compiled(*inputs)
    return Explanation([_explained(result) for result in found])


def _explained(result: Assembled | Exception) -> GraphExplanation:
    if isinstance(result, Exception):
        return GraphExplanation(failure=reason_of(result))
    times = [(region, region.choice.last) for region in result.regions]
    ours = [(region, time) for region, time in times if time is None or not time.is_slower]
    theirs = [
        (summed(_operators(region)), f"measured: {time}") for region, time in times if time and time.is_slower
    ]
    return GraphExplanation(
        tuple(_operators(region) for region, _ in ours),
        tuple(time for _, time in ours),
        (*result.reasons, *theirs),
    )


def _operators(region: RegionCall) -> tuple[str, ...]:
    names = (name_of(node) for node in calls(region.module.graph))
    return tuple(name.removeprefix("aten.").split(".")[0] for name in names if name != "getitem")


def summed(names: tuple[str, ...]) -> str:
    """Names in the order of their first use, with how often each is there."""
    return ", ".join(name if count == 1 else f"{name} x{count}" for name, count in Counter(names).items())


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
