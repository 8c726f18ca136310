"""One picture through one training step: forward, probabilities, loss, the errors coming back, its share of
the gradient of every layer, and its loss after the update.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.program import Operation
from kernelearn.errors import ArgumentError
from kernelearn.explain.gradient.whole_gradients import gradient_by_image
from kernelearn.explain.passes.backward import last_replayable
from kernelearn.explain.passes.replay import Replay
from kernelearn.explain.passes.run_steps import replay_step, row_of
from kernelearn.explain.runs import run_of
from kernelearn.explain.table import Table
from kernelearn.training.steps.step import LEARNING_RATE, SEED, STEP, UPDATE, target_name, weight_name

# Inputs of a step that are no images.
_NO_IMAGES = (SEED, STEP, UPDATE, LEARNING_RATE, target_name(0), weight_name(0))


@dataclass(frozen=True)
class LayerPass:
    """What one layer does with the picture, and what comes back.

    Attributes:
        layer: path; shape: of its output for one image.
        smallest, largest: of its output; zeros: share of its output that is 0.
        error_norm: Euclidean norm of dL/d(output) at this image; None where none is computed.
        no_error: share of the output to which no error comes back.
        maps: output, and errors: dL/d(output), as arrays.
    """

    layer: str
    shape: tuple[int, ...]
    smallest: float
    largest: float
    zeros: float
    error_norm: float | None
    no_error: float | None
    maps: np.ndarray = field(repr=False)
    errors: np.ndarray | None = field(repr=False, default=None)


@dataclass(frozen=True)
class Share:
    """This image's part of the gradient of one kernel.

    Attributes:
        layer, weight: which.
        own, whole: norms of the gradient through this image and of the whole batch.
        along: part of the whole gradient that this image makes: its component along it, 1 for all images
            together; negative where it pulls against the others.
    """

    layer: str
    weight: str
    own: float
    whole: float
    along: float


@dataclass(frozen=True, eq=False)
class ImagePass:
    """One picture through one step.

    Attributes:
        image, label, step: number in the data, class or None, the step.
        picture: as the network got it.
        layers: forward and back, in order.
        predictions: what the network gives for it in this step; loss: of this image alone.
        shares: its part of the gradient of every recorded kernel.
        loss_before, loss_after: of this image in inference mode, with the weights before and after the
            update; after is None where these are not recorded.
        prediction_after: with the weights after the update, or None.
        batch: number of images in the batch; batch_loss: of the whole step.
    """

    image: int
    label: int | None
    step: int
    picture: np.ndarray = field(repr=False)
    layers: tuple[LayerPass, ...]
    predictions: np.ndarray
    loss: float
    shares: tuple[Share, ...]
    loss_before: float
    loss_after: float | None
    prediction_after: np.ndarray | None
    batch: int
    batch_loss: float
    class_names: tuple[str, ...] = ()

    def table(self) -> Table:
        """Forward and back: one row for each layer."""
        rows = tuple(
            (one.layer, one.shape, one.smallest, one.largest, one.zeros, one.error_norm, one.no_error)
            for one in self.layers
        )
        columns = (
            "layer",
            "shape",
            "smallest",
            "largest",
            "share 0",
            "norm of its error",
            "share without error",
        )
        return Table(
            columns, rows, f"Image {self.image} through step {self.step}: forward, and what came back"
        )

    def class_table(self) -> Table:
        """What the network says of each class, before and after the update."""
        order = np.argsort(-self.predictions, kind="stable")[:10]
        after = self.prediction_after
        rows = tuple(
            (
                self._name(int(c)),
                float(self.predictions[c]),
                1.0 if self.label == c else 0.0,
                None if after is None else float(after[c]),
            )
            for c in order
        )
        return Table(("class", "network", "truth", "after the update"), rows, "The answer")

    def share_table(self) -> Table:
        """Its part of every gradient."""
        rows = tuple((s.layer, s.weight, s.own, s.whole, f"{100 * s.along:+.1f} %") for s in self.shares)
        columns = ("layer", "weight", "norm through it", "norm of all", "its part of the gradient")
        return Table(columns, rows, f"What it teaches, beside {self.batch - 1} other images")

    def _name(self, number: int) -> str:
        return self.class_names[number] if number < len(self.class_names) else str(number)

    @property
    def lines(self) -> list[str]:
        """What happened, in sentences."""
        label = "" if self.label is None else f", which is {self._name(self.label)}"
        answer = int(self.predictions.argmax())
        lines = [
            f"Image {self.image}{label}, in step {self.step}, in a batch of {self.batch} images.",
            f"The network says {self._name(answer)} ({self.predictions[answer]:.4g}); the loss of this image "
            f"is {self.loss:.6g}, of the batch {self.batch_loss:.6g}.",
        ]
        if self.loss_after is None:
            lines.append(
                "The weights after the update are not all recorded, so its loss after it is not known."
            )
        else:
            way = "fell" if self.loss_after < self.loss_before else "rose"
            lines.append(
                f"With the update of this step its loss {way} from {self.loss_before:.6g} to "
                f"{self.loss_after:.6g} (both in inference mode)."
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Everything but the maps, as JSON values."""
        return {
            "image": self.image,
            "label": self.label,
            "step": self.step,
            "batch": self.batch,
            "loss": self.loss,
            "batch_loss": self.batch_loss,
            "loss_before": self.loss_before,
            "loss_after": self.loss_after,
            "predictions": self.predictions.tolist(),
            "layers": self.table().to_dict(),
            "shares": self.share_table().to_dict(),
        }

    def __str__(self) -> str:
        tables = (self.table(), self.class_table(), self.share_table())
        return "\n".join([*self.lines, *map(str, tables)])

    def _repr_html_(self) -> str:
        import html

        lines = "".join(f"<p>{html.escape(line)}</p>" for line in self.lines)
        tables = (self.table(), self.class_table(), self.share_table())
        return f"<div>{lines}{''.join(table._repr_html_() for table in tables)}</div>"


