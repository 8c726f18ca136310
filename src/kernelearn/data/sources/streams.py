"""Streams from Python: generator functions, iterables, torch DataLoaders; and datasets made already."""

from typing import Any

from kernelearn.data.dataset import Dataset
from kernelearn.data.sources.common import Parts, ReadOptions
from kernelearn.data.stream import StreamDataset
from kernelearn.errors import ArgumentError

# What the list of sources says of it.
ACCEPTED = (("a stream", "a generator function, iterable or torch DataLoader, from Python"),)


def matches(source: Any) -> bool:
    """Whether `source` can be asked for batches."""
    return isinstance(source, Dataset | StreamDataset) or callable(source) or hasattr(source, "__iter__")


def read(source: Any, options: ReadOptions) -> Parts:
    """The stream as it comes.

    Raises: ArgumentError for options that would have to change its batches.
    """
    if isinstance(source, Dataset | StreamDataset):
        return Parts("dataset", source, class_names=source.class_names)
    name = "the DataLoader" if type(source).__name__ == "DataLoader" else "the stream"
    refused = {"resize": options.resize, "channels": options.channels, "image_shape": options.image_shape}
    given = [argument for argument, value in refused.items() if value is not None]
    if given:
        raise ArgumentError(
            f"{', '.join(given)} cannot be applied to a stream. Do it where its batches are made."
        )
    stream = StreamDataset(source, None, options.class_names, options.channels_first, name)
    return Parts("stream", stream, class_names=stream.class_names)
