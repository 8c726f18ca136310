"""The number of images where it is not known yet: a size that may be passed on, but not computed with."""

from __future__ import annotations

from typing import Any, NoReturn

from kernelearn.tracing.graph import BatchSizeNeeded
from kernelearn.tracing.value import Traced
from kernelearn.tracing.where import user_line


class ImageCount:
    """The first size of a traced value in a program for any number of images.

    Shapes may hold it as their first size (`ops.reshape(x, (ops.shape(x)[0], -1))`). Everything else needs
    the number itself: the program is then built again for this number of images.

    Attributes:
        value: a traced value that has so many images.
    """

    __slots__ = ("value",)

    def __init__(self, value: Traced) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "n"

    def __eq__(self, other: object) -> Any:
        if isinstance(other, ImageCount) and other.value.graph is self.value.graph:
            return True
        return other is not None and not isinstance(other, ImageCount) and self._needed()

    def __hash__(self) -> int:
        return id(self.value.graph)

    def _needed(self, *others: Any, **options: Any) -> NoReturn:
        raise BatchSizeNeeded(
            f"{user_line()} computes with the number of images, which is not known here: a program for any "
            "number of images cannot be made of it."
        )

    __index__ = __int__ = __float__ = __bool__ = __neg__ = __abs__ = _needed
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _needed
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _needed
    __array__ = _needed
    __pow__ = __rpow__ = __lt__ = __le__ = __gt__ = __ge__ = _needed
