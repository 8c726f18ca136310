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
from kernelearn.torch.passes import RegionCall
from kernelearn.torch.translation.region import name_of
from kernelearn.torch.translation.table import reason_of

# Graphs of one function that are compiled before Dynamo gives up, while a model is explained.
_LIMIT = 1000


@dataclass(frozen=True)
class GraphExplanation:
    """One graph of Dynamo's.

    Attributes:
        regions: for each region the operators of PyTorch that it stands for, in order.
        in_pytorch: (operator, why it stays with PyTorch).
        failure: why the whole graph stays with PyTorch; "" if it does not.
    """

    regions: tuple[tuple[str, ...], ...] = ()
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
            for names in graph.regions:
                lines.append(f"  kernelearn: {_summed(names)}")
            lines += [f"  PyTorch: {name}: {reason}" for name, reason in graph.in_pytorch]
            if graph.failure:
                lines.append(f"  PyTorch: the whole graph: {graph.failure}")
        return "\n".join(lines) or "No graph was compiled: nothing of the model computes with tensors."


def explain(model: nn.Module, *inputs: Any) -> Explanation:
    """Say what of a model the backend would run on the engine.

    A copy of the model is called once, as it is (`train()` or `eval()`, with or without gradients, under
    autocast); the model itself, its statistics and PyTorch's random numbers stay as they are.

    Args:
        inputs: what the model is called with.

    >>> print(explain(torch.nn.Linear(8, 4), torch.ones(2, 8)))  # doctest: +SKIP
    graph 1: 1 region on the engine
      kernelearn: linear
    """
    found = Explanation()

    def listener(result: Assembled | Exception) -> None:
        found.graphs.append(_explained(result))

    def backend(gm: Any, example_inputs: Any) -> Any:
        return compile_graph(gm, example_inputs, listener=listener)

    compiled = torch.compile(copy.deepcopy(model), backend=backend)
    with torch._dynamo.config.patch(recompile_limit=_LIMIT), torch.random.fork_rng(devices=[]):
        compiled(*inputs)
    return found


def _explained(result: Assembled | Exception) -> GraphExplanation:
    if isinstance(result, Exception):
        return GraphExplanation(failure=reason_of(result))
    return GraphExplanation(tuple(map(_operators, result.regions)), tuple(result.reasons))


def _operators(region: RegionCall) -> tuple[str, ...]:
    names = (name_of(node) for node in calls(region.module.graph))
    return tuple(name.removeprefix("aten.").split(".")[0] for name in names if name != "getitem")


def _summed(names: tuple[str, ...]) -> str:
    """Names in the order of their first use, with how often each is there."""
    return ", ".join(name if count == 1 else f"{name} x{count}" for name, count in Counter(names).items())


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
