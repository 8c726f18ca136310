"""Normalisation, dropout, and layers that are active in training only."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.conversion.torch.placed import Placed
from kernelearn.conversion.torch.writing.activations import like
from kernelearn.conversion.torch.writing.plan import Plan, Site, State
from kernelearn.conversion.torch.writing.table import by_rank, writes
from kernelearn.engine.arrays import inverse_order


def _affine(
    plan: Plan, at: Site, shape: tuple[int, ...], moved: Any = None, back: Any = None
) -> dict[str, State]:
    """weight and bias; where the layer has one of both, the other one is fixed. {} if it has none."""
    layer = at.layer
    if not layer.scale and not layer.center:
        return {}
    there, here = moved or np.asarray, back or np.asarray
    dtype = plan.dtype
    ones = State(lambda: np.ones(shape, dtype), None, False)
    zeros = State(lambda: np.zeros(shape, dtype), None, False)
    return {
        "weight": at.weight("gamma", there, here) if layer.scale else ones,
        "bias": at.weight("beta", there, here) if layer.center else zeros,
    }


def _channels_second(plan: Plan, at: Site, x: Placed) -> Placed:
    """The channel axis of the layer on axis 1 in PyTorch."""
    channel = at.layer.axis % x.rank
    if x.rank == 2 or x.order[1] == channel:
        return x
    return plan.ordered(at, x, (0, channel, *(axis for axis in x.order[1:] if axis != channel)))


@writes("BatchNormalization")
def batch_norm(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    x = _channels_second(plan, at, values[0])
    if not 2 <= x.rank <= 5:
        at.refuse(f"takes values of {x.rank} axes", "PyTorch has BatchNorm for 2 to 5.")
    places, count = x.places, x.shape[layer.axis % x.rank]

    def there(vector: Any) -> Any:
        return vector if places is None else vector[places]

    def back(vector: Any) -> Any:
        found = np.array(vector)
        if places is not None:
            found[places] = vector
        return found

    states = _affine(plan, at, (count,), there, back)
    states["running_mean"] = at.weight("moving_mean", there, back, True)
    states["running_var"] = at.weight("moving_variance", there, back, True)
    states["num_batches_tracked"] = State(lambda: np.zeros((), np.int64), None, False, True)
    kind = f"BatchNorm{max(x.rank - 2, 1)}d"
    if not layer.trainable:
        plan.note(
            f"{at.name}: frozen BatchNormalization uses its moving statistics here; in PyTorch call "
            ".eval() on it."
        )
    given = {"eps": layer.epsilon, "momentum": 1 - layer.momentum, "affine": "weight" in states}
    return like(x, plan.module(at, kind, x.tensor, count, track_running_stats=True, states=states, **given))


@writes("LayerNormalization")
def layer_norm(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer, x = at.layer, plan.in_order(at, values[0])
    if layer.rms_scaling:
        at.refuse("has rms_scaling=True", "Use RMSNormalization.")
    count = len(layer.axis)
    last = tuple(range(x.rank - count, x.rank))
    if set(x.order[-count:]) != set(last):
        x = plan.ordered(at, x, (*(axis for axis in x.order if axis not in last), *last))
    turned = [axis - last[0] for axis in x.order[-count:]]
    sizes = tuple(x.shape[axis] for axis in x.order[-count:])
    states = _affine(
        plan, at, sizes, lambda a: a.transpose(turned), lambda a: a.transpose(inverse_order(turned))
    )
    y = plan.module(
        at,
        "LayerNorm",
        x.tensor,
        list(sizes),
        eps=layer.epsilon,
        elementwise_affine=bool(states),
        states=states,
    )
    return like(x, y)


@writes("RMSNormalization")
def rms_norm(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer, x = at.layer, plan.in_order(at, values[0])
    axes = [axis % x.rank for axis in np.atleast_1d(layer.axis).tolist()]
    if axes != [x.rank - 1]:
        at.refuse(f"goes over the axes {axes}", "PyTorch's RMSNorm goes over the last one.")
    if x.order[-1] != axes[0]:
        x = plan.ordered(at, x, (*(axis for axis in x.order if axis != axes[0]), axes[0]))
    states = {"weight": at.weight("scale")}
    return like(x, plan.module(at, "RMSNorm", x.tensor, x.shape[-1], eps=layer.epsilon, states=states))


@writes("GroupNormalization")
def group_norm(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    x = _channels_second(plan, at, plan.in_order(at, values[0]))
    count = x.shape[layer.axis % x.rank]
    groups = count if layer.groups == -1 else layer.groups
    states = _affine(plan, at, (count,))
    y = plan.module(
        at, "GroupNorm", x.tensor, groups, count, eps=layer.epsilon, affine=bool(states), states=states
    )
    return like(x, y)


@writes("Dropout", "AlphaDropout")
def dropout(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer, x = at.layer, values[0]
    if layer.noise_shape is not None:
        at.refuse(f"has noise_shape={layer.noise_shape}", "Use SpatialDropout2D, or no noise_shape.")
    kind = "AlphaDropout" if type(layer).__name__ == "AlphaDropout" else "Dropout"
    return like(x, plan.module(at, kind, x.tensor, p=layer.rate))


@writes(*by_rank("SpatialDropout*D"))
def spatial_dropout(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    layer = at.layer
    x = plan.images(at, values[0], layer.data_format)
    return like(x, plan.module(at, f"Dropout{x.rank - 2}d", x.tensor, p=layer.rate))


@writes("InputLayer", "Identity")
def identity(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    return values[0]


@writes("ActivityRegularization")
def regularization(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    plan.note(f"{at.name}: penalties are no part of a module; add them to the loss.")
    return values[0]


@writes("GaussianNoise", "GaussianDropout", "StochasticDepth")
@writes(
    "RandomFlip", "RandomTranslation", "RandomRotation", "RandomZoom", "RandomContrast", "RandomBrightness"
)
@writes("RandomSaturation", "RandomHue", "RandomColorJitter", "RandomColorDegeneration", "RandomGrayscale")
@writes("RandomInvert", "RandomPosterization", "Solarization", "RandomSharpness", "RandomGaussianBlur")
@writes("RandomErasing")
def only_in_training(plan: Plan, at: Site, values: list[Placed]) -> Placed:
    kind = type(at.layer).__name__
    if len(values) != 1:
        at.refuse("takes several values", "Leave it out of the model.")
    plan.note(f"{at.name}: {kind} acts in training only and is left out of the module.")
    return values[0]
