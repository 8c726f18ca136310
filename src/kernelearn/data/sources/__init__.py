"""One module per kind of source: `matches(source)`, `read(source, options)`, and its lines in the list.

`SOURCES` are asked in this order: an image folder is what any other folder is taken for, and a stream is
anything from Python that gives something one by one, so these come last.
"""

from typing import Any, Protocol

from kernelearn.data.sources import arrays_and_numpy, cifar, digits, folders, hugging_face, idx, streams
from kernelearn.data.sources.common import Parts, ReadOptions


class Source(Protocol):
    """What a module of this folder offers."""

    @property
    def ACCEPTED(self) -> tuple[tuple[str, str], ...]:
        """(what it is called, how it looks), the lines of the list of sources."""

    def matches(self, source: Any) -> bool:
        """Whether this is its kind of source: a name, a `Path` that exists, or an object."""

    def read(self, source: Any, options: ReadOptions) -> Parts:
        """What the source holds."""


SOURCES: tuple[Source, ...] = (digits, hugging_face, idx, cifar, arrays_and_numpy, folders, streams)

ACCEPTED = "\n".join(f"  {what:<27} {how}" for source in SOURCES for what, how in source.ACCEPTED)
