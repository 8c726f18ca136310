"""Small real sources written to a temporary folder, shared by the tests of the data package."""

from pathlib import Path

import numpy as np
import pytest

from kernelearn.data import save_idx, save_image_folder

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def shared():
    """The folder of real data beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"the folder of real data, {SHARED}, is not there")
    return SHARED


@pytest.fixture
def images():
    """60 uint8 images (8, 6, 3), no two alike, and labels of three classes."""
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 6, 3), dtype=np.uint8)
    return x, np.arange(60) % 3


@pytest.fixture
def image_folder(tmp_path, images):
    """An image folder of those images as PNG, classes in sorted order."""
    x, y = images
    save_image_folder(tmp_path / "pets", x, y, ["cat", "dog", "fox"])
    return tmp_path / "pets"


@pytest.fixture
def idx_folder(tmp_path, images):
    """A folder like MNIST's: 40 training images gzipped, 20 test images plain."""
    x, y = images
    folder = tmp_path / "mnist"
    folder.mkdir()
    save_idx(folder / "train-images-idx3-ubyte.gz", x[:40, ..., 0])
    save_idx(folder / "train-labels-idx1-ubyte.gz", y[:40].astype(np.uint8))
    save_idx(folder / "t10k-images-idx3-ubyte", x[40:, ..., 0])
    save_idx(folder / "t10k-labels-idx1-ubyte", y[40:].astype(np.uint8))
    return folder


@pytest.fixture
def zipped():
    """A function that zips a folder, under a name inside the zip."""
    import zipfile

    def pack(folder, target, inside=""):
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, inside + path.relative_to(folder).as_posix())
        return target

    return pack
