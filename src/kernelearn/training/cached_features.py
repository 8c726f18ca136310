"""Feature extraction: each picture goes once through the frozen part of a model, the rest trains on that.

cached = CachedFeatures(model)         # what is frozen at the beginning, and the rest
cached.fit(x, y, epochs=20)            # trains the rest, as model.fit would, in a part of the time
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.data import Dataset
from kernelearn.data.order import check_batch_size
from kernelearn.data.stores import ArrayStore
from kernelearn.errors import ArgumentError, ArgumentTypeError, DataError
from kernelearn.parallel import world
from kernelearn.storage import atomic_write, check_writable, make_folder
from kernelearn.training import feeds
from kernelearn.training.fingerprint import network_fingerprint

if TYPE_CHECKING:
    from kernelearn.training.callbacks import History
    from kernelearn.training.trainer import Trainer

_ABOUT = "features.json"
_KEPT = 4  # sets of features that are kept at a time: training and validation data, of two sources


@dataclass(frozen=True)
class _Entry:
    """Features of one data set.

    Attributes:
        weights: digest of the frozen part that gave them.
        features: by name of the tensor, in memory or mapped from files.
    """

    weights: str
    features: dict[str, np.ndarray]


class CachedFeatures:
    """The frozen part of a model, run once over data, and the rest of the model trained on what it gave.

    The frozen part is everything from the inputs on that no step of training changes and that gives the same
    for the same picture: frozen layers, layers without weights, BatchNormalization that is frozen. Layers
    that change pictures at random, or drop parts of them, end it, and are refused at its beginning: one
    stored answer would leave out what they do. Features follow the weights and the data: where one of them
    has changed, they are computed again.

    Args:
        model: compiled, with layers frozen at its beginning.
        folder: where features are kept from one program to the next; None for the time of this one.
        max_bytes: what may be in memory, of all data together; more is written into `folder`, or a temporary
            folder, and mapped.
        batch_size: pictures that go through the frozen part together.
    Attributes:
        base, head: the two parts. They share their layers with the model: training the head trains the model.
    Raises: ArgumentError, with the layer and the reason, where nothing is frozen or something is random, and
        for a number or a folder that is none.

    >>> from kernelearn import Sequential, layers
    >>> from kernelearn.models import CachedFeatures
    >>> model = Sequential([layers.Dense(8, name="features", input_shape=(4,)), layers.Dense(2, name="head")])
    >>> model.freeze(until="features")
    >>> model.compile("adam", "mse")
    >>> cached = CachedFeatures(model)
    >>> _ = cached.fit(np.ones((6, 4)), np.zeros((6, 2)), epochs=3, verbose=0)
    >>> cached.head.input_shape, cached.runs
    ((None, 8), 1)
    """

    def __init__(
        self, model: Any, folder: Any = None, max_bytes: int = 1 << 30, batch_size: int = 32
    ) -> None:
        if not callable(getattr(model, "split_at_frozen", None)):
            raise ArgumentTypeError(f"CachedFeatures: expected a model, got {type(model).__name__}.")
        if folder is not None and not isinstance(folder, str | os.PathLike):
            raise ArgumentTypeError(f"CachedFeatures: folder must be the name of a folder, got {folder!r}.")
        is_whole = isinstance(max_bytes, int | np.integer) and not isinstance(max_bytes, bool)
        if not is_whole or max_bytes < 0:
            raise ArgumentError(f"CachedFeatures: max_bytes must be an integer >= 0, got {max_bytes!r}.")
        self.max_bytes, self.batch_size = int(max_bytes), check_batch_size(batch_size)
        self.model = model
        split = model.split_at_frozen()
        self.base: Trainer = split.base
        self.head: Trainer = split.head
        self.names: list[str] = split.names
        # Of several processes the first one keeps them: they would write the same files.
        self.folder = Path(folder) if folder is not None and world.is_first() else None
        self.runs = 0  # how often data went through the frozen part
        self._entries: dict[str, _Entry] = {}
        self._temporary: str | None = None

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *,
        validation_data: Any = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        **options: Any,
    ) -> History:
        """Train the head; arguments as of `Model.fit`, with the optimizer and the loss of the model.

        The steps are those that `model.fit` would do, within rounding.
        Raises: ArgumentError for a stream of batches, or if layers were released since.
        """
        data, held_out = feeds.training_and_validation(
            (x, y, sample_weight), validation_split, validation_data, self.model.inputs
        )
        self._check_frozen()
        self.head.programs.compile_like(self.model.programs)
        validation = None if held_out is None else self.dataset(held_out)
        return self.head.fit(self.dataset(data), validation_data=validation, **options)

    def dataset(self, x: Any, y: Any = None, sample_weight: Any = None) -> Dataset:
        """The data with features in the place of pictures, for `fit`, `evaluate` and `predict` of the head.

        Raises: ArgumentError for a stream, which gives something else each time; DataError for pictures of
            several sizes.
        """
        data = feeds.make_dataset(x, y, sample_weight, self.model.inputs)
        if not isinstance(data, Dataset):
            raise ArgumentError(
                "Features are stored for data that is the same each time; a stream of batches may give "
                "something else in the next pass. Give arrays or a Dataset."
            )
        if data.has_several_sizes:
            raise DataError("Features are stored for pictures of one size; resize or pad them first.")
        features = self._features(data)
        x_stored: Any = features if len(features) > 1 else next(iter(features.values()))
        return Dataset(ArrayStore(x_stored), data.labels, data.sample_weight, data.class_names)

    def clear(self) -> None:
        """Forget the features, and delete their files."""
        self._entries.clear()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
        for path in sorted(self.folder.glob("features-*")) if self.folder is not None else ():
            shutil.rmtree(path, ignore_errors=True)

    def _check_frozen(self) -> None:
        """Raise ArgumentError if the frozen part is trained by now."""
        if any(
            layer.trainable_weights and layer.learning_rate_multiplier for layer in self.base.flat_layers()
        ):
            raise ArgumentError(
                "Layers whose features are stored are trained by now. Freeze them again, or make "
                "CachedFeatures(model) anew for what is frozen."
            )

    def _features(self, data: Dataset) -> dict[str, np.ndarray]:
        weights = self._digest_of_weights()
        key = hashlib.blake2b(f"{weights} {data.fingerprint}".encode(), digest_size=16).hexdigest()
        # What other weights gave is of no use any more.
        self._keep_only([k for k, entry in self._entries.items() if entry.weights == weights])
        if key not in self._entries:
            self._keep_only(list(self._entries)[-_KEPT + 1 :])
            self._entries[key] = _Entry(weights, self._read(key) or self._computed(key, data))
        return self._entries[key].features

    def _keep_only(self, keys: Collection[str]) -> None:
        """Forget all others, and delete their files where these are nobody else's."""
        for key in [key for key in self._entries if key not in keys]:
            del self._entries[key]
            if self._temporary is not None:
                shutil.rmtree(Path(self._temporary) / f"features-{key}", ignore_errors=True)

    def _in_memory(self) -> int:
        """Bytes of the features that are no files."""
        arrays = [array for entry in self._entries.values() for array in entry.features.values()]
        return sum(array.nbytes for array in arrays if not isinstance(array, np.memmap))

    def _digest_of_weights(self) -> str:
        state = hashlib.blake2b(network_fingerprint(self.base).encode(), digest_size=16)
        for weight in self.base.weights:
            state.update(np.ascontiguousarray(weight.numpy()).tobytes())
        return state.hexdigest()

    def _computed(self, key: str, data: Dataset) -> dict[str, np.ndarray]:
        """Every picture once through the frozen part."""
        self.runs += 1
        place: Path | None = None
        found: dict[str, np.ndarray] = {}
        first = 0
        for outputs in self._outputs(data):
            if not found:
                size = sum(len(data) * row.nbytes // len(row) for row in outputs.values())
                place = self._place(key, size)
                found = {
                    n: self._empty(place, n, (len(data), *o.shape[1:]), o.dtype) for n, o in outputs.items()
                }
            rows = len(next(iter(outputs.values())))
            for name, output in outputs.items():
                found[name][first : first + rows] = output
            first += rows
        return found if place is None else self._finished(place, found)

    def _outputs(self, data: Dataset) -> Iterator[dict[str, np.ndarray]]:
        for x, _, _ in data.batches(self.batch_size):
            given = self.base.predict_on_batch(x)
            yield dict(zip(self.names, given if isinstance(given, list) else [given], strict=True))

    def _place(self, key: str, size: int) -> Path | None:
        """Where the features go; None for memory."""
        if self.folder is None and size + self._in_memory() <= self.max_bytes:
            return None
        if self.folder is None and self._temporary is None:
            self._temporary = tempfile.mkdtemp(prefix="kernelearn-features-")
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        parent = self.folder or Path(str(self._temporary))
        make_folder(parent)
        check_writable(parent, size)
        place = parent / f"features-{key}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def _empty(self, place: Path | None, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        if place is None:
            return np.empty(shape, dtype)
        return np.lib.format.open_memmap(self._file(place, name), mode="w+", dtype=dtype, shape=shape)

    def _file(self, place: Path, name: str) -> Path:
        return place / f"{self.names.index(name)}.npy"

    def _finished(self, place: Path, written: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The files, whole from now on: what has no `features.json` was left by a process that was ended."""
        for array in written.values():
            array.flush()  # type: ignore[attr-defined]
        sizes = {name: os.path.getsize(self._file(place, name)) for name in written}
        with atomic_write(place / _ABOUT) as file:
            file.write((json.dumps({"names": self.names, "sizes": sizes}) + "\n").encode())
        return self._mapped(place)

    def _mapped(self, place: Path) -> dict[str, np.ndarray]:
        return {name: np.load(self._file(place, name), mmap_mode="r") for name in self.names}

    def _read(self, key: str) -> dict[str, np.ndarray] | None:
        """Features that an earlier program has kept; None where they are not there or not whole."""
        if self.folder is None:
            return None
        place = self.folder / f"features-{key}"
        try:
            about = json.loads((place / _ABOUT).read_text(encoding="utf-8"))
            sizes = {name: os.path.getsize(self._file(place, name)) for name in self.names}
            is_whole = about == {"names": self.names, "sizes": sizes}
            return self._mapped(place) if is_whole else None
        except (OSError, ValueError):
            return None
