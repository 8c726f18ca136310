"""What a model from elsewhere does not say: the range of its images, and the names of its classes.

Pictures come in [0, 1]. A network that was trained on others gets a layer in front of it, once, and is from
then on like any other.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelearn.errors import ArgumentError

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer
    from kernelearn.models import Model

FRONT = "input_scale"  # the layer in front
IMAGENET = "imagenet"
# Mean and deviation of the colours of ImageNet in [0, 1], by which torchvision's networks are trained.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BYTE = 255.0
_FAR = 16  # an input that is larger than this is no number in [0, 1] or [-1, 1]

SCALE = Annotated[
    str | None,
    typer.Option(
        help="What the network takes for black and white: 0..1, 0..255, -1..1, or imagenet (mean and "
        "deviation of its colours). [default: what the file says, else 0..1]"
    ),
]
CLASS_NAMES = Annotated[
    str | None,
    typer.Option(help="Names of the classes in order: cat,dog or a file with a name on each line."),
]


@dataclass(frozen=True)
class Range:
    """The range of images that a network takes.

    Attributes:
        text: as `--scale` takes it.
        why: how it is known; "" where it is only assumed.
    """

    text: str
    why: str = ""


def expected_range(model: "Model") -> Range:
    """The range that a model takes its images in, as far as it can be known."""
    from kernelearn.layers import Rescaling

    if any(layer.name == FRONT for layer in model.layers):
        return Range("0..1", "it has a layer in front that scales them")
    largest = max(model.input_range.largest.values(), default=0.0)
    if largest:
        text = f"0..{_BYTE:.0f}" if largest >= _FAR else "0..1"
        return Range(text, f"it was trained on numbers up to {largest:.4g}")
    first = _first_layer(model)
    if isinstance(first, Rescaling):
        factor = min(abs(float(part)) for part in _numbers(first.scale))
        if factor * _FAR < 1:
            return Range(f"0..{_BYTE:.0f}", f"its first layer {first.name!r} divides by {1 / factor:.4g}")
    return Range("0..1")


def _numbers(value: object) -> list[float]:
    import numpy as np

    return [float(part) for part in np.ravel(np.asarray(value, float))]


def _first_layer(model: "Model") -> "Layer | None":
    from kernelearn.models import Model

    layer = model.calls[0].layer if model.calls else None
    return _first_layer(layer) if isinstance(layer, Model) and layer.calls else layer


def front_layers(scale: str) -> "list[Layer]":
    """The layers that turn images in [0, 1] into what `--scale` names; none for 0..1.

    Raises: ArgumentError for anything else.
    """
    from kernelearn.layers import Rescaling

    if scale == IMAGENET:
        factors = [1 / deviation for deviation in _DEVIATION]
        offsets = [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION)]
        return [Rescaling(factors, offsets, name=FRONT)]
    low, high = _ends(scale)
    return [] if (low, high) == (0.0, 1.0) else [Rescaling(high - low, low, name=FRONT)]


def _ends(scale: str) -> tuple[float, float]:
    low, dots, high = scale.partition("..")
    try:
        ends = float(low), float(high)
    except ValueError:
        ends = 0.0, 0.0
    if not dots or not abs(ends[1] - ends[0]) > 0 or max(map(abs, ends)) == float("inf"):
        raise ArgumentError(f"--scale takes 0..1, 0..255, -1..1, another A..B, or imagenet; got {scale!r}.")
    return ends


def prepared(model: "Model", scale: str | None, class_names: str | None = None) -> "Model":
    """A model with a layer in front for the range of its images, and with the names of its classes.

    Raises: ArgumentError for a range or a number of names that does not fit.
    """
    if scale is not None:
        layers = front_layers(scale)
        _check_colours(model, scale)
        model = with_front(model, layers)
    if class_names is not None:
        model.metadata["class_names"] = names_for(model, class_names)
    return model


def _check_colours(model: "Model", scale: str) -> None:
    if scale == IMAGENET and model.input_shape[-1] != len(_MEAN):
        raise ArgumentError(
            f"--scale imagenet is for three colours; the model takes {model.input_shape[1:]}."
        )


def with_front(model: "Model", layers: "list[Layer]") -> "Model":
    """The model with layers in front, what it knows of its data and its training kept."""
    from kernelearn.models.transfer import in_front

    if not layers:
        return model
    if any(layer.name == FRONT for layer in model.layers) and any(layer.name == FRONT for layer in layers):
        raise ArgumentError(
            "The model has a layer in front that scales its images already; leave out --scale."
        )
    made = in_front(model, layers)
    made.metadata = dict(model.metadata)
    return made


def names_for(model: "Model", text: str) -> list[str]:
    """The names that `--class-names` gives, as many as the model has classes.

    Raises: ArgumentError for another number of them.
    """
    path = Path(text)
    is_file = "," not in text and path.is_file()
    words = path.read_text(encoding="utf-8").splitlines() if is_file else text.split(",")
    names = [word.strip() for word in words if word.strip()]
    count = model.output_shape[-1] if isinstance(model.output_shape, tuple) else None
    if count is not None and len(names) != count:
        raise ArgumentError(f"--class-names gives {len(names)} names; the model has {count} outputs.")
    return names


def compiled(model: "Model", has_classes: bool, shape: object) -> None:
    """Give a model without a loss the usual one for its data, and say so.

    Args:
        shape: of one image, for a model that takes any size.
    """
    from kernelearn.cli.output import say
    from kernelearn.losses import BinaryCrossentropy, SparseCategoricalCrossentropy

    if model.compiled and model.programs.has_loss:
        return
    last = _last_operation(model, shape)
    loss: object = "mse"
    told = "mean squared error"
    if has_classes:
        is_one = model.output_shape[-1] == 1
        is_probability = last == ("activation sigmoid" if is_one else "softmax")
        loss = (BinaryCrossentropy if is_one else SparseCategoricalCrossentropy)(
            from_logits=not is_probability
        )
        told = "cross-entropy" + ("" if is_probability else " of numbers that are no probabilities yet")
    model.compile(loss=loss, metrics=["accuracy"] if has_classes else ["mae"])
    say(f"Loss: the file names none; {told} is taken.", to_stderr=True)


def gives_shares(model: "Model", shape: object) -> bool:
    """Whether outputs are probabilities as they are: the network ends in a softmax or in sigmoids."""
    return _last_operation(model, shape) in ("softmax", "activation sigmoid")


def is_silent_on_size(model: "Model") -> bool:
    """Whether nobody says how images came to the network's size: no training of the command line."""
    return "resize" not in model.metadata and None not in model.input_shape[1:]


def _last_operation(model: "Model", shape: object) -> str:
    """The last operation of a prediction, but for those that only move numbers."""
    is_any = None in model.inputs[0].shape[1:]
    for op in reversed(model.program("predict", shape if is_any else None).operations):
        if op.operator not in ("reshape", "transpose"):
            return f"{op.operator} {op.attrs['kind']}" if op.operator == "activation" else op.operator
    return ""
