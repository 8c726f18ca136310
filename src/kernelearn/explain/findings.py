"""Hints: what the numbers of a run say is wrong, in words, each with the number that it is drawn from.

Nothing here is a verdict. A hint names what was measured, from which bound on it is said, and where to look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kernelearn.errors import KernelearnError
from kernelearn.explain.choices import is_convolution, kernel_layers
from kernelearn.explain.kernel.health import kernel_health
from kernelearn.explain.passes.activations import activations
from kernelearn.explain.runs import run_of
from kernelearn.explain.table import Table

# From here on something is said.
DEAD_SHARE = 0.1  # of the channels of a layer
LARGE_UPDATE = 0.05  # norm of an update, by that of the weight
SMALL_RATE = 1e-7
STILL = 0.002  # how far a layer went, by its own size ...
OTHERS_MOVED = 10  # ... while the layer that went farthest went so many times as far
OVERFIT = 1.1  # validation loss at the end, by its least one ...
OVERFIT_RISE = 0.02  # ... and how far it rose, by its largest one before that
RISING = 2.0  # loss at the end, by its least mean


@dataclass(frozen=True)
class Hint:
    """One thing that stands out.

    Attributes:
        kind: short name; layer: which, or "".
        text: a sentence with the number; measured: that number; bound: from which it is said.
        look: the command that shows why, after `kernelearn explain`.
    """

    kind: str
    layer: str
    text: str
    measured: float
    bound: float
    look: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def hints(run: Any) -> list[Hint]:
    """What stands out in a recorded run; an empty list if nothing does.

    Looked for: a loss that was not finite or ended far above its best, overfitting, a learning rate near 0,
    updates that are large for their weights, layers that hardly move, dead channels, kernels that repeat each
    other. What the record does not hold is not looked at.
    """
    run = run_of(run, "hints")
    return [hint for look in _LOOKS for hint in _told(look, run)]


def hint_table(found: list[Hint]) -> Table:
    """Hints as a table."""
    rows = tuple((hint.kind, hint.text, hint.look) for hint in found)
    return Table(("hint", "what was measured", "look with: kernelearn explain"), rows, "What stands out")


def _told(look: Callable[[Any], Iterator[Hint]], run: Any) -> list[Hint]:
    try:
        return list(look(run))
    except KernelearnError:  # the record does not hold what this looks at
        return []


def _not_finite(run: Any) -> Iterator[Hint]:
    steps = [event["step"] for event in run.events if event["kind"] == "not finite"]
    if steps:
        text = (
            f"The loss was not finite {len(steps)} times, first behind step {steps[0]}; these updates were "
            "left out."
        )
        yield Hint("loss not finite", "", text, float(len(steps)), 1.0, "update")


def _rising_loss(run: Any) -> Iterator[Hint]:
    _, losses = run.scalars("loss")
    if len(losses) < 40:
        return
    size = max(len(losses) // 20, 10)
    means = np.convolve(losses, np.ones(size) / size, "valid")
    ratio = float(means[-1] / means.min()) if means.min() > 0 else 1.0
    if ratio > RISING:
        text = (
            f"The loss ended at {means[-1]:.4g}, {ratio:.1f} times its least mean over {size} updates "
            f"({means.min():.4g}): the learning rate may be too large."
        )
        yield Hint("loss rose again", "", text, ratio, RISING, "curves")


def _overfitting(run: Any) -> Iterator[Hint]:
    if "val_loss" not in run.scalar_names:
        return
    _, measured = run.scalars("val_loss")
    if len(measured) < 3:
        return
    best = int(measured.argmin())
    if measured[best] <= 0:  # a ratio says nothing
        return
    ratio = float(measured[-1] / measured[best])
    # NOTE: near 0 a loss doubles by one image of hundreds; that is no sign of anything.
    rise = float((measured[-1] - measured[best]) / measured[: best + 1].max())
    if ratio > OVERFIT and rise > OVERFIT_RISE:
        text = (
            f"Validation loss was least behind epoch {best + 1} ({measured[best]:.4g}) and ended at "
            f"{measured[-1]:.4g}, {ratio:.2f} times that: the network learns its training images by heart."
        )
        yield Hint("overfitting", "", text, ratio, OVERFIT, "curves")


def _learning_rate(run: Any) -> Iterator[Hint]:
    steps, rates = run.scalars("learning_rate")
    small = np.flatnonzero(rates <= SMALL_RATE)
    if len(small) and small[0] < 0.9 * len(rates):
        text = (
            f"The learning rate was {rates[small[0]]:.2g} from step {int(steps[small[0]])} on: nothing moves "
            "any more."
        )
        yield Hint("learning rate near 0", "", text, float(rates[small[0]]), SMALL_RATE, "curves")


def _updates(run: Any) -> Iterator[Hint]:
    """Updates of kernels that are large for their weights, at recorded steps of the second half."""
    for layer, weight in kernel_layers(run).items():
        steps = [int(k) for k in run.gradient_steps_of(layer, weight) if k > run.last_step // 2]
        steps = [k for k in steps if run.is_split(layer, k, weight)][-20:]
        shares = [_share(run, layer, weight, k) for k in steps]
        if shares and float(np.median(shares)) > LARGE_UPDATE:
            share = float(np.median(shares))
            text = (
                f"An update of {layer} is {100 * share:.1f} % of its weights (median of {len(shares)} "
                "recorded steps of the second half): the learning rate is large for this layer."
            )
            yield Hint("large updates", layer, text, share, LARGE_UPDATE, f"update --layer {layer}")


def _share(run: Any, layer: str, weight: str, step: int) -> float:
    before = np.linalg.norm(run.kernels(layer, step - 1, weight).astype(np.float64))
    return float(np.linalg.norm(run.update(layer, step, weight)) / before) if before else 0.0


def _still_layers(run: Any) -> Iterator[Hint]:
    """Layers that went much less far than the others, and less than a small part of their own size."""
    first, last = int(run.steps[0]), int(run.steps[-1])
    went: dict[str, float] = {}
    for layer, weight in kernel_layers(run).items():
        if last in run.weight_steps(layer, weight) and not run.is_frozen(layer, last, weight):
            start = run.kernels(layer, first, weight).astype(np.float64)
            size = float(np.linalg.norm(start))
            went[layer] = (
                float(np.linalg.norm(run.kernels(layer, last, weight) - start)) / size if size else 0.0
            )
    most = max(went.values(), default=0.0)
    for layer, share in went.items():
        if share < STILL and most > OTHERS_MOVED * share:
            text = (
                f"{layer} went {100 * share:.2g} % of its own size from its start, the farthest layer "
                f"{100 * most:.2g} %: hardly any error reaches it, or it is not needed."
            )
            yield Hint("a layer that hardly moves", layer, text, share, STILL, f"curves --layer {layer}")


def _dead_channels(run: Any) -> Iterator[Hint]:
    if run.probe_images is None or not len(run.model_steps):
        return
    layers = [name for name in kernel_layers(run) if is_convolution(run, name)]
    for layer, found in activations(run, layers):
        count, channels = len(found.dead), found.after.shape[-1]
        if count > DEAD_SHARE * channels:
            text = (
                f"{count} of {channels} channels of {layer} are 0 on all {len(found.after)} probe images: no "
                "error comes back to them, they learn nothing from these."
            )
            yield Hint(
                "dead channels", layer, text, count / channels, DEAD_SHARE, f"activation --layer {layer}"
            )


def _copies(run: Any) -> Iterator[Hint]:
    for layer in (name for name in kernel_layers(run) if is_convolution(run, name)):
        health = kernel_health(run, layer)
        count, filters = int((health.duplicate_of >= 0).sum()), len(health.norm)
        if count > DEAD_SHARE * filters:
            text = f"{count} of {filters} filters of {layer} repeat an earlier one (cosine of at least 0.98)."
            yield Hint(
                "repeated filters",
                layer,
                text,
                count / filters,
                DEAD_SHARE,
                f"filters --layer {layer} --details",
            )


_LOOKS: tuple[Callable[[Any], Iterator[Hint]], ...] = (
    _not_finite,
    _rising_loss,
    _overfitting,
    _learning_rate,
    _updates,
    _still_layers,
    _dead_channels,
    _copies,
)
