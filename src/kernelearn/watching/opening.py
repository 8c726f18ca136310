"""The run of a watched training, opened: the arguments that all watchers share, checked and used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelearn.errors import ArgumentError
from kernelearn.recording.schedule import Stream
from kernelearn.storage import PathLike
from kernelearn.watching.book import WatchBook, check_free

# Steps between records of a stream, where the user does not say.
_USUAL = {Stream.KERNELS: 1, Stream.LEDGER: 100, Stream.MAPS: 100}
_NEVER: dict[str, int] = {Stream.GRADIENTS: 0, Stream.FULL: 0, Stream.SNAPSHOTS: 1}


@dataclass(frozen=True)
class Opening:
    """How a run is to be written.

    Attributes:
        who: the function that the user called.
        run: folder.
        every, kernels_every, maps_every: steps between ledgers, weights and feature maps; 0 for never, None
            for the usual ones, as far as the time allows.
        layers, max_bytes, overwrite: as for the Recorder.
    Raises: ArgumentError for a stride that is none, or a run that is there already.
    """

    who: str
    run: PathLike
    every: int | None
    kernels_every: int | None
    maps_every: int | None
    layers: Any
    max_bytes: int
    overwrite: bool

    def __post_init__(self) -> None:
        for name, stride in self._strides.items():
            _check_stride(self.who, name, stride)
        check_free(self.folder, self.overwrite)

    @property
    def folder(self) -> Path:
        """Of the run."""
        return Path(self.run)

    @property
    def _strides(self) -> dict[Stream, int | None]:
        return {
            Stream.KERNELS: self.kernels_every,
            Stream.LEDGER: self.every,
            Stream.MAPS: self.maps_every,
        }

    def book(self, about: Mapping[str, Any]) -> WatchBook:
        """The run, begun.

        Args:
            about: what the manifest says of the whole run.
        """
        given = self._strides
        strides = {str(n): _USUAL[n] if stride is None else stride for n, stride in given.items()}
        automatic = [str(name) for name, stride in given.items() if stride is None]
        return WatchBook(
            self.run, about, strides | _NEVER, automatic, self.layers, self.max_bytes, self.overwrite
        )


def _check_stride(who: str, name: str, stride: Any) -> None:
    if stride is None:
        return
    if not isinstance(stride, int) or isinstance(stride, bool) or stride < 0:
        raise ArgumentError(f"{who}: {name} are recorded every so many steps, 0 for never; got {stride!r}.")
