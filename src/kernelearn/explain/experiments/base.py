"""What every experiment is: named conditions that make a network each, trained alike on the same images."""

from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, ClassVar

from kernelearn.errors import ArgumentError
from kernelearn.explain.experiments.problem import Draw, Problem, check_counts
from kernelearn.explain.experiments.result import ExperimentResult
from kernelearn.explain.experiments.training import Budget, Training


@dataclass(frozen=True)
class ExperimentSettings:
    """What is fixed before an experiment, the same for all of its conditions.

    Args:
        epochs: passes over the training images.
        seeds: repetitions, each with its own images, first weights and order.
        first_seed: number of the first; the others follow. Other seeds say whether an answer stands.
        images: at most so many to train on.
        test_images: at most so many to test on.
        batch_size: images per update.
        learning_rate: of Adam, which trains every condition. It is not tuned for any of them.
    """

    epochs: int = 10
    seeds: int = 20
    first_seed: int = 0
    images: int = 1000
    test_images: int = 1000
    batch_size: int = 32
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        others = ("learning_rate", "first_seed")
        counts = {name: value for name, value in asdict(self).items() if name not in others}
        check_counts(**counts)
        if not isinstance(self.first_seed, int) or self.first_seed < 0:
            raise ArgumentError(f"first_seed must be a whole number of at least 0, got {self.first_seed!r}.")
        if not self.learning_rate > 0:
            raise ArgumentError(f"learning_rate must be greater than 0, got {self.learning_rate!r}.")


class Experiment:
    """Base of the experiments.

    A subclass sets the three names, gives `conditions`, `network` and `answer`, and where it needs to its own
    images (`draw`), work that the conditions of a seed share (`prepare`) and further numbers (`measures`).
    """

    name: ClassVar[str]
    question: ClassVar[str]
    baseline: ClassVar[str]

    def conditions(self, problem: Problem) -> dict[str, str]:
        """Name -> what it does, in the order of the table; the baseline is among them."""
        raise NotImplementedError

    def notes(self, problem: Problem) -> list[str]:
        """What a reader has to know about the conditions with this data."""
        return []

    def draw(self, problem: Problem, seed: int, settings: ExperimentSettings) -> Draw:
        """The images of a seed."""
        return problem.draw(seed, settings.images, settings.test_images)

    def budget(self, settings: ExperimentSettings) -> Budget:
        """How long every condition is trained."""
        return Budget(settings.epochs, settings.batch_size, settings.learning_rate)

    def prepare(self, draw: Draw, training: Training, settings: ExperimentSettings) -> Any:
        """Work of a seed that its conditions share, such as a network that others learn from."""
        return None

    def network(self, condition: str, draw: Draw, prepared: Any) -> Any:
        """The network of a condition: built, with `trainable` set, not compiled.

        The process's random seed is the same before each call, so that conditions which draw the same
        weights in the same order start equal.
        """
        raise NotImplementedError

    def measures(self, condition: str, model: Any, draw: Draw, prepared: Any) -> dict[str, float]:
        """Further numbers of a trained network."""
        return {}

    def answer(self, result: ExperimentResult) -> str:
        """What the numbers say about the question."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """The experiment's own settings as plain values."""
        values: dict[str, Any] = asdict(self) if is_dataclass(self) else {}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
