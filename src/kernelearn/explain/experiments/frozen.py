"""`frozen`: is it the learning of the kernels that matters, or is a classifier on fixed filters enough?"""

from typing import Any

import numpy as np

from kernelearn.explain.experiments.base import Experiment
from kernelearn.explain.experiments.networks import CONVOLUTIONS, freeze, small_network
from kernelearn.explain.experiments.problem import Draw, Problem
from kernelearn.explain.experiments.result import ExperimentResult
from kernelearn.initializers import GaborBank, SobelBank

ALL, DENSE, RANDOM = "train all", "freeze dense", "freeze kernels"
BANK, RANDOM_FIRST = "fixed bank first", "fixed random first"
BANK_FROZEN = "fixed bank, freeze kernels"

_FROZEN = {
    ALL: (),
    DENSE: ("classifier",),
    RANDOM: CONVOLUTIONS,
    BANK: CONVOLUTIONS[:1],
    RANDOM_FIRST: CONVOLUTIONS[:1],
    BANK_FROZEN: CONVOLUTIONS,
}
_ABOUT = {
    ALL: "kernels and classifier learn",
    DENSE: "kernels learn, the classifier stays as it was drawn",
    RANDOM: "kernels stay as they were drawn, the classifier learns",
    BANK: "first layer: Sobel and Gabor filters, fixed; the rest learns",
    RANDOM_FIRST: "first layer: random filters, fixed; the rest learns",
    BANK_FROZEN: "first layer: Sobel and Gabor filters, second as drawn, both fixed; the classifier learns",
}


class Frozen(Experiment):
    """Train all, or freeze kernels or classifier, with random or classical filters."""

    name = "frozen"
    question = "What does training the kernels add to random or classical filters that stay as they are?"
    baseline = ALL

    def conditions(self, problem: Problem) -> dict[str, str]:
        return dict(_ABOUT)

    def network(self, condition: str, draw: Draw, prepared: Any) -> Any:
        model = small_network(draw.input_shape, draw.classes)
        if condition in (BANK, BANK_FROZEN):
            kernel = model.get_layer(CONVOLUTIONS[0]).weights[0]
            kernel.assign(classical_kernel(kernel.shape))
        return freeze(model, *_FROZEN[condition])

    def answer(self, result: ExperimentResult) -> str:
        accuracy = {name: f"{100 * result.row(name).summary().mean:.1f} %" for name in result.names}
        learned = result.compare(ALL, RANDOM).claim(
            "Learning the kernels pays",
            "Learning the kernels does harm",
            "Whether learning the kernels pays cannot be told from these seeds",
        )
        first = result.compare(ALL, BANK).claim(
            "As a first layer learned filters are better than fixed Sobel and Gabor filters",
            "As a first layer learned filters are worse than fixed Sobel and Gabor filters",
            "As a first layer learned filters cannot be told from fixed Sobel and Gabor filters",
        )
        only = result.compare(ALL, BANK_FROZEN).claim(
            "Learned kernels are better than a network on fixed Sobel and Gabor filters in which only the "
            "classifier is trained",
            "Learned kernels are worse than a network on fixed Sobel and Gabor filters in which only the "
            "classifier is trained",
            "Learned kernels cannot be told from a network on fixed Sobel and Gabor filters in which "
            "only the classifier is trained",
        )
        bank = result.compare(BANK, RANDOM_FIRST).claim(
            "Against random filters as a fixed first layer the classical ones are better",
            "Against random filters as a fixed first layer the classical ones are worse",
            "Against random filters as a fixed first layer the classical ones cannot be told apart",
        )
        return (
            f"{learned}: {accuracy[ALL]} with all trained, {accuracy[RANDOM]} with a classifier on random "
            f"kernels, {accuracy[DENSE]} with kernels trained under a random classifier. {first}: "
            f"{accuracy[ALL]} against {accuracy[BANK]}. {only}: {accuracy[ALL]} against "
            f"{accuracy[BANK_FROZEN]}. {bank}."
        )


def classical_kernel(shape: tuple[int, ...]) -> np.ndarray:
    """Edges (Sobel) and bars (even Gabor) in four directions and both signs, repeated if need be.

    Every filter has the norm that He's random kernels have on average, sqrt(2), so that only the pattern
    differs from a random layer.

    Args:
        shape: (kh, kw, channels, filters).
    """
    kh, kw, channels, filters = shape
    edges = SobelBank(orientations=4)((kh, kw, channels, 4), "float64")
    bars = GaborBank(orientations=4, phases=(0.0,))((kh, kw, channels, 4), "float64")
    bank = np.concatenate([edges, bars, -edges, -bars], axis=-1)
    bank *= np.sqrt(2 / np.sum(bank**2, axis=(0, 1, 2)))
    return bank[..., np.arange(filters) % bank.shape[-1]]
