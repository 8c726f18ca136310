"""Normalisation: batch, layer, group, instance and root mean square; dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn import layers
from kernelearn.conversion.torch.placed import Placed
from kernelearn.conversion.torch.reading.convolution import need_weight
from kernelearn.conversion.torch.reading.network import Learned, Network
from kernelearn.conversion.torch.reading.table import Call, reads

SPATIAL_DROPOUT = {3: layers.SpatialDropout1D, 4: layers.SpatialDropout2D, 5: layers.SpatialDropout3D}


def _scale_and_shift(call: Call, moved: Any = None) -> tuple[dict[str, Learned], dict[str, bool]]:
    """gamma and beta of the module, and which of them the layer has."""
    found = {}
    for attribute, argument in (("gamma", "weight"), ("beta", "bias")):
        if call.get(argument) is not None:
            tensor = need_weight(call, argument)
            found[attribute] = Learned(tensor, moved) if moved else Learned(tensor)
    return found, {"scale": "gamma" in found, "center": "beta" in found}


@reads("batch_norm.default")
def batch_norm(net: Network, call: Call) -> Placed:
    x = call.placed("input")
    if call["training"] or call["running_mean"] is None:
        call.refuse(
            "uses the statistics of the batch in inference as well (track_running_stats=False, or train "
            "mode)",
            "Keep running statistics, and convert the module in eval mode.",
        )
    if call.get("momentum_is_none"):
        call.refuse(
            "has momentum=None, a cumulative average", "Set a number: momentum=0.1 is PyTorch's default."
        )
    x = _channels_at_end(net, call, x)
    places = x.places
    moved = None if places is None else lambda v: v[places]
    learned, has = _scale_and_shift(call, moved)
    for attribute, argument in (("moving_mean", "running_mean"), ("moving_variance", "running_var")):
        tensor = need_weight(call, argument)
        learned[attribute] = Learned(tensor, moved) if moved else Learned(tensor)
    y = net.layer(
        call,
        layers.BatchNormalization,
        x.tensor,
        learned,
        momentum=1 - float(call["momentum"]),
        epsilon=float(call["eps"]),
        places=places,
        **has,
    )
    net.note(
        "BatchNormalization: PyTorch keeps the unbiased running variance; training here goes on with "
        "the biased one."
    )
    return Placed(y, call.shapes[0], x.order, places)


@reads("_native_batch_norm_legit_no_training.default")
def batch_norm_of_inference(net: Network, call: Call) -> tuple[Any, ...]:
    return (batch_norm(net, Call(**{**vars(call), "arguments": {**call.arguments, "training": False}})),)


def _channels_at_end(net: Network, call: Call, x: Placed) -> Placed:
    if x.order[-1] == 1:
        return x
    return net.ordered(call, x, (*(axis for axis in x.order if axis != 1), 1))


@reads("layer_norm.default")
def layer_norm(net: Network, call: Call) -> Placed:
    x, axes = _trailing(net, call)
    first = x.rank - len(axes)
    turned = [axis - first for axis in axes]
    learned, has = _scale_and_shift(call, lambda v: v.transpose(turned))
    y = net.layer(
        call,
        layers.LayerNormalization,
        x.tensor,
        learned,
        axis=list(range(-len(axes), 0)),
        epsilon=float(call["eps"]),
        places=None if turned == sorted(turned) else np.asarray(turned),
        **has,
    )
    return Placed(y, call.shapes[0], x.order)


def _trailing(net: Network, call: Call) -> tuple[Placed, tuple[int, ...]]:
    """The input with the normalised axes, PyTorch's last ones, at its end; and their order there."""
    x = net.in_order(call, call.placed("input"))
    count = len(call["normalized_shape"])
    wanted = set(range(x.rank - count, x.rank))
    if x.images_axis in wanted:
        call.refuse("goes over the images of a batch", "Every image has to be normalised for itself.")
    if set(x.order[-count:]) != wanted:
        x = net.ordered(call, x, (*(a for a in x.order if a not in wanted), *sorted(wanted)))
    return x, x.order[-count:]


@reads("rms_norm.default")
def rms_norm(net: Network, call: Call) -> Placed:
    x, axes = _trailing(net, call)
    if len(axes) > 1:
        call.refuse(f"normalises over {len(axes)} axes", "One axis can be taken over.")
    epsilon = (
        call["eps"] if call["eps"] is not None else {"float32": 2.0**-23, "float64": 2.0**-52}[net.dtype]
    )
    learned = {} if call["weight"] is None else {"scale": Learned(need_weight(call, "weight"))}
    y = net.layer(call, layers.RMSNormalization, x.tensor, learned, epsilon=float(epsilon))
    return Placed(y, call.shapes[0], x.order)


@reads("group_norm.default")
def group_norm(net: Network, call: Call) -> Placed:
    return _by_groups(net, call, int(call["num_groups"]))


@reads("instance_norm.default")
def instance_norm(net: Network, call: Call) -> Placed:
    if not call["use_input_stats"]:
        call.refuse("uses running statistics", "Make the InstanceNorm with track_running_stats=False.")
    return _by_groups(net, call, -1)


def _by_groups(net: Network, call: Call, groups: int) -> Placed:
    x = _channels_at_end(net, call, net.in_order(call, call.placed("input")))
    learned, has = _scale_and_shift(call)
    y = net.layer(
        call, layers.GroupNormalization, x.tensor, learned, groups=groups, epsilon=float(call["eps"]), **has
    )
    return Placed(y, call.shapes[0], x.order)


@reads("dropout.default", "feature_dropout.default", "alpha_dropout.default")
@reads("dropout_.default", "feature_dropout_.default", "alpha_dropout_.default")
def dropout(net: Network, call: Call) -> Placed:
    # NOTE: PyTorch calls the operand of those that write into it by another name.
    x, rate = call.placed("input" if "input" in call.arguments else "self"), float(call["p"])
    if call["train"]:
        call.refuse("drops in inference as well", "Pass training=self.training to it.")
    kind: Any = layers.Dropout
    given: dict[str, Any] = {"rate": rate}
    if "feature_dropout" in call.operator:
        x = _channels_at_end(net, call, x)
        kind = SPATIAL_DROPOUT.get(x.rank, layers.Dropout)
    elif "alpha_dropout" in call.operator:
        kind = layers.AlphaDropout
    y = net.layer(call, kind, x.tensor, **given)
    return Placed(y, x.shape, x.order, x.places)
