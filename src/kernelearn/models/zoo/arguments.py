"""What the networks of the zoo have in common: checked arguments."""

from collections.abc import Sequence

from kernelearn.errors import ArgumentError, ShapeError

Shape3 = tuple[int, int, int]


def check_input_shape(input_shape: Sequence[int], network: str, smallest: int = 1) -> Shape3:
    """(height, width, channels) as ints.

    Args:
        smallest: side, in pixels, below which the network would shrink the image to nothing.
    Raises: ShapeError for anything but three sizes, or for too small an image.
    """
    shape = tuple(input_shape)
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
    return shape


def check_classes(classes: int, network: str) -> int:
    """The number of outputs.

    Raises: ArgumentError unless it is a positive int.
    """
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise ArgumentError(f"{network}: classes must be a positive int, got {classes!r}.")
    return classes
