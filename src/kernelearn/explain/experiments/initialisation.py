"""`initialisation`: what do the first values of the kernels decide?"""

from typing import Any

import numpy as np

from kernelearn.explain.experiments.base import Experiment, ExperimentSettings
from kernelearn.explain.experiments.networks import CONVOLUTIONS, small_network
from kernelearn.explain.experiments.problem import Draw, Problem
from kernelearn.explain.experiments.result import ExperimentResult
from kernelearn.explain.experiments.training import Training
from kernelearn.initializers import Constant

DONOR = "another network"

_INITIALIZERS: dict[str, Any] = {
    "zeros": "zeros",
    "constant 0.05": Constant(0.05),
    "normal 0.05": "random_normal",
    "uniform 0.05": "random_uniform",
    "glorot": "glorot_uniform",
    "he": "he_normal",
    DONOR: "glorot_uniform",
}
_ABOUT = {
    "zeros": "every kernel and the classifier start at 0",
    "constant 0.05": "every weight of kernels and classifier starts at 0.05",
    "normal 0.05": "normal numbers, standard deviation 0.05",
    "uniform 0.05": "uniform numbers in [-0.05, 0.05]",
    "glorot": "uniform, scaled to inputs and outputs",
    "he": "normal, scaled to inputs",
    DONOR: "kernels of a network trained with the same budget on other images; classifier as glorot",
}


class Initialisation(Experiment):
    """The same network from different first values of kernels and classifier; biases start at 0."""

    name = "initialisation"
    question = "How much do the first values of the kernels decide?"
    baseline = "glorot"

    def conditions(self, problem: Problem) -> dict[str, str]:
        return dict(_ABOUT)

    def notes(self, problem: Problem) -> list[str]:
        return [
            f'The network behind "{DONOR}" had as many updates on as many other images: it starts ahead by '
            "that much.",
            'A "different filter" of the first layer differs from every other by more than rounding.',
        ]

    def draw(self, problem: Problem, seed: int, settings: ExperimentSettings) -> Draw:
        return problem.draw(seed, settings.images, settings.test_images, with_others=True)

    def prepare(self, draw: Draw, training: Training, settings: ExperimentSettings) -> Any:
        donor = small_network(draw.input_shape, draw.other_classes, kernel_initializer="glorot_uniform")
        assert draw.other_x is not None and draw.other_y is not None
        training.fit(donor, draw.other_x, draw.other_y, self.budget(settings))
        return donor

    def network(self, condition: str, draw: Draw, prepared: Any) -> Any:
        first = _INITIALIZERS[condition]
        model = small_network(
            draw.input_shape, draw.classes, kernel_initializer=first, classifier_initializer=first
        )
        if condition == DONOR:
            for name in CONVOLUTIONS:
                model.get_layer(name).set_weights(prepared.get_layer(name).get_weights())
        return model

    def measures(self, condition: str, model: Any, draw: Draw, prepared: Any) -> dict[str, float]:
        kernel = model.get_layer(CONVOLUTIONS[0]).kernel.numpy()
        return {"different_filters": different_filters(kernel)}

    def answer(self, result: ExperimentResult) -> str:
        equal = [row for row in result.rows if row.summary("different_filters").mean <= 1]
        random = [row for row in result.rows if row not in equal and row.name != DONOR]
        parts = []
        if equal:
            parts.append(
                f"Filters that start equal stay equal: {_listed(equal)} end with one different filter."
            )
        if random:
            means = [100 * row.summary().mean for row in random]
            parts.append(
                f"Among the random starts the means lie between {min(means):.1f} and {max(means):.1f} % "
                f"({min(random, key=_mean).name} lowest, {max(random, key=_mean).name} highest)."
            )
        donor = result.compare(DONOR).claim(
            "Kernels of another network are a better start than random ones",
            "Kernels of another network are a worse start than random ones",
            "Kernels of another network cannot be told from random ones as a start",
        )
        return " ".join([*parts, f"{donor}."])


def different_filters(kernel: np.ndarray, tolerance: float = 1e-3) -> int:
    """Number of filters of a kernel (kh, kw, channels, filters) that differ from all before them.

    Two filters count as equal if no weight differs by more than `tolerance` of the largest weight.
    """
    filters = kernel.reshape(-1, kernel.shape[-1]).T
    limit = tolerance * float(np.abs(filters).max())
    different: list[np.ndarray] = []
    for one in filters:
        if all(np.abs(one - other).max() > limit for other in different):
            different.append(one)
    return len(different)


def _mean(row: Any) -> float:
    return float(row.summary().mean)


def _listed(rows: list[Any]) -> str:
    return " and ".join(f"{row.name} ({100 * row.summary().mean:.1f} %)" for row in rows)