def image(
    run: Any, x: Any = None, y: Any = None, image: int | None = None, step: int | None = None
) -> ImagePass:
    """One picture through one recorded step: forward, loss, the errors coming back, what it taught.

    Args:
        run: a recorded run of a network with one output and one value of the loss for each image.
        x, y: the data that the run was trained on: arrays, or a Dataset as x. None takes what the record has.
        image: number of an image in the data, one of the batch of the step; None for the one with the largest
            loss.
        step: one before which all weights are recorded; None for the last of those with a ledger.
    Raises: ArgumentError for a step or an image that is not there.
    """
    run = run_of(run, "image")
    at = last_replayable(run) if step is None else int(step)
    replay = replay_step(run, at, x, y)
    op = loss_operation(replay)
    losses = replay.value(op.outputs[1]).astype(np.float64)
    losses = losses.reshape(len(losses), -1).mean(axis=1)
    row = int(losses.argmax()) if image is None else row_of(run, at, int(image))
    batch = run.batch(at)
    picture = replay.value(replay.program.inputs()[0].name)[row]
    before, _ = _inference(run, at - 1, picture, replay, row)
    after, later = _inference(run, at, picture, replay, row)
    return ImagePass(
        image=int(batch.images[row]),
        label=None if batch.labels is None else int(batch.labels[row]),
        step=at,
        picture=picture,
        layers=tuple(_layers(replay, row)),
        predictions=np.ravel(replay.value(replay.program.outputs["y_pred_0"])[row]).astype(np.float64),
        loss=float(losses[row]),
        shares=tuple(_shares(run, at, row)),
        loss_before=float("nan") if before is None else before,
        loss_after=after,
        prediction_after=later,
        batch=replay.rows,
        batch_loss=float(replay.value(replay.program.outputs["loss"])),
        class_names=tuple(run.about.class_names or ()),
    )


