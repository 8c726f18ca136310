"""`transfer`: are kernels that were learned on some classes of use for others?"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.errors import DataError
from kernelearn.explain.experiments.base import Experiment, ExperimentSettings
from kernelearn.explain.experiments.networks import CONVOLUTIONS, freeze, small_network
from kernelearn.explain.experiments.problem import Draw, Problem, check_counts
from kernelearn.explain.experiments.result import ExperimentResult
from kernelearn.explain.experiments.training import Budget, Training

SCRATCH, RANDOM = "from scratch", "random, frozen"
FROZEN, PARTLY, TUNED = "pretrained, frozen", "pretrained, first layer frozen", "pretrained, fine-tuned"

_FROZEN_LAYERS = {
    SCRATCH: (),
    RANDOM: CONVOLUTIONS,
    FROZEN: CONVOLUTIONS,
    PARTLY: CONVOLUTIONS[:1],
    TUNED: (),
}
_ABOUT = {
    SCRATCH: "kernels drawn at random, all learn",
    RANDOM: "kernels drawn at random and frozen, the new classifier learns",
    FROZEN: "kernels of the old classes, frozen; the new classifier learns",
    PARTLY: "kernels of the old classes, the first layer frozen; the rest learns",
    TUNED: "kernels of the old classes, all learn",
}


@dataclass(frozen=True)
class Transfer(Experiment):
    """Pretrain on half of the classes, then learn the other half from a few images each.

    Args:
        per_class: images of each new class to learn from.
        new_epochs: passes over them, in batches of `new_batch_size`.
    """

    name = "transfer"
    question = "Are kernels that were learned on some classes of use for others?"
    baseline = SCRATCH

    per_class: int = 10
    new_epochs: int = 60
    new_batch_size: int = 16

    def __post_init__(self) -> None:
        check_counts(**self.options())

    def conditions(self, problem: Problem) -> dict[str, str]:
        return dict(_ABOUT)

    def notes(self, problem: Problem) -> list[str]:
        return [
            f"{problem.classes - problem.classes // 2} new classes, {self.per_class} images each; each seed "
            "divides the classes anew. The updates are those on the new classes; pretraining on the others "
            "comes on top where it is used."
        ]

    def draw(self, problem: Problem, seed: int, settings: ExperimentSettings) -> Draw:
        """Images of the new classes, and as `other` those of the old ones."""
        if problem.classes < 4:
            raise DataError(
                f"transfer halves the classes and needs at least 4; {problem.name!r} has {problem.classes}."
            )
        order = np.random.default_rng([seed, 2]).permutation(problem.classes)
        old, new = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
        pool, test = problem.rows(seed, 10**9)
        labels = problem.train.labels[pool]
        few = np.concatenate([self._few(pool[labels == one], one, problem) for one in new])
        many = pool[np.isin(labels, old)][: settings.images]
        test = test[np.isin(problem.test_part.labels[test], new)][: settings.test_images]
        x, y = problem.train.subset(few).arrays()
        x_test, y_test = problem.test_part.subset(test).arrays()
        other_x, other_y = problem.train.subset(many).arrays()
        return Draw(
            seed,
            x,
            np.searchsorted(new, y),
            x_test,
            np.searchsorted(new, y_test),
            len(new),
            other_x,
            np.searchsorted(old, other_y),
            len(old),
        )

    def budget(self, settings: ExperimentSettings) -> Budget:
        return Budget(self.new_epochs, self.new_batch_size, settings.learning_rate)

    def prepare(self, draw: Draw, training: Training, settings: ExperimentSettings) -> Any:
        """The network trained on the old classes."""
        network = small_network(draw.input_shape, draw.other_classes)
        assert draw.other_x is not None and draw.other_y is not None
        training.fit(network, draw.other_x, draw.other_y, super().budget(settings))
        return network

    def network(self, condition: str, draw: Draw, prepared: Any) -> Any:
        model = small_network(draw.input_shape, draw.classes)  # the same new classifier for all
        if condition in (FROZEN, PARTLY, TUNED):
            for name in CONVOLUTIONS:
                model.get_layer(name).set_weights(prepared.get_layer(name).get_weights())
        return freeze(model, *_FROZEN_LAYERS[condition])

    def answer(self, result: ExperimentResult) -> str:
        tuned = result.compare(TUNED, SCRATCH).claim(
            "Kernels learned on other classes are a better start than random ones",
            "Kernels learned on other classes are a worse start than random ones",
            "Kernels learned on other classes cannot be told from a random start",
        )
        frozen = result.compare(FROZEN, RANDOM).claim(
            "Left as they are, they are better features than random kernels",
            "Left as they are, they are worse features than random kernels",
            "Left as they are, they cannot be told from random kernels",
        )
        freezing = result.compare(TUNED, FROZEN).claim(
            "training them further is better than freezing them",
            "freezing them is better than training them further",
            "freezing them or training them further cannot be told apart",
        )
        best = result.best()
        return f"{tuned}. {frozen}; {freezing}. Highest mean: {best.name}, {100 * best.summary().mean:.1f} %."

    def _few(self, rows: np.ndarray, label: int, problem: Problem) -> np.ndarray:
        if len(rows) < self.per_class:
            raise DataError(
                f"Class {label} of {problem.name!r} has {len(rows)} images to learn from, {self.per_class} "
                "are asked for. Ask for fewer (--per-class)."
            )
        return rows[: self.per_class]
