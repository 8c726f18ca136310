"""`sharing`: what does it gain that a convolution uses one kernel at every position?

Three layers of the same size, each window by window the same function if its weights are tied: the
convolution, the untied layer with a kernel for every position, and the dense layer in which every output
also sees the rest of the image. Untied and dense are also started *as* that convolution, so that nothing
differs at first but what training may change.
"""

from math import prod
from statistics import median
from typing import Any

import numpy as np

from kernelearn.explain.experiments.base import Experiment
from kernelearn.explain.experiments.problem import Draw, Problem
from kernelearn.explain.experiments.result import ExperimentResult
from kernelearn.initializers import GlorotUniform
from kernelearn.layers import Conv2D, Dense, Flatten, Input, LocallyConnected2D, MaxPooling2D, ReLU, Reshape
from kernelearn.models import Sequential

CONVOLUTION = "convolution"
UNTIED_SAME, UNTIED = "untied, started tied", "untied"
DENSE_SAME, DENSE = "dense, started as convolution", "dense"
FILTERS = 8
# 120 MB of float32; with gradient and two Adam slots four times that.
MOST_DENSE_WEIGHTS = 30_000_000

_ABOUT = {
    CONVOLUTION: "one 3x3 kernel per filter for all positions",
    UNTIED_SAME: "a 3x3 kernel for each position, all equal at first: the same function as the convolution",
    UNTIED: "a 3x3 kernel for each position, each drawn at random",
    DENSE_SAME: "every output sees every pixel; at first the same function as the convolution",
    DENSE: "every output sees every pixel, drawn at random",
}


class Sharing(Experiment):
    """Convolution against the untied and the dense layer with as many outputs."""

    name = "sharing"
    question = "What does it gain that a convolution shares one kernel between all positions?"
    baseline = CONVOLUTION

    def conditions(self, problem: Problem) -> dict[str, str]:
        is_small = dense_weights(problem.input_shape) <= MOST_DENSE_WEIGHTS
        return {name: about for name, about in _ABOUT.items() if is_small or name not in (DENSE_SAME, DENSE)}

    def notes(self, problem: Problem) -> list[str]:
        notes = [
            "Shifted accuracy: the same test images moved by "
            f"{shift_of(problem.input_shape)} pixel(s) up, down, left and right; no network has seen such."
        ]
        weights = dense_weights(problem.input_shape)
        if weights > MOST_DENSE_WEIGHTS:
            notes.append(
                f"The dense layer of the same size would have {weights:,} weights and is left out; use "
                "smaller images (--resize) to see it."
            )
        return notes

    def network(self, condition: str, draw: Draw, prepared: Any) -> Any:
        convolution = Conv2D(FILTERS, 3, padding="same", name="layer")
        convolution.build((None, *draw.input_shape))
        layers = [convolution] if condition == CONVOLUTION else _layers(condition, convolution, draw)
        head = GlorotUniform(seed=draw.seed)  # the same for all, whatever the layer before it drew
        return Sequential(
            [
                Input(draw.input_shape),
                *layers,
                ReLU(name="relu"),
                MaxPooling2D(2, name="pool"),
                Flatten(name="flatten"),
                Dense(draw.classes, activation="softmax", kernel_initializer=head, name="classifier"),
            ],
            name="one_layer",
        )

    def measures(self, condition: str, model: Any, draw: Draw, prepared: Any) -> dict[str, float]:
        return {"shifted_accuracy": shifted_accuracy(model, draw)}

    def answer(self, result: ExperimentResult) -> str:
        kept = result.row(CONVOLUTION)
        parts = []
        for name, words in ((UNTIED, "the untied layer"), (DENSE, "the dense layer")):
            if name in result:
                parts.append(_against(result, name, words))
        shifted = [
            f"{name} {100 * result.row(name).summary('shifted_accuracy').mean:.1f} %"
            for name in (CONVOLUTION, UNTIED, DENSE)
            if name in result
        ]
        return (
            f"{' '.join(parts)} With the convolution the network has {kept.trained:,} weights and takes "
            f"{kept.typical_seconds:.2g} s. On shifted images: {', '.join(shifted)}."
        )


def _against(result: ExperimentResult, name: str, words: str) -> str:
    """How the convolution does against another layer: accuracy, weights, time."""
    row, kept = result.row(name), result.row(CONVOLUTION)
    weights = row.trained / kept.trained
    seconds = median(mine / max(base, 1e-9) for mine, base in zip(row.seconds, kept.seconds))
    claim = result.compare(CONVOLUTION, name).claim(
        f"Sharing pays against {words}",
        f"Sharing costs accuracy against {words}",
        f"In accuracy sharing cannot be told from {words}",
    )
    return f"{claim}, which has {weights:,.1f} times the weights and takes {seconds:,.1f} times as long."


def _layers(condition: str, convolution: Conv2D, draw: Draw) -> list[Any]:
    """Untied or dense with as many outputs as the convolution, and where it is started so, its function."""
    kernel = convolution.kernel.numpy()
    if condition in (UNTIED, UNTIED_SAME):
        first = kernel if condition == UNTIED_SAME else "glorot_uniform"
        return [LocallyConnected2D(FILTERS, 3, padding="same", kernel_initializer=first, name="layer")]
    outputs = (*draw.input_shape[:2], FILTERS)
    first = as_dense(convolution, draw.input_shape) if condition == DENSE_SAME else "glorot_uniform"
    return [
        Flatten(name="pixels"),
        Dense(prod(outputs), kernel_initializer=first, name="layer"),
        Reshape(outputs, name="maps"),
    ]


def as_dense(convolution: Any, input_shape: tuple[int, ...]) -> np.ndarray:
    """The matrix (inputs, outputs) of a convolution without bias: row k is what pixel k alone gives."""
    pixels = np.eye(prod(input_shape), dtype=convolution.dtype).reshape(-1, *input_shape)
    return np.asarray(convolution(pixels).reshape(len(pixels), -1))


def dense_weights(input_shape: tuple[int, ...]) -> int:
    """Weights of the dense layer with as many outputs as the convolution."""
    return prod(input_shape) * prod(input_shape[:2]) * FILTERS


def shift_of(input_shape: tuple[int, ...]) -> int:
    """How far test images are moved, in pixels: an eighth of the shorter side."""
    return max(1, min(input_shape[:2]) // 8)


def shifted_accuracy(model: Any, draw: Draw) -> float:
    """Accuracy on test images moved in four directions; what comes in repeats the border."""
    by = shift_of(draw.input_shape)
    padded = np.pad(draw.x_test, ((0, 0), (by, by), (by, by), (0, 0)), mode="edge")
    height, width, _ = draw.input_shape
    hits = []
    for top, left in ((0, by), (2 * by, by), (by, 0), (by, 2 * by)):
        moved = padded[:, top : top + height, left : left + width]
        predicted = model.predict(np.ascontiguousarray(moved), batch_size=256, verbose=0).argmax(axis=1)
        hits.append(np.mean(predicted == draw.y_test))
    return float(np.mean(hits))
