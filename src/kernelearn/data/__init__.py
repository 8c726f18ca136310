"""Sources of images to batches of (x, y, sample_weight): loading, checking, splitting, streaming.

`load` reads any source, `as_dataset` wraps what a user hands to `fit`, `Dataset.batches` feeds training.
"""

from kernelearn.data.bundle import Data
from kernelearn.data.dataset import Dataset
from kernelearn.data.describe import Description
from kernelearn.data.images import load_image
from kernelearn.data.loading import load
from kernelearn.data.sources import ACCEPTED
from kernelearn.data.sources.folders import save_image_folder
from kernelearn.data.sources.idx import read_idx, save_idx
from kernelearn.data.stream import StreamDataset
from kernelearn.data.wrap import as_dataset

__all__ = [
    "ACCEPTED",
    "Data",
    "Dataset",
    "Description",
    "StreamDataset",
    "as_dataset",
    "load",
    "load_image",
    "read_idx",
    "save_idx",
    "save_image_folder",
]
