"""`digits`: 1,797 real handwritten digits, 8 x 8, that travel with the package (nothing to fetch).

`digits.npz` beside this file holds them: images (1797, 8, 8) and labels (1797,), both uint8.
"""

from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.data.sources.common import Parts, ReadOptions, image_dataset

# Levels of grey: the pixels are whole numbers from 0 to 16.
_WHITE = 16
# What the list of sources says of it.
ACCEPTED = (("digits", "1,797 real handwritten digits, 8 x 8 (the default; nothing to fetch)"),)


def matches(source: Any) -> bool:
    """Whether `source` is the name "digits"."""
    return isinstance(source, str) and source == "digits"


def read(source: Any, options: ReadOptions) -> Parts:
    """Grey values 0..16 as float32 sixteenths, exact in binary; class names "0" to "9".

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test part, in the
    order of scikit-learn's `load_digits`), CC BY 4.0, https://doi.org/10.24432/C50P49
    """
    with np.load(Path(__file__).with_suffix(".npz")) as file:
        images, labels = file["images"], file["labels"]
    x = (images / _WHITE).astype(np.float32)
    train = image_dataset(x, labels.astype(np.int64), options, [str(digit) for digit in range(10)])
    return Parts("digits", train, class_names=train.class_names)
