"""The grid of window geometries that convolution and pooling are tested on, in 1, 2 and 3 dimensions."""

from dataclasses import dataclass

from kernelearn.engine.geometry import resolve_padding


@dataclass(frozen=True)
class Geometry:
    """One convolution: spatial sizes, channels, filters, and everything the operator needs as tuples."""

    label: str
    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    groups: int
    channels: int
    filters: int

    @property
    def attrs(self) -> dict:
        names = ("stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names}


def _each(value, rank):
    return (value,) * rank if isinstance(value, int) else value


def geometry(
    label, sizes, kernel, stride=1, dilation=1, padding="valid", groups=1, channels=3, filters=4
) -> Geometry:
    """A geometry; ints are repeated per axis, padding is a name or one pair per axis."""
    rank = len(sizes)
    kernel, stride, dilation = _each(kernel, rank), _each(stride, rank), _each(dilation, rank)
    if isinstance(padding, str):
        padding = tuple(resolve_padding(padding, *axis) for axis in zip(sizes, kernel, stride, dilation))
    return Geometry(label, sizes, kernel, stride, dilation, padding, groups, channels, filters)


GEOMETRIES = [
    geometry("1d", (7,), 3),
    geometry("1d-even-same", (8,), 4, padding="same"),
    geometry("1d-causal-dilated", (9,), 3, dilation=2, padding="causal"),
    geometry("1d-causal-stride", (10,), 4, stride=2, padding="causal"),
    geometry("1d-stride-over-kernel", (11,), 2, stride=3),
    geometry("1d-stride-over-kernel-same", (10,), 2, stride=5, padding="same"),
    geometry("1d-one-pixel-same", (1,), 3, padding="same"),
    geometry("1d-kernel-1-stride", (9,), 1, stride=4),
    geometry("1d-groups", (6,), 3, padding="same", groups=2, channels=4, filters=6),
    geometry("1d-depthwise", (6,), 3, groups=3, channels=3, filters=6),
    geometry("1d-crop", (9,), 3, padding=((-2, -1),)),
    geometry("1d-crop-and-pad", (9,), 3, stride=2, padding=((-1, 2),)),
    geometry("1d-wide-padding", (3,), 2, padding=((3, 4),)),
    geometry("1d-stride-and-dilation", (12,), 3, stride=2, dilation=3, padding=((2, 1),)),
    geometry("2d", (5, 6), 3),
    geometry("2d-1x1", (4, 3), 1, channels=5, filters=2),
    geometry("2d-same", (5, 5), 3, padding="same"),
    geometry("2d-same-even", (4, 5), (2, 4), padding="same"),
    geometry("2d-same-stride", (7, 8), 3, stride=2, padding="same"),
    geometry("2d-same-stride-mixed", (7, 6), (3, 2), stride=(3, 2), padding="same"),
    geometry("2d-dilated", (7, 8), 3, dilation=(2, 3)),
    geometry("2d-dilated-same", (5, 6), (3, 2), dilation=(2, 1), padding="same"),
    geometry("2d-kernel-is-image", (4, 3), (4, 3)),
    geometry("2d-one-pixel", (1, 1), 1),
    geometry("2d-one-pixel-same", (1, 1), 5, padding="same"),
    geometry("2d-one-row", (1, 7), (1, 3), stride=(1, 2), padding="same"),
    geometry("2d-stride-over-kernel", (8, 9), (2, 1), stride=(3, 4)),
    geometry("2d-groups", (5, 4), 3, groups=2, channels=4, filters=2, padding="same"),
    geometry("2d-depthwise", (5, 5), 3, groups=4, channels=4, filters=8),
    geometry("2d-depthwise-stride", (6, 7), 3, stride=2, groups=3, channels=3, filters=3, padding="same"),
    geometry("2d-crop", (7, 6), (2, 3), padding=((-1, -2), (0, -1))),
    geometry("2d-crop-and-pad", (5, 6), 2, stride=2, padding=((2, -1), (-2, 1))),
    geometry("2d-unread-border", (8, 8), 3, stride=4),
    geometry("2d-one-channel", (5, 5), 3, channels=1, filters=1),
    geometry("3d", (4, 3, 5), (2, 3, 2)),
    geometry("3d-same-stride", (4, 3, 4), 3, stride=2, padding="same", channels=2, filters=3),
    geometry("3d-dilated", (5, 3, 4), 2, dilation=(3, 1, 2), channels=2, filters=2),
    geometry("3d-groups", (3, 3, 3), 2, groups=2, channels=4, filters=4, padding="same"),
    geometry("3d-one-pixel", (1, 1, 1), (1, 2, 3), padding="same"),
]

POOLS = [
    geometry("1d", (6,), 2, stride=2),
    geometry("1d-same", (7,), 3, stride=2, padding="same"),
    geometry("1d-overlap", (5,), 3),
    geometry("2d", (6, 4), 2, stride=2),
    geometry("2d-rest", (5, 7), 2, stride=2),
    geometry("2d-same", (5, 4), (3, 2), stride=(2, 1), padding="same"),
    geometry("2d-stride-over-window", (7, 8), 2, stride=3),
    geometry("2d-one-pixel", (1, 1), 3, stride=2, padding="same"),
    geometry("2d-whole", (3, 4), (3, 4)),
    geometry("3d", (4, 3, 4), 2, stride=(2, 1, 2)),
    geometry("3d-same", (3, 5, 2), (2, 3, 2), stride=2, padding="same"),
]
