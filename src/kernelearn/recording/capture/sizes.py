"""Of which sizes of images a recording is, where a model takes any: ledgers and maps hold one size."""

from __future__ import annotations

from typing import Any

from kernelearn.data import Dataset
from kernelearn.training.feeds import image_batch


def usual_shapes(model: Any) -> list[tuple[int, ...]] | None:
    """Shapes of one sample of every input, in the size that most images have; None if the model knows its
    own.

    Of a stream those of the batch that the model met last.
    """
    if not model.programs.is_open:
        return None
    data = model.fit_data
    if not isinstance(data, Dataset):
        return [shape[1:] for shape in model.programs.usual().shapes]
    x, _, _ = next(iter(data.subset(data.rows_of_most_common_size()[:1]).batches(1)))
    batch = image_batch(x, model.inputs, model.input_names)
    return [array.shape[1:] for array in batch.arrays.values()]
