"""`pooling`: what does it do to make maps smaller by maxima, by means, by strides, or not at all?"""

from typing import Any

from kernelearn.explain.experiments.base import Experiment
from kernelearn.explain.experiments.networks import CONVOLUTIONS, FILTERS
from kernelearn.explain.experiments.problem import Draw, Problem
from kernelearn.explain.experiments.result import ExperimentResult
from kernelearn.explain.experiments.sharing import shifted_accuracy
from kernelearn.layers import (
    AveragePooling2D,
    Conv2D,
    Dense,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
)
from kernelearn.models import Sequential

MAX, MEAN, STRIDE, NONE, GLOBAL = "max", "average", "strides", "none", "global average"
_ABOUT = {
    MAX: "the largest of 2 x 2 numbers is passed on, and takes the whole error back",
    MEAN: "the mean of 2 x 2 numbers, each takes a quarter of the error",
    STRIDE: "no pooling: the convolutions themselves take every second position",
    NONE: "no pooling and no strides: maps keep their size, the classifier reads every position",
    GLOBAL: "as max, and in place of the positions the classifier reads the mean of each map",
}


class Pooling(Experiment):
    """The same convolutions, from the same first kernels, with maps made smaller in different ways."""

    name = "pooling"
    question = "What does pooling do to what the kernels learn?"
    baseline = MAX

    def conditions(self, problem: Problem) -> dict[str, str]:
        return dict(_ABOUT)

    def network(self, condition: str, draw: Draw, prepared: Any) -> Any:
        stride = 2 if condition == STRIDE else 1
        pool = {MAX: MaxPooling2D, GLOBAL: MaxPooling2D, MEAN: AveragePooling2D}.get(condition)
        layers: list[Any] = [Input(tuple(draw.input_shape))]
        for name, filters in zip(CONVOLUTIONS, FILTERS):
            options: dict[str, Any] = {"kernel_initializer": "he_normal", "strides": stride}
            layers.append(Conv2D(filters, 3, padding="same", activation="relu", name=name, **options))
            layers += [] if pool is None else [pool(2)]
        layers.append(GlobalAveragePooling2D() if condition == GLOBAL else Flatten(name="flatten"))
        head = Dense(draw.classes, activation="softmax", name="classifier")
        return Sequential([*layers, head], name="pooling_network")

    def measures(self, condition: str, model: Any, draw: Draw, prepared: Any) -> dict[str, float]:
        return {"shifted_accuracy": shifted_accuracy(model, draw)}

    def answer(self, result: ExperimentResult) -> str:
        best = result.best()
        parts = [
            result.compare(MAX, NONE).claim(
                "Pooling by maxima is better than none",
                "Pooling by maxima is worse than none",
                "Pooling by maxima cannot be told from none in accuracy",
            ),
            result.compare(MAX, MEAN).claim(
                "Maxima are better than means",
                "Maxima are worse than means",
                "Maxima and means cannot be told apart",
            ),
            result.compare(MAX, STRIDE).claim(
                "Maxima are better than strides",
                "Maxima are worse than strides",
                "Maxima and strides cannot be told apart",
            ),
        ]
        moved = {n: 100 * result.row(n).summary("shifted_accuracy").mean for n in (MAX, NONE)}
        weights = {n: result.row(n).parameters for n in (MAX, NONE)}
        return (
            f"{'. '.join(parts)}. Without pooling the network has {weights[NONE]:,} weights in place of "
            f"{weights[MAX]:,}; on images that are moved it recognises {moved[NONE]:.1f} %, with maxima "
            f"{moved[MAX]:.1f} %. Highest mean: {best.name}, {100 * best.summary().mean:.1f} %."
        )
