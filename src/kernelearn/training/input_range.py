"""The range of numbers that a model was trained on, and a warning where it meets another.

`fit`, `evaluate` and `predict` take arrays as they are, as in Keras; `kernelearn.data` scales uint8 pictures
to [0, 1]. A network that was trained one way and is asked the other way answers nonsense without any error.
"""

import math
import warnings
from collections.abc import Mapping

from kernelearn.parallel import world
from kernelearn.training.steps.step import Batch

_FAR = 16  # how many times larger the largest value is where the scale must be another: 255 is, 2 or 3 is not


class InputRange:
    """The largest absolute value of each input that a model was trained on; empty before.

    Attributes:
        largest: name of the input -> that value, of the first batch of the last training.
    """

    def __init__(self, largest: Mapping[str, float] | None = None) -> None:
        self.largest = dict(largest or {})
        self._is_due, self._has_warned = True, False

    def state(self) -> tuple[tuple[tuple[str, float], ...], bool]:
        """What decides whether it warns: processes that share a pass have to look at the same batches."""
        return tuple(sorted(self.largest.items())), self._has_warned

    def begin(self) -> None:
        """The next batch that is trained on is the first of a training."""
        self._is_due = True

    def restore(self, largest: Mapping[str, float]) -> None:
        """Go on in the middle of a training whose first batch is known."""
        self.largest, self._is_due = dict(largest), False

    def train_on(self, batch: Batch) -> None:
        """Remember the range of the first batch of a training; tells if it is another than before."""
        if self._is_due:
            self._is_due = False
            self.meet(batch, "is to be trained on")
            self.largest.update(_largest(batch))

    def meet(self, batch: Batch, doing: str = "is given") -> None:
        """Warn, once, where the inputs of a batch are on another scale than those of the training."""
        if self._has_warned or not self.largest:
            return
        for name, value in _largest(batch).items():
            known = self.largest.get(name)
            if known is not None and _is_far(known, value, batch.arrays[name].ndim):
                self._has_warned = True
                warnings.warn(_message(known, value, doing), UserWarning, stacklevel=4)
                return


def _largest(batch: Batch) -> dict[str, float]:
    """Name -> largest absolute value of those inputs that say something: one of zeros has no scale."""
    arrays = {name: array for name, array in batch.inputs().items() if array.size}
    sizes = {name: float(max(array.max(), -array.min())) for name, array in arrays.items()}
    if batch.held is not None:  # other processes have the other images
        said = world.exchange().all_say(sizes)
        sizes = {name: max(one.get(name, 0.0) for one in said) for name in batch.inputs()}
    return {name: size for name, size in sizes.items() if size > 0 and math.isfinite(size)}


def _is_far(known: float, value: float, axes: int) -> bool:
    """Images may be on any scale; of other inputs only those that were scaled to about 1 are told apart.

    Features with few large values, and the numbers of words, differ that much from batch to batch.
    """
    low, high = sorted((known, value))
    return high >= _FAR * low and (axes == 4 or (low <= 1 and high >= _FAR))


def _message(known: float, value: float, doing: str) -> str:
    return (
        f"The model was trained on inputs of up to {known:.4g} and now {doing} inputs of up to {value:.4g}: "
        "its answers will mean nothing. Scale both alike. uint8 pictures are scaled to [0, 1] by "
        "kernelearn.data (load, as_dataset, load_image), but arrays given to fit, evaluate and predict are "
        "taken as they are: divide those by 255."
    )
