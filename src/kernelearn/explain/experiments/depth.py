"""`depth`: are more convolutions better than wider ones?"""

from dataclasses import dataclass
from math import prod
from typing import Any

from kernelearn.engine.geometry import receptive_field
from kernelearn.errors import ArgumentError
from kernelearn.explain.experiments.base import Experiment
from kernelearn.explain.experiments.problem import Draw, Problem, check_counts
from kernelearn.explain.experiments.result import ExperimentResult
from kernelearn.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from kernelearn.models import Sequential

MATCHES = ("parameters", "width")
_REFERENCE = 2  # the depth whose weights the others are matched to


@dataclass(frozen=True)
class Depth(Experiment):
    """One to many 3x3 convolutions in two blocks, each block ended by a pooling.

    Args:
        depths: numbers of convolutions.
        match: "parameters" chooses the filters per layer so that every network has about as many weights as
            the one with two convolutions of `width` filters; "width" gives all layers `width` filters.
        width: see there.
    """

    name = "depth"
    question = "Are more convolutions better, with as many weights and updates?"

    depths: tuple[int, ...] = (1, 2, 3, 4, 6)
    match: str = "parameters"
    width: int = 16

    def __post_init__(self) -> None:
        check_counts(width=self.width, **{f"depths[{i}]": depth for i, depth in enumerate(self.depths)})
        if len(self.depths) < 2 or len(set(self.depths)) < len(self.depths):
            raise ArgumentError(f"depths must be at least two different numbers, got {self.depths}.")
        if self.match not in MATCHES:
            raise ArgumentError(f"match must be one of {MATCHES}, got {self.match!r}.")

    @property
    def baseline(self) -> str:  # type: ignore[override]
        """The shallowest network."""
        return _name(min(self.depths))

    def conditions(self, problem: Problem) -> dict[str, str]:
        widths = {depth: self.filters(depth, problem.input_shape, problem.classes) for depth in self.depths}
        return {
            _name(depth): f"{depth} x 3x3 with {width} filters, two poolings, dense"
            for depth, width in sorted(widths.items())
        }

    def notes(self, problem: Problem) -> list[str]:
        if self.match == "width":
            return [f"Every layer has {self.width} filters: deeper networks have more weights."]
        return [
            f"Every network has about the weights of {_REFERENCE} convolutions with {self.width} filters, as "
            "near as whole filters come."
        ]

    def network(self, condition: str, draw: Draw, prepared: Any) -> Any:
        depth = int(condition.split()[0])
        filters = self.filters(depth, draw.input_shape, draw.classes)
        return deep_network(draw.input_shape, draw.classes, depth, filters)

    def measures(self, condition: str, model: Any, draw: Draw, prepared: Any) -> dict[str, float]:
        depth = int(condition.split()[0])
        return {"filters": model.layers[0].filters, "receptive_field": field_of_view(depth)}

    def filters(self, depth: int, input_shape: tuple[int, ...], classes: int) -> int:
        """Filters per layer of the network of this depth."""
        if self.match == "width":
            return self.width
        target = count_weights(input_shape, classes, _REFERENCE, self.width)
        width = 1
        while count_weights(input_shape, classes, depth, width + 1) <= target:
            width += 1
        below, above = (count_weights(input_shape, classes, depth, w) for w in (width, width + 1))
        return width if target - below <= above - target else width + 1

    def answer(self, result: ExperimentResult) -> str:
        best, shallow = result.best(), result.row(result.baseline)
        means = ", ".join(f"{row.name.split()[0]}: {100 * row.summary().mean:.1f} %" for row in result.rows)
        if best is shallow:
            deep = result.rows[-1]
            claim = result.compare(shallow.name, deep.name).claim(
                f"Depth does not pay here: {shallow.name} is best, and better than {deep.name}",
                f"Depth does not pay here: {shallow.name} is best",
                f"Depth does not pay here: {shallow.name} has the highest mean, not told from {deep.name}",
            )
        else:
            claim = result.compare(best.name).claim(
                f"Depth pays up to {best.name}: better than {shallow.name}",
                f"Depth does not pay here: {best.name} is worse than {shallow.name}",
                f"{best.name} has the highest mean, not told from {shallow.name}",
            )
        return f"{claim}. Accuracy by number of convolutions: {means}."


def _name(depth: int) -> str:
    return f"{depth} convolution{'' if depth == 1 else 's'}"


def blocks_of(depth: int) -> tuple[int, int]:
    """Convolutions before the first and before the second pooling."""
    return (depth + 1) // 2, depth // 2


def deep_network(input_shape: tuple[int, ...], classes: int, depth: int, filters: int) -> Sequential:
    """`depth` convolutions 3x3 of `filters` in two blocks, a pooling after each, dense."""
    layers: list[Any] = [Input(input_shape)]
    number = 0
    for block, count in enumerate(blocks_of(depth), start=1):
        for _ in range(count):
            number += 1
            name = f"conv{number}"
            convolution = Conv2D(
                filters, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=name
            )
            layers.append(convolution)
        layers.append(MaxPooling2D(2, name=f"pool{block}"))
    head = Dense(classes, activation="softmax", name="classifier")
    return Sequential([*layers, Flatten(name="flatten"), head], name=f"depth_{depth}")


def count_weights(input_shape: tuple[int, ...], classes: int, depth: int, filters: int) -> int:
    """Weights of `deep_network`, without making it."""
    first = 9 * input_shape[-1] * filters + filters
    others = (depth - 1) * (9 * filters * filters + filters)
    positions = prod(side // 2 // 2 for side in input_shape[:2])
    return first + others + positions * filters * classes + classes


def field_of_view(depth: int) -> int:
    """Side in pixels of the square that one input of the dense layer sees."""
    windows = [window for count in blocks_of(depth) for window in [(3, 1, 1)] * count + [(2, 2, 1)]]
    return receptive_field(windows)[0]
