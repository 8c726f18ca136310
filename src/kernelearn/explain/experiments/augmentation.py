"""`augmentation`: what does it do to show every image a little different each time?"""

from collections.abc import Callable
from typing import Any

from kernelearn.explain.experiments.base import Experiment
from kernelearn.explain.experiments.networks import small_network
from kernelearn.explain.experiments.problem import Draw, Problem
from kernelearn.explain.experiments.result import ExperimentResult
from kernelearn.explain.experiments.sharing import shifted_accuracy
from kernelearn.layers import (
    Input,
    InputLayer,
    RandomContrast,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
)
from kernelearn.models import Sequential

NONE, ALL = "none", "all three"
_LAYERS: dict[str, list[Callable[[], Any]]] = {
    NONE: [],
    "moved": [lambda: RandomTranslation(0.1, 0.1)],
    "turned": [lambda: RandomRotation(0.05)],
    "zoomed": [lambda: RandomZoom(0.15)],
    "contrast": [lambda: RandomContrast(0.4)],
    "mirrored": [lambda: RandomFlip("horizontal")],
    ALL: [lambda: RandomTranslation(0.1, 0.1), lambda: RandomRotation(0.05), lambda: RandomZoom(0.15)],
}
_ABOUT = {
    NONE: "every image as it is",
    "moved": "by up to a tenth of its size",
    "turned": "by up to 18 degrees",
    "zoomed": "in or out by up to 15 %",
    "contrast": "changed by up to 40 %",
    "mirrored": "left and right exchanged in half of the cases, which is wrong for digits",
    ALL: "moved, turned and zoomed at once",
}


class Augmentation(Experiment):
    """The same network, from the same weights, on images that are changed at random in each epoch."""

    name = "augmentation"
    question = "What does it do to change images at random while training?"
    baseline = NONE

    def conditions(self, problem: Problem) -> dict[str, str]:
        return dict(_ABOUT)

    def network(self, condition: str, draw: Draw, prepared: Any) -> Any:
        network = small_network(draw.input_shape, draw.classes)
        shape = tuple(draw.input_shape)
        layers = [layer for layer in network.layers if not isinstance(layer, InputLayer)]
        changes = [make() for make in _LAYERS[condition]]
        return Sequential([Input(shape), *changes, *layers], name="augmented_network")

    def measures(self, condition: str, model: Any, draw: Draw, prepared: Any) -> dict[str, float]:
        return {"shifted_accuracy": shifted_accuracy(model, draw)}

    def answer(self, result: ExperimentResult) -> str:
        names = [name for name in result.names if name != NONE]
        verdicts = {name: result.compare(name).verdict for name in names}
        gap = {
            name: result.row(name).summary("train_accuracy").mean - result.row(name).summary().mean
            for name in (NONE, ALL)
        }
        moved = {name: 100 * result.row(name).summary("shifted_accuracy").mean for name in (NONE, ALL)}
        whole = result.compare(ALL).claim(
            "Images that are moved, turned and zoomed at random make the network better",
            "Images that are moved, turned and zoomed at random make the network worse with this budget",
            "Images that are moved, turned and zoomed at random cannot be told from plain ones in accuracy",
        )
        return (
            f"{whole}. Better than none: {_listed(verdicts, 'higher')}; worse: "
            f"{_listed(verdicts, 'lower')}. Training and test images are {100 * gap[NONE]:.1f} points apart "
            f"without and {100 * gap[ALL]:.1f} with all three; on images that are moved it is "
            f"{moved[NONE]:.1f} % and {moved[ALL]:.1f} %."
        )


def _listed(verdicts: dict[str, str], which: str) -> str:
    return ", ".join(name for name, verdict in verdicts.items() if verdict == which) or "none"
