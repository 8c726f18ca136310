"""The run of a watched training, opened: the arguments that all watchers share, checked and used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.recording.arguments import checked_count, checked_flag, checked_folder
from kernelearn.recording.capture.selection import chosen_layers, sizes_of_layers
from kernelearn.recording.schedule import Stream
from kernelearn.storage import PathLike
from kernelearn.watching.book import WatchBook, check_free
from kernelearn.watching.seen import Array
from kernelearn.watching.standing import take_over

# Steps between records of a stream, where the user does not say.
_USUAL = {Stream.KERNELS: 1, Stream.LEDGER: 100, Stream.MAPS: 100}
_OF_STRIDES = " (recorded every so many steps, 0 for never)"
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
        class_names: in the order of their numbers, or None.
    Raises: ArgumentError for an argument that is out of range.
    """

    who: str
    run: PathLike
    every: int | None
    kernels_every: int | None
    maps_every: int | None
    layers: Any
    max_bytes: int
    overwrite: bool
    class_names: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        for name in ("every", "kernels_every", "maps_every"):
            if getattr(self, name) is not None:
                checked_count(self.who, name, getattr(self, name), 0, _OF_STRIDES)
        checked_count(self.who, "max_bytes", self.max_bytes, 1)
        checked_folder(self.who, "run", self.run)
        checked_flag(self.who, "overwrite", self.overwrite)
        is_list = hasattr(self.class_names, "__iter__") and not isinstance(self.class_names, str | bytes)
        if self.class_names is not None and not is_list:
            raise ArgumentError(f"{self.who}: class_names must be names, got {self.class_names!r}.")

    @property
    def folder(self) -> Path:
        """Of the run."""
        return Path(self.run)

    def check_free(self) -> None:
        """For who opens the book later. Not of each process: the first may have begun the run of all.

        Raises: ArgumentError for a run that is there already.
        """
        check_free(self.folder, self.overwrite)

    @property
    def _strides(self) -> dict[Stream, int | None]:
        return {
            Stream.KERNELS: self.kernels_every,
            Stream.LEDGER: self.every,
            Stream.MAPS: self.maps_every,
        }

    def book(self, about: Mapping[str, Any], model: Any = None) -> WatchBook:
        """The run, begun; what wrote there before, or watched the same model, ends.

        Args:
            about: what the manifest says of the whole run; "weights": path -> shape.
            model: of the other program.
        Raises: ArgumentError if there is a run; UnknownNameError for a layer that there is not; StorageError
            for the folder.
        """
        sizes = sizes_of_layers({path: math.prod(shape) for path, shape in about["weights"].items()})
        chosen_layers(sizes, (), (), self.layers)
        names = None if self.class_names is None else [str(name) for name in self.class_names]
        given = self._strides
        strides = {str(n): _USUAL[n] if stride is None else int(stride) for n, stride in given.items()}
        automatic = [str(name) for name, stride in given.items() if stride is None]
        about = {**about, "class_names": names}
        self.check_free()
        take_over(self.who, self.folder, model)
        return WatchBook(
            self.run, about, strides | _NEVER, automatic, self.layers, self.max_bytes, self.overwrite
        )


class Probes(Protocol):
    """Probe images, and what a model makes of them."""

    def images(self) -> Mapping[str, Array]:
        """What a record of the images holds."""

    def maps(self) -> Mapping[str, Array]:
        """Layer -> its output for the images."""


ProbesT = TypeVar("ProbesT", bound=Probes)


def tried(who: str, make: Callable[[], ProbesT]) -> ProbesT:
    """Probe images that the model takes, tried once.

    Raises: ArgumentError for others.
    """
    try:
        probes = make()
        count = len(probes.images()["ids"])
        if count:
            probes.maps()
    except KernelearnError:
        raise
    except Exception as error:  # whatever the other program says of them
        raise ArgumentError(
            f"{who}: the model cannot take probe_images ({type(error).__name__}: {error}). Give (n, ...) "
            "images as it takes them in training, or leave probe_images out."
        ) from error
    if not count:
        raise ArgumentError(f"{who}: probe_images holds no image; leave it out for no feature maps.")
    return probes
