"""What an experiment gives: a row for each condition with one value per seed, and what follows from them."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import nan
from pathlib import Path
from statistics import median
from typing import Any

from kernelearn.errors import ArgumentError, FormatError
from kernelearn.explain.experiments.spread import Comparison, Summary, compare, summarise
from kernelearn.storage import PathLike, atomic_write

FORMAT = 1


@dataclass
class Row:
    """One condition.

    Attributes:
        name: short name of the condition.
        about: what it does.
        parameters: weights of the network, frozen ones included.
        trained: weights that training may change.
        accuracy: share of the test images that are recognised after the last epoch, one per seed.
        loss: cross-entropy on the test images after the last epoch, one per seed.
        train_accuracy: share of the training images recognised during the last epoch, one per seed.
        seconds: time of training alone, without tests, one per seed.
        curves: test accuracy after each epoch, a list per seed.
        diverged: per seed, whether training ended early because the loss was not finite.
        measures: further quantities of this experiment, one value per seed.
    """

    name: str
    about: str
    parameters: int = 0
    trained: int = 0
    accuracy: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    curves: list[list[float]] = field(default_factory=list)
    diverged: list[bool] = field(default_factory=list)
    measures: dict[str, list[float]] = field(default_factory=dict)

    def summary(self, quantity: str = "accuracy") -> Summary:
        """Mean and spread over the seeds of "accuracy", "loss", "train_accuracy", "seconds" or a measure."""
        return summarise(self.values(quantity))

    @property
    def typical_seconds(self) -> float:
        """Median over the seeds: one seed during which the machine was busy does not count for more."""
        return median(self.seconds) if self.seconds else nan

    def values(self, quantity: str) -> list[float]:
        """One value per seed of a quantity."""
        if quantity in ("accuracy", "loss", "train_accuracy", "seconds"):
            return list(getattr(self, quantity))
        if quantity not in self.measures:
            known = ["accuracy", "loss", "train_accuracy", "seconds", *self.measures]
            raise ArgumentError(f"{self.name!r} has no {quantity!r}; it has {', '.join(known)}.")
        return self.measures[quantity]


@dataclass
class ExperimentResult:
    """The outcome of an experiment.

    Attributes:
        experiment: name, as on the command line.
        question: what it asks.
        baseline: the condition that the others are compared with.
        data: "name", "images" trained on, "test_images", "input_shape", "classes".
        settings: everything that was fixed before, as plain values.
        budget: the same for all conditions: "epochs", "batch_size", "updates" in all.
        planned_seeds: how many were asked for; `seeds` are those that are finished.
        chance: share of the most frequent class among the test images, one per seed.
        rows: one per condition.
        notes: what a reader has to know: conditions left out, seeds not finished.
        answer: one or two sentences, made from the numbers.
        stopped_by: number of the signal that ended the run early, or None.
    """

    experiment: str
    question: str
    baseline: str
    data: dict[str, Any]
    settings: dict[str, Any]
    budget: dict[str, int]
    planned_seeds: int
    seeds: list[int] = field(default_factory=list)
    chance: list[float] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    answer: str = ""
    stopped_by: int | None = None

    @property
    def is_partial(self) -> bool:
        """Whether seeds are missing because the run was stopped."""
        return len(self.seeds) < self.planned_seeds

    @property
    def names(self) -> list[str]:
        """The conditions in order."""
        return [row.name for row in self.rows]

    def row(self, name: str) -> Row:
        """The row of a condition."""
        found = {row.name: row for row in self.rows}
        if name not in found:
            raise ArgumentError(f"No condition is called {name!r}; there are {', '.join(found)}.")
        return found[name]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def compare(self, first: str, second: str | None = None, quantity: str = "accuracy") -> Comparison:
        """First minus second (by default the baseline), paired seed by seed."""
        other = second or self.baseline
        return compare(first, self.row(first).values(quantity), other, self.row(other).values(quantity))

    def best(self) -> Row:
        """The row with the highest mean accuracy."""
        return max(self.rows, key=lambda row: row.summary().mean)

    def measures(self) -> list[str]:
        """Names of the further quantities, in the order of the rows."""
        return list(dict.fromkeys(name for row in self.rows for name in row.measures))

    # --- as text and files

    def __str__(self) -> str:
        from kernelearn.explain.experiments.tables import as_text

        return as_text(self)

    def _repr_markdown_(self) -> str:
        """How notebooks show it."""
        from kernelearn.explain.experiments.tables import as_markdown

        return as_markdown(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values; the inverse of `from_dict`."""
        return {"format": FORMAT, **asdict(self), "summaries": dict(self._summaries())}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ExperimentResult":
        """The result that `to_dict` gave.

        Raises: FormatError for anything else.
        """
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise FormatError(
                "This is no result of a kernelearn experiment, or one of another version: expected a JSON "
                f"object with format {FORMAT}."
            )
        known = {name: value for name, value in values.items() if name not in ("format", "summaries")}
        try:
            return cls(**{**known, "rows": [Row(**row) for row in known["rows"]]})
        except (KeyError, TypeError) as error:
            raise FormatError(f"This result of an experiment is damaged: {error}.") from error

    @classmethod
    def load(cls, path: PathLike) -> "ExperimentResult":
        """Read a JSON file written by `save`."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:
            raise FormatError(f"Cannot read {str(path)!r} as the result of an experiment. {error}") from error

    def save(self, path: PathLike) -> Path:
        """Write the result whole or not at all: .json (to load again), .csv, .md or .txt.

        Raises: ArgumentError for another ending, StorageError if it cannot be written.
        """
        text = self._render(checked_ending(path))
        with atomic_write(path) as file:
            file.write(text.encode("utf-8"))
        return Path(path)

    def _render(self, ending: str) -> str:
        from kernelearn.explain.experiments import tables

        if ending == ".json":
            return json.dumps(self.to_dict(), indent=1) + "\n"
        writers = {".csv": tables.as_csv, ".md": tables.as_markdown, ".txt": tables.as_text}
        return writers[ending](self) + ("" if ending == ".csv" else "\n")

    def _summaries(self) -> Iterator[tuple[str, Any]]:
        for row in self.rows:
            quantities = ("accuracy", "loss", "train_accuracy", "seconds", *row.measures)
            yield (
                row.name,
                {
                    **{name: row.summary(name).to_dict() for name in quantities},
                    "minus_baseline": self.compare(row.name).difference.to_dict(),
                },
            )


def checked_ending(path: PathLike) -> str:
    """The ending of a file that a result can be saved as.

    Raises: ArgumentError naming the endings.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".json", ".csv", ".md", ".txt"):
        raise ArgumentError(f"A result is saved as .json, .csv, .md or .txt; got {str(path)!r}.")
    return ending
