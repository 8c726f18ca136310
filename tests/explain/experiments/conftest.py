"""Small images that a few updates can learn, and the tiny budget of these tests."""

import numpy as np
import pytest

from kernelearn.data import load
from kernelearn.explain.experiments import ExperimentSettings, Problem


@pytest.fixture(scope="session")
def stripes():
    """Six classes of 8 x 8 images: a bright line, upright or level, at one of three places, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 6
    images = rng.uniform(0, 0.3, (240, 8, 8, 1)).astype("float32")
    for image, label in zip(images, labels):
        line = image if label < 3 else image.transpose(1, 0, 2)
        line[:, 1 + 2 * (label % 3)] += 0.7
    return Problem.from_source(load((images, labels), test=False))


@pytest.fixture
def tiny():
    """Two seeds, two epochs, few images."""
    return ExperimentSettings(epochs=2, seeds=2, images=64, test_images=40)
