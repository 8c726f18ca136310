"""The training that the pages follow, and the numbers of it that their pictures show.

It is the training of the first block of `how-kernels-learn.md`, so that pictures and pages cannot differ.
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn import explain
from kernelearn.recording import Run

PAGE = Path(__file__).resolve().parent / "how-kernels-learn.md"
# What the pages look at closely: a filter of the first layer, one of its weights, and a step.
LAYER, FILTER, WEIGHT, STEP, IMAGE = "edges", 3, (0, 2, 0, 3), 60, 662
FRAMES = (0, 20, 60, 120, 240, 450)


class Story:
    """The recorded training, and what `explain` says of it; each is computed when it is first used."""

    def __init__(self, folder: str) -> None:
        block = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
        assert block is not None, "the page begins with the training"
        names: dict[str, Any] = {}
        here = Path.cwd()
        os.chdir(folder)
        try:
            exec(compile(block[1], str(PAGE), "exec"), names)
        finally:
            os.chdir(here)
        self.run = Run(Path(folder) / "runs" / "digits")
        self.images, self.labels = names["images"], names["labels"]
        self.tests, self.test_labels = names["digits"].test.arrays()

    @cached_property
    def unit(self) -> Any:
        """The number of the map whose error moved the weight most, before the update of the step."""
        picture = self.images[IMAGE]
        return explain.unit(self.run, LAYER, FILTER, at=self.place, image=picture, step=STEP - 1)

    @cached_property
    def products(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, weights and products of its window, 3 x 3 each."""
        window = self.unit.window
        return window.inputs[..., 0], window.weights[..., 0], window.products[..., 0]

    @cached_property
    def place(self) -> tuple[int, int]:
        row, column = next(t for t in self.ledger.top(64) if t.image == IMAGE).position
        return int(row), int(column)

    @cached_property
    def ledger(self) -> Any:
        return explain.ledger(self.run, LAYER, STEP, weight=WEIGHT)

    @cached_property
    def update(self) -> Any:
        return explain.update_split(self.run, LAYER, STEP)

    @cached_property
    def path(self) -> Any:
        return explain.delta(
            self.run, LAYER, self.images, self.labels, filter=FILTER, at=self.place, image=IMAGE, step=STEP
        )

    @cached_property
    def image(self) -> Any:
        return explain.image(self.run, self.images, self.labels, image=IMAGE, step=STEP)

    @cached_property
    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Input (8, 8, 1) and error of z (6, 6, 8) of the image in the step."""
        found = self.run.ledger(LAYER, STEP)
        row = list(self.run.batch(STEP).images).index(IMAGE)
        return np.asarray(found.x[row], float), np.asarray(found.delta[row], float)

    def accuracy(self, step: int) -> float:
        """Share of the test digits that the network of a step recognises."""
        predicted = self.run.model(step).predict(self.tests, verbose=0).argmax(axis=1)
        return float((predicted == self.test_labels).mean())
