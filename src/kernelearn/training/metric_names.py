"""The names under which losses and metrics are reported: told apart as Keras does, and never one for two."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, count
from typing import TYPE_CHECKING

from kernelearn.errors import ArgumentError
from kernelearn.training.steps.step import LOSS

if TYPE_CHECKING:
    from kernelearn.metrics import Metric
    from kernelearn.training.steps.objectives import Objective


def loss_names(objectives: Sequence[Objective]) -> list[str]:
    """ "loss", and for several outputs "output_loss" for each that has one."""
    several = [f"{o.output}_{LOSS}" for o in objectives if o.loss is not None] if len(objectives) > 1 else []
    return [LOSS, *several]


def named_metrics(objectives: Sequence[Objective]) -> dict[str, Metric]:
    """Name -> metric, output after output, those without sample weights first.

    A second metric of one name is "auc_1"; one of `weighted_metrics` whose name is taken "weighted_auc".

    Raises: ArgumentError for a name that stands for a loss or for a value of validation data.
    """
    taken: dict[str, Metric] = {}
    for objective in objectives:
        for metric in objective.metrics:
            taken[_unused(_full(objective, metric.name), taken)] = metric
    for objective in objectives:
        for metric in objective.weighted:
            name = _full(objective, metric.name)
            if name in taken:
                name = _unused(_full(objective, f"weighted_{metric.name}"), taken)
            taken[name] = metric
    _check(loss_names(objectives), list(taken))
    names = {id(metric): name for name, metric in taken.items()}
    in_order = [metric for o in objectives for metric in (*o.metrics, *o.weighted)]
    return {names[id(metric)]: metric for metric in in_order}


def _full(objective: Objective, name: str) -> str:
    return f"{objective.output}_{name}" if objective.is_one_of_several else name


def _unused(name: str, taken: Collection[str]) -> str:
    """The name, or the first of name_1, name_2, ... that is not taken."""
    numbered = (f"{name}_{number}" for number in count(1))
    return next(found for found in chain([name], numbered) if found not in taken)


def _check(losses: Sequence[str], metrics: Sequence[str]) -> None:
    everything = [*losses, *metrics]
    reserved = {*losses, *(f"val_{name}" for name in everything)}
    for name in metrics:
        if name in reserved:
            raise ArgumentError(
                f"A metric is reported as {name!r}, which is the name of another value: {losses} and all "
                f"names behind 'val_' are taken. Give it another name=, such as {name}_metric."
            )
