"""Pictures from the command line: files and folders of them, decoded as those of the training were."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelearn.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from kernelearn.models import Model


def picture_paths(places: Sequence[Path]) -> list[Path]:
    """The pictures meant: files as they are named, and of folders the pictures in them, by name.

    Raises: DataError for what is neither, and for a folder without pictures.
    """
    return [path for place in places for path in _pictures_at(place)]


def _pictures_at(place: Path) -> list[Path]:
    from kernelearn.data.images import SUFFIXES, is_picture

    endings = ", ".join(sorted(SUFFIXES))
    if place.is_dir():
        found = sorted(path for path in place.rglob("*") if is_picture(path.name) and path.is_file())
        if not found:
            raise DataError(f"The folder {str(place)!r} holds no pictures ({endings}).")
        return found
    if not place.exists():
        raise DataError(f"There is no picture and no folder at {str(place)!r}.")
    if not is_picture(place.name):
        raise DataError(
            f"{str(place)!r} is no picture. Give pictures ({endings}) or folders of them; a data set is "
            "tested with: kernelearn evaluate RUN DATA"
        )
    return [place]


def load_pictures(network: "Model", paths: Sequence[Path], resize: bool = False) -> Any:
    """Pictures as a network takes them, (n, height, width, channels) float32 in [0, 1].

    Those for a network of any size keep their own, in a list of arrays where they differ.

    Args:
        resize: stretch pictures of another size; for a network that was trained on stretched ones, or of
            which nobody says how it was trained, they always are.
    Raises: ArgumentError if the network takes no images, DataError naming a picture that cannot be used.
    """
    import numpy as np

    from kernelearn.cli.preprocessing import is_silent_on_size
    from kernelearn.cli.run_folder import image_shape
    from kernelearn.data import load_image

    shape = image_shape(network)
    if len(shape) != 3:
        raise ArgumentError(f"This network expects inputs of shape {shape}, which are not images.")
    is_usual = network.metadata.get("resize") is not None or is_silent_on_size(network)
    stretch = None not in shape and (resize or is_usual)
    pictures = [load_image(path, (shape[0], shape[1], shape[2]), stretch or None) for path in paths]
    return np.stack(pictures) if len({picture.shape for picture in pictures}) == 1 else pictures


def padded_as_trained(network: "Model", pictures: Any) -> Any:
    """The pictures, padded in batches as those of the training were (`--pad`)."""
    from kernelearn.data import as_dataset

    multiple = network.metadata.get("pad")
    if multiple is None:
        return pictures
    data: Any = as_dataset(pictures, ragged=isinstance(pictures, list))
    return data.padded(multiple, by_size=True)