def loss_operation(replay: Replay) -> Operation:
    """The loss of a network with one output.

    Raises: ArgumentError for one with several, or with a loss of its own.
    """
    found = [op for op in replay.program.operations if op.operator == "loss" and op.phase == "forward"]
    if len(found) != 1:
        raise ArgumentError(
            f"A picture is followed through a network with one loss; this one has {len(found)}."
        )
    return found[0]


def _inference(
    run: Any, step: int, picture: np.ndarray, replay: Replay, row: int
) -> tuple[float | None, np.ndarray | None]:
    """(loss, prediction) of the picture with the weights of a step; None where these are not recorded."""
    if step not in {int(k) for k in run.model_steps}:
        return None, None
    return inference(run.model(step), picture, replay, row)


def inference(model: Any, picture: np.ndarray, replay: Replay, row: int) -> tuple[float, np.ndarray]:
    """(loss, prediction) of a picture in inference mode, by the loss of a step and a target of its batch.

    Args:
        row: of the batch, whose target it is.

    Raises: ArgumentError for a network with several losses.
    """
    from kernelearn.engine.operators import OPERATORS

    op = loss_operation(replay)
    target = replay.value(op.inputs[1])[row : row + 1]
    prediction = np.asarray(model.predict(picture[None], verbose=0), np.float64)
    attrs = (
        {**op.attrs, "from_logits": False}
        if "from_logits" in op.attrs and _is_probability(model)
        else op.attrs
    )
    _, values = OPERATORS["loss"].run(prediction, target, np.ones(1), **attrs)
    return float(np.mean(values)), np.ravel(prediction[0])


def loss_in(replay: Replay, row: int) -> float | None:
    """The loss of one image in a step; None for a network with several losses, or one of its own."""
    try:
        op = loss_operation(replay)
    except ArgumentError:
        return None
    return float(np.mean(replay.value(op.outputs[1])[row].astype(np.float64)))


def picture_in(replay: Replay, row: int) -> np.ndarray:
    """One image of a step, as the first layer of it got it."""
    first = next(buffer for buffer in replay.program.inputs() if buffer.name not in _NO_IMAGES)
    return np.asarray(replay.value(first.name)[row])


def _is_probability(model: Any) -> bool:
    """Whether the network ends in probabilities, which a training step joins with its loss."""
    program = model.step("predict").program
    last = next(op for op in reversed(program.operations) if program.outputs["y_pred_0"] in op.outputs)
    kind = last.attrs.get("kind")
    return bool(last.operator == "softmax" or (last.operator == "activation" and kind == "sigmoid"))


def _layers(replay: Replay, row: int) -> list[LayerPass]:
    """Every layer's output for the image, and the error that came back to it."""
    outputs: dict[str, Operation] = {}
    for op in replay.program.operations:
        if op.phase == "forward" and op.layer and replay.has_images(op.outputs[0]):
            outputs[op.layer] = op
    return [_layer(replay, layer, op.outputs[0], row) for layer, op in outputs.items()]


def _layer(replay: Replay, layer: str, name: str, row: int) -> LayerPass:
    maps, errors = replay.value(name)[row], replay.gradient(name)
    own = None if errors is None else errors[row]
    return LayerPass(
        layer=layer,
        shape=maps.shape,
        smallest=float(maps.min()),
        largest=float(maps.max()),
        zeros=float((maps == 0).mean()),
        error_norm=None if own is None else float(np.linalg.norm(own.astype(np.float64))),
        no_error=None if own is None else float((own == 0).mean()),
        maps=maps,
        errors=own,
    )


def _shares(run: Any, step: int, row: int) -> list[Share]:
    """The image's part of the gradient of every kernel with a ledger at the step."""
    found = []
    for layer in run.layers:
        name = run.about.kernel_name(layer)
        if name is None or step not in run.ledger_steps_of(layer, name):
            continue
        _, gradients = gradient_by_image(run.ledger(layer, step, name))
        whole = gradients.sum(axis=0)
        size = float((whole**2).sum())
        along = float((gradients[row] * whole).sum()) / size if size else 0.0
        found.append(Share(layer, name, float(np.linalg.norm(gradients[row])), float(np.sqrt(size)), along))
    return found
