"""`.weights.h5`: the weights of a Keras 3 model, without its structure. In and out."""

from __future__ import annotations

from kernelearn.conversion.keras import legacy, pairing
from kernelearn.conversion.keras.stores import weights_tree
from kernelearn.errors import FormatError
from kernelearn.formats import hdf5
from kernelearn.formats.foreign import open_plain
from kernelearn.models import Model
from kernelearn.storage import PathLike, atomic_write


def load_weights(
    model: Model, path: PathLike, by_name: bool, skip_mismatch: bool, by_position: bool
) -> list[str]:
    """Weights of an HDF5 file of Keras, of whichever version, into a model; see `Model.load_weights`."""
    what = repr(str(path))
    with open_plain(path, FormatError) as file, hdf5.reading(file, what) as tree:
        if legacy.is_old(tree):
            pairs = legacy.pairs_of(model, tree, what, by_position)
        else:
            pairs = pairing.of_groups(model, tree, what, by_position)
        return pairing.assign(model, pairs, by_name, skip_mismatch, pairing.BY_POSITION)


def save_weights(model: Model, path: PathLike) -> None:
    """Write the weights as Keras 3 does."""
    model.need_shapes()
    with atomic_write(path) as file:
        hdf5.write(file, weights_tree(model, with_optimizer=False))
    model.note_saved()
