"""What the networks of the zoo have in common: checked arguments."""

from collections.abc import Sequence
from typing import Any

from kernelearn.errors import ArgumentError, ShapeError

Shape3 = tuple[Any, Any, int]


def check_input_shape(
    input_shape: Sequence[int | None], network: str, smallest: int = 1, is_open: bool = True
) -> Shape3:
    """(height, width, channels) as ints.

    Args:
        smallest: side, in pixels, below which the network would shrink the image to nothing.
        is_open: whether the network takes images of any size: None for height and width.
    Raises: ShapeError for anything but three sizes, or for too small an image.
    """
    shape: Any = tuple(input_shape)
    if is_open and len(shape) == 3 and None in shape[:2]:
        known = tuple(smallest if n is None else n for n in shape)
        check_input_shape(known, network, smallest)
        return (shape[0], shape[1], shape[2])
    if len(shape) == 3 and None in shape[:2]:
        raise ShapeError(
            f"{network} has a dense layer on all positions, so it takes images of one size; got {shape}. "
            "Resize the images (resize=32), or use a network of any size, such as resnet20 or vgg_small."
        )
    if len(shape) != 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in shape):
        raise ShapeError(
            f"{network} takes images: input_shape must be (height, width, channels) in positive ints, such "
            f"as (28, 28, 1); got {input_shape!r}."
        )
    if min(shape[:2]) < smallest:
        raise ShapeError(
            f"{network} halves the image too often for {shape[0]} x {shape[1]} pixels; it needs at least "
            f"{smallest} x {smallest}. Enlarge the images (resize=) or use lenet."
        )
    return (shape[0], shape[1], shape[2])


def check_classes(classes: int, network: str) -> int:
    """The number of outputs.

    Raises: ArgumentError unless it is a positive int.
    """
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise ArgumentError(f"{network}: classes must be a positive int, got {classes!r}.")
    return classes
