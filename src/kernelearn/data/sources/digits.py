"""`digits`: the 1,797 real handwritten digits, 8 x 8, that scikit-learn carries (needs no download)."""

from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.data.sources.common import Parts, ReadOptions, image_dataset


def matches(source: Any) -> bool:
    """Whether `source` is the name "digits"."""
    return isinstance(source, str) and source == "digits"


def read(source: Any, options: ReadOptions) -> Parts:
    """Grey values 0..16 as float32 sixteenths, exact in binary; class names "0" to "9".

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test part).
    """
    bunch = require("sklearn.datasets", "the digits").load_digits()
    x = (bunch.images / 16).astype(np.float32)
    train = image_dataset(x, bunch.target, options, [str(digit) for digit in range(10)])
    return Parts("digits", train, class_names=train.class_names)
