"""`activation`: what does the non-linearity behind the convolutions do?"""

from typing import Any

from kernelearn.explain.experiments.base import Experiment
from kernelearn.explain.experiments.networks import small_network
from kernelearn.explain.experiments.problem import Draw, Problem
from kernelearn.explain.experiments.result import ExperimentResult

NONE = "none"
_ABOUT = {
    NONE: "no activation: the network is linear up to the softmax",
    "relu": "max(x, 0)",
    "leaky_relu": "x, or a fraction of it below 0",
    "elu": "x, or exp(x) - 1 below 0",
    "tanh": "from -1 to 1",
    "sigmoid": "from 0 to 1",
    "gelu": "x times the normal distribution function",
    "silu": "x times the sigmoid",
}


class Activation(Experiment):
    """The same network, from the same weights, with different activations behind its convolutions."""

    name = "activation"
    question = "What does the activation behind the convolutions do?"
    baseline = "relu"

    def conditions(self, problem: Problem) -> dict[str, str]:
        return dict(_ABOUT)

    def notes(self, problem: Problem) -> list[str]:
        return ['Pooling is by averages here: a maximum would keep "none" from being linear.']

    def network(self, condition: str, draw: Draw, prepared: Any) -> Any:
        activation = None if condition == NONE else condition
        return small_network(
            draw.input_shape,
            draw.classes,
            activation=activation,
            kernel_initializer="glorot_uniform",
            average=True,
        )

    def answer(self, result: ExperimentResult) -> str:
        best = result.best()
        others = [row for row in result.rows if row.name not in (NONE, result.baseline)]
        against = {row.name: result.compare(row.name).verdict for row in others}
        linear = result.compare(result.baseline, NONE).claim(
            "An activation is needed: ReLU is better than none",
            "No activation is better than ReLU with this budget",
            "ReLU cannot be told from no activation at all with this budget",
        )
        return (
            f"{linear}. Highest mean: {best.name}, {100 * best.summary().mean:.1f} %. Better than ReLU: "
            f"{_listed(against, 'higher')}; worse: {_listed(against, 'lower')}; not told apart from it: "
            f"{_listed(against, 'unclear')}."
        )


def _listed(verdicts: dict[str, str], which: str) -> str:
    return ", ".join(name for name, verdict in verdicts.items() if verdict == which) or "no other"
